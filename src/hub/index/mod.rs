//! The matching index: whom a row may concern, found by what it holds, so that a change costs what its receivers cost.
//!
//! An index belongs to one topic, one collection as described under one policy, and one guard. It keeps every
//! member of every group under pairs of keys: one for the rules that may open the gate to it (see [`Sieve`](crate::rules::Sieve)), one for its
//! filter (see [`Demand`]), each of them perhaps the one of all who cannot be told apart. A row is looked up under all pairs of its own keys. Those who are
//! found are decided about in full; those who are not would have been decided about with no.
//!
//! It is made when first needed and kept up by notes: whoever may stand elsewhere is put where it belongs before the
//! next row is looked up. Another description of the collection, as of a changed policy, makes it anew.

mod bucket;
mod keeper;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use keeper::{Index, View};

use super::groups::{GroupNumber, Topic};
use super::publish::Delivery;
use super::registry::SubscriberKey;
use crate::catalog::Collection;
use crate::rules::Row;
use crate::topic::Guard;

/// A topic of fewer members is not worth an index: all of them are decided about.
pub(super) const MEMBERS_MIN: usize = 16;
/// Indexes of one topic: only `*` is about several collections. Members of further ones are decided about one by one.
const INDEXES_MAX: usize = 64;
/// Somebody whom a row may concern, under one of its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Candidate {
    group: u32,
    subscriber: u32,
}

impl Candidate {
    fn new(group: GroupNumber, subscriber: SubscriberKey) -> Self {
        let short = |number: usize| u32::try_from(number).expect("subscribers are limited");
        Self {
            group: short(group),
            subscriber: short(subscriber),
        }
    }

    /// Its group.
    pub(super) fn group(self) -> GroupNumber {
        self.group as usize
    }

    /// Who it is.
    pub(super) fn subscriber(self) -> SubscriberKey {
        self.subscriber as usize
    }
}

/// The indexes of one topic.
#[derive(Default)]
pub(super) struct Indexes(Vec<Index>);

impl Indexes {
    /// Notes that a member of a group has come, gone, or changed.
    pub(super) fn note(&mut self, group: GroupNumber, key: SubscriberKey) {
        // What nobody looks up any more costs no more than it would to make it anew.
        self.0.retain(|index| !index.is_outdated());
        for index in &mut self.0 {
            index.note(Candidate::new(group, key));
        }
    }

    /// The index for a collection as it is described, if there is room for one.
    fn of(&mut self, collection: &Arc<Collection>, guard: Guard) -> Option<(&mut Index, bool)> {
        let is_it = |index: &Index| index.is_about(collection, guard);
        let at = self.0.iter().position(is_it);
        let is_same = at.is_some_and(|at| self.0[at].describes(collection));
        if !is_same {
            if let Some(at) = at {
                self.0.swap_remove(at);
            }
            if self.0.len() >= INDEXES_MAX {
                return None;
            }
            self.0.push(Index::new(collection, guard));
        }
        let at = match at {
            Some(at) if is_same => at,
            _ => self.0.len() - 1,
        };
        Some((&mut self.0[at], !is_same))
    }
}

impl Delivery<'_> {
    /// Those of a topic whom rows of a collection may concern, sorted and each of them once; `None` if it may
    /// be anybody.
    pub(super) fn candidates(
        &self,
        topic: &Topic,
        guard: Guard,
        collection: &Arc<Collection>,
        rows: &[Row<'_>],
    ) -> Option<Vec<Candidate>> {
        if topic.members() < self.registry.index_from {
            return None;
        }
        let [row, ..] = rows else {
            return None;
        };
        let mut indexes = topic.indexes.borrow_mut();
        let (index, is_new) = indexes.of(collection, guard)?;
        let view = View {
            delivery: self,
            topic,
            row: *row,
        };
        match is_new {
            true => index.fill(&view),
            false => index.catch_up(&view),
        }
        let mut found = Vec::new();
        for row in rows {
            index.find(&View { row: *row, ..view }, &mut found)?;
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}
