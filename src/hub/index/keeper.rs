//! One index: who is kept under which keys, and how it is kept up.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::Arc;

use super::Candidate;
use super::bucket::{Buckets, EntryNumber};
use super::rules::Rules;
use crate::auth::Principal;
use crate::catalog::Collection;
use crate::hub::filter::Finding;
use crate::hub::groups::{Group, GroupNumber, Topic};
use crate::hub::publish::Delivery;
use crate::hub::registry::Subscriber;
use crate::rules::{Demand, KeySpace, RequestContext, Row, RowSide};
use crate::topic::{Guard, Options};

/// Different sides that filters on one topic may demand something of; those with others are asked once per group.
const SIDES_MAX: usize = 64;
/// Pairs of keys for one member; with more, its filter does not count.
const PAIRS_MAX: usize = 64;
/// Pairs of keys that are looked up for one row at least; beyond as many as there are members, all are asked.
const LOOKUPS_MIN: usize = 4096;

/// The key of those who cannot be told apart.
const ANY: u64 = 0;

/// The number in a key space of the groups whose filter is asked once for all.
const ASKED_ONCE: u32 = u32::MAX;
/// The numbers above this one in a key space are sides of filters, those below rules.
const SIDES: u32 = 1 << 31;

/// What an index is kept up with.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) delivery: &'v Delivery<'v>,
    pub(super) topic: &'v Topic,
    pub(super) row: Row<'v>,
}

impl<'v> View<'v> {
    fn request<'r>(
        &'r self,
        subscriber: Option<&'r Subscriber>,
        options: &'r Options,
    ) -> RequestContext<'r> {
        let Options { query, headers } = options;
        let Delivery { now, shelf, .. } = *self.delivery;
        let auth = subscriber.and_then(|subscriber| subscriber.auth.as_ref());
        RequestContext::realtime(auth, query, headers, now, shelf)
    }
}

/// Where a candidate is kept.
struct Kept {
    entry: EntryNumber,
    asked_once: bool,
}

/// Who is concerned by the rows of a collection, under one topic.
pub(super) struct Index {
    collection: Arc<Collection>,
    guard: Guard,
    hasher: RandomState,
    rules: Rules,
    /// What filters demand something of.
    sides: Vec<RowSide>,
    buckets: Buckets<Candidate>,
    entries: HashMap<Candidate, Kept>,
    /// Groups whose filter is asked once for all, and how many members are kept here for which it is.
    asked_once: HashMap<GroupNumber, usize>,
    /// Who may stand elsewhere since the index was last looked at.
    notes: Vec<Candidate>,
}

impl Index {
    pub(super) fn new(collection: &Arc<Collection>, guard: Guard) -> Self {
        Self {
            collection: Arc::clone(collection),
            guard,
            hasher: RandomState::new(),
            rules: Rules::default(),
            sides: Vec::new(),
            buckets: Buckets::default(),
            entries: HashMap::new(),
            asked_once: HashMap::new(),
            notes: Vec::new(),
        }
    }

    /// Whether it is about a collection, however that is described now.
    pub(super) fn is_about(&self, collection: &Collection, guard: Guard) -> bool {
        self.collection.key == collection.key && self.guard == guard
    }

    /// Whether this is the description that it was made for.
    pub(super) fn describes(&self, collection: &Arc<Collection>) -> bool {
        Arc::ptr_eq(&self.collection, collection)
    }

    /// Whether to follow the notes costs as much as to make it anew.
    pub(super) fn is_outdated(&self) -> bool {
        self.notes.len() > 2 * self.buckets.len() + LOOKUPS_MIN
    }

    /// Notes that somebody may stand elsewhere.
    pub(super) fn note(&mut self, candidate: Candidate) {
        self.notes.push(candidate);
    }

