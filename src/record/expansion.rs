//! Related records inside a record: its member `expand` (contract, section 4.7).

use std::hash::{Hash, Hasher};
use std::ptr;

use super::Visibility;
use super::encode::write_record;
use super::text::write_string;
use crate::catalog::Collection;
use crate::event::RowImage;

/// What was found of what a record should be expanded by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Expansion<'r> {
    /// Names and what they lead to, in order of the names.
    pub members: Vec<(&'r str, Related<'r>)>,
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Related<'r> {
    /// The only one there can be.
    One(RelatedRecord<'r>),
    /// Several, or one of several there could be.
    Many(Vec<RelatedRecord<'r>>),
}

/// A record inside another one.
///
/// Two are equal if they are the same image, not one like it, seen and expanded in the same way.
#[derive(Debug, Clone)]
pub struct RelatedRecord<'r> {
    /// Describes the image.
    pub collection: &'r Collection,
    /// The record's id.
    pub id: &'r str,
    /// Its values.
    pub image: &'r RowImage,
    /// What is shown of it.
    pub visibility: Visibility,
    /// What it is expanded by in turn, if that was asked for and there was no mistake in it.
    pub expansion: Option<Expansion<'r>>,
}

impl PartialEq for RelatedRecord<'_> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.image, other.image)
            && self.visibility == other.visibility
            && self.expansion == other.expansion
    }
}

impl Eq for RelatedRecord<'_> {}

impl Hash for RelatedRecord<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(self.image, state);
        (self.visibility, &self.expansion).hash(state);
    }
}

impl Expansion<'_> {
    /// Bytes of all images in it.
    pub fn image_bytes(&self) -> usize {
        let related = self.members.iter().flat_map(|(_, related)| related.all());
        related
            .map(|record| {
                let inside = record.expansion.as_ref().map_or(0, Self::image_bytes);
                record.image.json().len() + inside
            })
            .sum()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (name, related)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(out, name);
            out.push(b':');
            related.write(out);
        }
        out.push(b'}');
    }
}

impl<'r> Related<'r> {
    fn all(&self) -> &[RelatedRecord<'r>] {
        match self {
            Self::One(record) => std::slice::from_ref(record),
            Self::Many(records) => records,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::One(record) => write_record(out, record),
            Self::Many(records) => {
                out.push(b'[');
                for (index, record) in records.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_record(out, record);
                }
                out.push(b']');
            }
        }
    }
}
