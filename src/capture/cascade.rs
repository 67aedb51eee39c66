//! Order of cascading deletes: children before their parent, as PocketBase tells of them.
//!
//! Postgres fires the statement triggers of a foreign key's own statements behind those of the statement
//! they follow, so the log has the parent first. The deletes of one cascade stand next to each other in
//! the log; they are held back and turned round, table by table.

use crate::catalog::{Catalog, CollectionKey};
use crate::event::ChangeEvent;

/// The deletes of a table that others follow, and theirs.
#[derive(Debug, Default)]
pub(super) struct Cascade {
    /// By table, in the log's order.
    groups: Vec<(CollectionKey, Vec<ChangeEvent>)>,
    held: usize,
}

impl Cascade {
    /// Beyond this the log's own order has to do.
    const EVENTS_MAX: usize = 20_000;

    /// Whether deletes are held back.
    pub(super) fn is_holding(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether deletes of this table are to be held back now.
    pub(super) fn takes(&self, key: CollectionKey, catalog: &Catalog) -> bool {
        if self.groups.is_empty() {
            return catalog.has_followers(key);
        }
        self.groups
            .iter()
            .any(|(parent, _)| *parent == key || catalog.follows(key, *parent))
    }

    /// Holds deletes of one table back; `false` if these are more than can be held.
    pub(super) fn hold(&mut self, key: CollectionKey, events: Vec<ChangeEvent>) -> bool {
        self.held += events.len();
        match self.groups.iter_mut().find(|(held, _)| *held == key) {
            Some((_, group)) => group.extend(events),
            None => self.groups.push((key, events)),
        }
        self.held <= Self::EVENTS_MAX
    }

    /// Gives back everything held, children first.
    pub(super) fn release(&mut self) -> Vec<ChangeEvent> {
        let Self { groups, .. } = std::mem::take(self);
        groups
            .into_iter()
            .rev()
            .flat_map(|(_, events)| events)
            .collect()
    }
}
