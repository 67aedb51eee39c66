//! What somebody wants to know of another collection, and the rows that answer it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::catalog::Collection;
use crate::event::{RecordId, RowImage};

/// Rows of a collection, by what some of their columns equal.
///
/// Two wants are equal if they ask the same of the same collection.
#[derive(Debug, Clone)]
pub struct Want {
    /// Whose rows.
    pub collection: Arc<Collection>,
    /// Fields of the collection by position, and the text that the value of each must equal; all of
    /// them. None: every row.
    ///
    /// Invariant: each text is a value of its column's type as [`TypeClass`](crate::catalog::TypeClass) says; of
    /// the class `Other`, it is one that the database wrote itself.
    pub equals: Vec<(usize, Arc<str>)>,
    /// The rows as they were before this transaction (`xid8`); `None`: as they are.
    pub before: Option<u64>,
}

impl PartialEq for Want {
    fn eq(&self, other: &Self) -> bool {
        self.collection.key == other.collection.key
            && self.before == other.before
            && self.equals == other.equals
    }
}

impl Eq for Want {}

impl Hash for Want {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.collection.key.hash(state);
        self.equals.hash(state);
        self.before.hash(state);
    }
}

/// A row of another collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelatedRow {
    /// Its record id.
    pub id: RecordId,
    /// Its values, at the positions of the collection's fields.
    pub image: RowImage,
}
