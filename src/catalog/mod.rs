//! What can be watched: collections, their fields and rules, as an immutable snapshot.
//!
//! *Owns* the nouns [`Catalog`], [`Collection`], [`Field`], [`Rules`].
//! *Takes* a database connection, once per load.
//! *Gives* an `Arc<Catalog>` that never changes; a newer one replaces it.
//! *Never* decides who may see a record: it only carries the policy that does.

mod collection;
mod field_kind;
mod link;
mod load;
mod record_order;
mod relations;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::policy::Policy;

pub use collection::{
    AuthSettings, Collection, CollectionKey, CollectionTemplates, ColumnType, Field, FieldKind,
    Relation, Rule, Rules, TableName, TypeClass,
};
pub use link::Link;
pub use load::{LoadError, load, read};
pub use record_order::{RecordKey, RecordOrder};

/// Every attached collection, as of one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    collections: HashMap<CollectionKey, Arc<Collection>>,
    by_name: HashMap<Arc<str>, CollectionKey>,
    /// By parent: whose rows go when the parent's do.
    followers: HashMap<CollectionKey, HashSet<CollectionKey>>,
    policy: Arc<Policy>,
}

impl Catalog {
    /// Builds a catalog of these collections.
    pub fn new(collections: impl IntoIterator<Item = Collection>) -> Self {
        let collections: HashMap<_, _> = collections
            .into_iter()
            .map(|collection| (collection.key, Arc::new(collection)))
            .collect();
        let by_name = collections
            .values()
            .map(|collection| (Arc::clone(&collection.name), collection.key))
            .collect();
        Self {
            collections,
            by_name,
            followers: HashMap::new(),
            policy: Arc::default(),
        }
    }

    /// The same under a policy, which is that of its collections.
    #[must_use]
    pub fn with_policy(mut self, policy: Arc<Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// The policy that was read in the same snapshot. It stands with each collection, too; here for
    /// what is no collection's business.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The same with foreign keys that cascade deletes, from parent to child.
    #[must_use]
    pub fn with_cascades(
        mut self,
        cascades: impl IntoIterator<Item = (CollectionKey, CollectionKey)>,
    ) -> Self {
        for (parent, child) in cascades {
            self.followers.entry(parent).or_default().insert(child);
        }
        self
    }

    /// Whether deletes from this collection cascade to another.
    pub fn has_followers(&self, parent: CollectionKey) -> bool {
        self.followers.contains_key(&parent)
    }

    /// Whether deletes from `parent` cascade to `child`.
    pub fn follows(&self, child: CollectionKey, parent: CollectionKey) -> bool {
        let followers = self.followers.get(&parent);
        followers.is_some_and(|followers| followers.contains(&child))
    }

    /// The collection whose changes are logged under `key`.
    pub fn get(&self, key: CollectionKey) -> Option<&Arc<Collection>> {
        self.collections.get(&key)
    }

    /// The collection of this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Collection>> {
        self.get(*self.by_name.get(name)?)
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
