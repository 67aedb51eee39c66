//! The `fields` of a request: which members of an answer are wanted, and how long texts may be
//! (contract, section 4.5).

mod excerpt;
mod fields;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use excerpt::Excerpt;
pub use fields::FieldsError;

/// What a list of fields asks for, such as `id,title:excerpt(80,true),expand.author.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picker {
    text: Arc<str>,
    root: Node,
}

impl Picker {
    /// Fields in one list.
    pub(super) const FIELDS_MAX: usize = 500;
    /// Names in one path.
    pub(super) const DEPTH_MAX: usize = 32;
    /// Characters of an excerpt.
    pub(super) const EXCERPT_MAX: usize = 100_000;

    /// Reads a list; `None` if it names nothing, which asks for everything.
    ///
    /// # Errors
    /// If the list cannot be read as a whole. PocketBase sends everything then.
    pub fn parse(fields: &str) -> Result<Option<Self>, FieldsError> {
        let root = fields::parse(fields)?;
        Ok(root.map(|root| Self {
            text: fields.into(),
            root,
        }))
    }

    /// The list as it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Writes what is wanted of a JSON value, the members of all objects in order of their names.
    pub fn pick(&self, json: &str, out: &mut Vec<u8>) {
        write::write_picked(out, json, Some(&self.root), 0);
    }
}

/// What is wanted at one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Node {
    /// The value itself is wanted, and so everything in it, whatever the rest says.
    value: Option<Wanted>,
    /// What is wanted of the members with these names.
    members: BTreeMap<Box<str>, Node>,
    /// What is wanted of all other members: `*`.
    others: Option<Box<Node>>,
}

/// In which form a value is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Whole,
    Excerpt(Excerpt),
}

impl Node {
    /// What is wanted of a member; `None` for nothing.
    fn member(&self, name: &str) -> Option<&Self> {
        self.named(name).or(self.others.as_deref())
    }

    /// A name with dots in it is a path in the list.
    fn named(&self, name: &str) -> Option<&Self> {
        match self.members.get(name) {
            None if name.contains('.') => name
                .split('.')
                .try_fold(self, |node, part| node.members.get(part)),
            member => member,
        }
    }
}

#[cfg(test)]
mod tests;
