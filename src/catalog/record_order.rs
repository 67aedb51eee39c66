//! The order in which a record's keys are written, worked out once per collection.

use std::sync::OnceLock;

use super::Collection;

/// One key of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKey {
    /// `collectionId`.
    CollectionId,
    /// `collectionName`.
    CollectionName,
    /// `id`: the record's id as text, whatever the key column's type.
    Id,
    /// The field at this position.
    Field(usize),
}

impl RecordKey {
    const FIXED: [Self; 3] = [Self::CollectionId, Self::CollectionName, Self::Id];

    /// The key as written.
    pub fn name(self, collection: &Collection) -> &str {
        match self {
            Self::CollectionId => "collectionId",
            Self::CollectionName => "collectionName",
            Self::Id => "id",
            Self::Field(index) => &collection.fields[index].name,
        }
    }
}

/// The keys of a collection's records in writing order, worked out on first use; start from
/// `RecordOrder::default()`.
#[derive(Debug, Default)]
pub struct RecordOrder(OnceLock<Box<[RecordKey]>>);

impl Collection {
    /// The keys of a record in writing order: bytewise ascending, hidden fields included.
    ///
    /// Columns called like one of PocketBase's own keys give way to those, and so does a column
    /// called `expand`, which SDKs would take for related records.
    pub fn record_keys(&self) -> &[RecordKey] {
        self.record_order.0.get_or_init(|| {
            let fields = (0..self.fields.len()).map(RecordKey::Field);
            let own = |key: &RecordKey| {
                let name = key.name(self);
                name != "expand"
                    && RecordKey::FIXED
                        .iter()
                        .all(|fixed| fixed.name(self) != name)
            };
            let mut keys: Vec<_> = RecordKey::FIXED
                .into_iter()
                .chain(fields.filter(own))
                .collect();
            keys.sort_unstable_by_key(|key| key.name(self));
            keys.into()
        })
    }
}