    fn space(&self, number: u32) -> KeySpace<'_> {
        KeySpace {
            hasher: &self.hasher,
            number,
        }
    }

    /// Takes in everybody.
    pub(super) fn fill(&mut self, view: &View<'_>) {
        self.buckets.reserve(view.topic.members());
        self.entries.reserve(view.topic.members());
        for (number, group) in view.topic.numbered() {
            for key in &group.members {
                self.admit(view, Candidate::new(number, *key), group);
            }
        }
    }

    /// Follows the notes.
    pub(super) fn catch_up(&mut self, view: &View<'_>) {
        for candidate in std::mem::take(&mut self.notes) {
            self.withdraw(candidate);
            if let Some((_, group)) = view.topic.at(candidate.group())
                && group.members.contains(&candidate.subscriber())
            {
                self.admit(view, candidate, group);
            }
        }
    }

    fn withdraw(&mut self, candidate: Candidate) {
        let Some(kept) = self.entries.remove(&candidate) else {
            return;
        };
        self.buckets.remove(kept.entry);
        if kept.asked_once
            && let Entry::Occupied(mut members) = self.asked_once.entry(candidate.group())
        {
            *members.get_mut() -= 1;
            if *members.get() == 0 {
                members.remove();
            }
        }
    }

    fn admit(&mut self, view: &View<'_>, candidate: Candidate, group: &Group) {
        let Some(subscriber) = view.delivery.registry.get(candidate.subscriber()) else {
            return;
        };
        let gates = self.gate_keys(view, subscriber, group);
        if gates.is_empty() {
            return;
        }
        let Some(filters) = self.filter_keys(view, subscriber, group) else {
            return;
        };
        let (filters, asked_once) = match filters {
            Some(keys) if gates.len() * keys.len() <= PAIRS_MAX => (keys, false),
            Some(_) => (vec![ANY], false),
            None => (vec![self.key_of_group(candidate.group())], true),
        };
        let mut pairs: Vec<u64> = pairs(&gates, &filters).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let entry = self.buckets.insert(candidate, &pairs);
        if asked_once {
            *self.asked_once.entry(candidate.group()).or_default() += 1;
        }
        self.entries.insert(candidate, Kept { entry, asked_once });
    }

    /// Under which keys the rules find a member; none if the gate never opens.
    fn gate_keys(&mut self, view: &View<'_>, subscriber: &Subscriber, group: &Group) -> Vec<u64> {
        let request = view.request(Some(subscriber), &group.options);
        let (mut keys, mut any) = (Vec::new(), false);
        let Self { hasher, rules, .. } = self;
        let Delivery { access, .. } = view.delivery;
        access.openings(subscriber, &self.collection, self.guard, |rule| {
            let sieve = rule.and_then(|rule| rules.sieve(rule));
            any |= sieve.is_none_or(|(number, sieve)| {
                let space = KeySpace { hasher, number };
                let read = sieve.asker_keys(view.row, &request, space, &mut keys);
                read.is_err()
            });
        });
        match any {
            true => vec![ANY],
            false => keys,
        }
    }

    /// Under which keys its filter finds a member; `None` if it lets nothing pass, and no keys if it is to be
    /// asked once for all members of the group.
    fn filter_keys(
        &mut self,
        view: &View<'_>,
        subscriber: &Subscriber,
        group: &Group,
    ) -> Option<Option<Vec<u64>>> {
        // Their filters may name what others' may not.
        if let Principal::Superuser { .. } = subscriber.principal() {
            return Some(Some(vec![ANY]));
        }
        let catalog = view.delivery.access.catalog();
        let Group {
            filter, options, ..
        } = group;
        if !filter.is_asked(options) {
            return Some(Some(vec![ANY]));
        }
        let filter = filter.compiled(&self.collection);
        Some(match filter.finding(options, catalog) {
            Finding::Never => return None,
            Finding::OneByOne => Some(vec![ANY]),
            Finding::Once => None,
            Finding::Demands(demands) => self.demand_keys(demands),
        })
    }

    /// `None` if there is no room for what is demanded.
    fn demand_keys(&mut self, demands: &[Demand]) -> Option<Vec<u64>> {
        let mut keys = Vec::with_capacity(demands.len());
        for demand in demands {
            let known = self.sides.iter().position(|side| *side == demand.side);
            let at = match known {
                Some(at) => at,
                None if self.sides.len() < SIDES_MAX => {
                    self.sides.push(demand.side.clone());
                    self.sides.len() - 1
                }
                None => return None,
            };
            keys.push(demand.key(self.space(number_of_side(at))));
        }
        Some(keys)
    }

    fn key_of_group(&self, number: GroupNumber) -> u64 {
        self.hasher.hash_one((ASKED_ONCE, number))
    }

    /// Adds those whom a row may concern; `None` if it may be anybody.
    pub(super) fn find(&self, view: &View<'_>, found: &mut Vec<Candidate>) -> Option<()> {
        let options = Options::default();
        let request = view.request(None, &options);
        let mut gates = vec![ANY];
        for (number, sieve) in self.rules.sieves() {
            let space = self.space(number);
            let read = sieve.row_keys(view.row, &request, space, &mut gates);
            read.ok()?;
        }
        let filters = self.row_filter_keys(view, &request);
        if gates.len() * filters.len() > LOOKUPS_MIN.max(self.buckets.len()) {
            return None;
        }
        for pair in pairs(&gates, &filters) {
            self.buckets.visit(pair, |candidate| found.push(candidate));
        }
        Some(())
    }

    /// The keys of filters that may let a row pass.
    fn row_filter_keys(&self, view: &View<'_>, request: &RequestContext<'_>) -> Vec<u64> {
        let mut keys = vec![ANY];
        for (at, side) in self.sides.iter().enumerate() {
            let space = self.space(number_of_side(at));
            // What cannot be read lets no filter pass that reads it.
            let _ = side.keys(view.row, request, space, &mut keys);
        }
        let Delivery { access, tally, .. } = view.delivery;
        for &number in self.asked_once.keys() {
            let Some((_, group)) = view.topic.at(number) else {
                continue;
            };
            tally.decision();
            let request = view.request(None, &group.options);
            let catalog = access.catalog();
            let Group {
                filter, options, ..
            } = group;
            let passes = filter.lets_pass(
                &self.collection,
                view.row,
                options,
                &request,
                catalog,
                false,
            );
            if passes == Ok(true) {
                keys.push(self.key_of_group(number));
            }
        }
        keys
    }
}

fn number_of_side(at: usize) -> u32 {
    SIDES + u32::try_from(at).expect("sides are limited")
}

/// All pairs of keys, as keys.
fn pairs<'k>(gates: &'k [u64], filters: &'k [u64]) -> impl Iterator<Item = u64> + use<'k> {
    gates.iter().flat_map(|gate| {
        let own = gate.rotate_left(32);
        filters.iter().map(move |filter| own ^ filter)
    })
}
