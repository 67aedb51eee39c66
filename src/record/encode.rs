//! The envelope and the record object.

use super::Picker;
use super::expansion::{Expansion, RelatedRecord};
use super::text::write_string;
use super::value::write_value;
use crate::catalog::{Collection, RecordKey};
use crate::event::{Action, ChangeEvent, RowImage};

/// What stands before the record.
const OPENING: &[u8] = br#"{"record":"#;

/// The member with related records.
const EXPAND: &str = "expand";

/// Which fields are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// All but hidden ones, and the email of an auth record only if it wants to be seen.
    Plain,
    /// All but hidden ones: what a record of an auth collection sees of itself.
    Own,
    /// All.
    Full,
}

/// The data of a change: `{"record":{…},"action":"create"}` on one line.
pub fn encode_change(event: &ChangeEvent, visibility: Visibility) -> Vec<u8> {
    encode(event, visibility, None)
}

/// The same with related records in the record.
pub fn encode_expanded(
    event: &ChangeEvent,
    visibility: Visibility,
    expansion: &Expansion<'_>,
) -> Vec<u8> {
    encode(event, visibility, Some(expansion))
}

fn encode(
    event: &ChangeEvent,
    visibility: Visibility,
    expansion: Option<&Expansion<'_>>,
) -> Vec<u8> {
    let record = Record {
        collection: &event.collection,
        id: &event.id.0,
        image: event.shown(),
    };
    let expanded = expansion.map_or(0, |expansion| 2 * expansion.image_bytes());
    let mut out = Vec::with_capacity(record.image.json().len() + expanded + 192);
    out.extend_from_slice(OPENING);
    record.write(&mut out, visibility, expansion);
    write_action(&mut out, event.action.as_str());
    out
}

/// The data of a change, as [`encode_change`] wrote it, with only what is wanted of its record.
pub fn pick_change(data: &[u8], action: Action, picker: &Picker) -> Vec<u8> {
    let mut ending = Vec::with_capacity(24);
    write_action(&mut ending, action.as_str());
    let record = data
        .strip_prefix(OPENING)
        .and_then(|rest| rest.strip_suffix(&*ending))
        .and_then(|record| std::str::from_utf8(record).ok())
        .expect("the data of a change of this action");
    let mut out = Vec::with_capacity(data.len());
    out.extend_from_slice(OPENING);
    picker.pick(record, &mut out);
    out.extend_from_slice(&ending);
    out
}

/// One record by itself, on one line.
pub fn encode_record(
    collection: &Collection,
    id: &str,
    image: &RowImage,
    visibility: Visibility,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(image.json().len() + 128);
    let record = Record {
        collection,
        id,
        image,
    };
    record.write(&mut out, visibility, None);
    out
}

/// Writes a record that stands inside another one.
pub(super) fn write_record(out: &mut Vec<u8>, record: &RelatedRecord<'_>) {
    let RelatedRecord {
        collection,
        id,
        image,
        visibility,
        expansion,
    } = record;
    let record = Record {
        collection,
        id,
        image,
    };
    record.write(out, *visibility, expansion.as_ref());
}

/// The data of a gap in one collection: `{"record":{…},"action":"resync"}`, the record holding only
/// `collectionId`, `collectionName` and an empty `id`.
pub fn encode_gap(collection: &Collection) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(br#"{"record":{"collectionId":"#);
    write_string(&mut out, &collection.id);
    out.extend_from_slice(br#","collectionName":"#);
    write_string(&mut out, &collection.name);
    out.extend_from_slice(br#","id":""}"#);
    write_action(&mut out, "resync");
    out
}

fn write_action(out: &mut Vec<u8>, action: &str) {
    out.extend_from_slice(br#","action":""#);
    out.extend_from_slice(action.as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// Writes the name of a member of the object whose members begin at `start`.
fn write_name(out: &mut Vec<u8>, start: usize, name: &str) {
    if out.len() > start {
        out.push(b',');
    }
    write_string(out, name);
    out.push(b':');
}

/// One record, about to be written.
struct Record<'e> {
    collection: &'e Collection,
    id: &'e str,
    image: &'e RowImage,
}

impl Record<'_> {
    fn write(
        &self,
        out: &mut Vec<u8>,
        visibility: Visibility,
        mut expansion: Option<&Expansion<'_>>,
    ) {
        out.push(b'{');
        let start = out.len();
        for &key in self.collection.record_keys() {
            if !self.shows(key, visibility) {
                continue;
            }
            let name = key.name(self.collection);
            if name > EXPAND
                && let Some(expansion) = expansion.take()
            {
                write_name(out, start, EXPAND);
                expansion.write(out);
            }
            write_name(out, start, name);
            self.write_member(out, key);
        }
        if let Some(expansion) = expansion {
            write_name(out, start, EXPAND);
            expansion.write(out);
        }
        out.push(b'}');
    }

    fn shows(&self, key: RecordKey, visibility: Visibility) -> bool {
        let RecordKey::Field(index) = key else {
            return true;
        };
        match visibility {
            Visibility::Plain => !self.collection.fields[index].hidden && !self.keeps_back(index),
            Visibility::Own => !self.collection.fields[index].hidden,
            Visibility::Full => true,
        }
    }

    /// Whether the field is an email that its owner does not want to be seen.
    fn keeps_back(&self, index: usize) -> bool {
        let Some(auth) = &self.collection.auth else {
            return false;
        };
        let seen = auth
            .email_visibility
            .and_then(|flag| self.image.value(flag));
        auth.email == Some(index) && seen.is_none_or(|seen| seen.trim_ascii() != "true")
    }

    fn write_member(&self, out: &mut Vec<u8>, key: RecordKey) {
        match key {
            RecordKey::CollectionId => write_string(out, &self.collection.id),
            RecordKey::CollectionName => write_string(out, &self.collection.name),
            RecordKey::Id => write_string(out, self.id),
            RecordKey::Field(index) => {
                let kind = &self.collection.fields[index].kind;
                write_value(out, kind, self.image.value(index));
            }
        }
    }
}

#[cfg(test)]
mod tests;
