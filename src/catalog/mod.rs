//! What can be watched: collections, their fields and rules, as an immutable snapshot.
//!
//! *Owns* the nouns [`Catalog`], [`Collection`], [`Field`], [`Rules`].
//! *Takes* a database connection, once per load.
//! *Gives* an `Arc<Catalog>` that never changes; a newer one replaces it.
//! *Never* decides who may see a record: it only carries the policy that does.

mod collection;
mod field_kind;
mod load;
mod record_order;

use std::collections::HashMap;
use std::sync::Arc;

pub use collection::{Collection, CollectionKey, Field, FieldKind, Rule, Rules, TableName};
pub use load::{LoadError, load};
pub use record_order::{RecordKey, RecordOrder};

/// Every attached collection, as of one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    collections: HashMap<CollectionKey, Arc<Collection>>,
}

impl Catalog {
    /// Builds a catalog of these collections.
    pub fn new(collections: impl IntoIterator<Item = Collection>) -> Self {
        let collections = collections
            .into_iter()
            .map(|collection| (collection.key, Arc::new(collection)))
            .collect();
        Self { collections }
    }

    /// The collection whose changes are logged under `key`.
    pub fn get(&self, key: CollectionKey) -> Option<&Arc<Collection>> {
        self.collections.get(&key)
    }

    /// All collections, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Collection>> {
        self.collections.values()
    }

    /// How many collections are attached.
    pub fn len(&self) -> usize {
        self.collections.len()
    }

    /// Whether nothing is attached yet.
    pub fn is_empty(&self) -> bool {
        self.collections.is_empty()
    }
}
