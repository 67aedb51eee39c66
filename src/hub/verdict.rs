//! What a subscriber may see of an event.

use std::cell::RefCell;
use std::collections::HashMap;

use tokio::time::Instant;

use super::access::{ListGates, filter_member_of};
use super::encoded::{Encoded, Shown};
use super::expand::GroupExpand;
use super::groups::Group;
use super::leave::seen_of_update;
use super::publish::{Delivery, Pass};
use super::registry::Subscriber;
use crate::auth::Principal;
use crate::event::{Action, ChangeEvent};
use crate::policy::Standing;
use crate::rules::{RequestContext, Row, Undecidable};
use crate::topic::{Guard, Options};

/// What one group may see of one event.
pub(super) struct Verdict<'v, 'e> {
    delivery: &'e Delivery<'e>,
    event: &'e ChangeEvent,
    group: &'e Group,
    guard: Guard,
    /// What was decided for all who are alike, of the row that is shown and of the one before.
    decided: [RefCell<HashMap<Alike, Passing>>; 2],
    /// `None` unless the group asks for related records.
    expand: Option<GroupExpand<'v, 'e>>,
}

/// What a subscriber may see of an event.
pub(super) enum Seen {
    Nothing,
    Record(Shown),
    /// The record, which it did not see before.
    Entering(Shown),
    /// That a record is not to be seen any more.
    Leaving,
    /// Nobody knows what was seen before, because nobody knows what was there.
    Unpaired,
    /// Nobody knows, because rows are missing, and held back until then.
    Perhaps(Instant),
}

/// Those of a group for whom rules and filter decide alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Alike {
    Guests,
    /// All of one standing: neither the rules nor the filter ask who it is.
    Standing(Standing),
}

/// Whether a row may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    Yes,
    No,
    Unknown(Instant),
}

impl<'v, 'e> Verdict<'v, 'e> {
    pub(super) fn new(
        delivery: &'e Delivery<'e>,
        encoded: &'v Encoded<'e>,
        group: &'e Group,
        guard: Guard,
    ) -> Self {
        Self {
            delivery,
            event: encoded.event,
            group,
            guard,
            decided: Default::default(),
            expand: GroupExpand::new(delivery, encoded.event, group, &encoded.expansions),
        }
    }

    /// What a subscriber may see.
    pub(super) fn of(&self, subscriber: &Subscriber) -> Seen {
        let after = self.decided(subscriber, Row::shown(self.event), 0);
        if self.group.leave && self.event.action == Action::Update {
            let before = Row::before(self.event);
            let before = before.map(|row| self.decided(subscriber, row, 1));
            let may_ever = || self.may_ever_pass(subscriber);
            return seen_of_update(before, after, || self.shown(subscriber), may_ever);
        }
        match after {
            Passing::Yes => Seen::Record(self.shown(subscriber)),
            Passing::No => Seen::Nothing,
            Passing::Unknown(until) => Seen::Perhaps(until),
        }
    }

    /// Decides once for all who are alike.
    fn decided(&self, subscriber: &Subscriber, row: Row<'_>, which: usize) -> Passing {
        let Some(alike) = self.alike(subscriber) else {
            return self.passing(subscriber, row);
        };
        let known = self.decided[which].borrow().get(&alike).copied();
        known.unwrap_or_else(|| {
            let passing = self.passing(subscriber, row);
            self.decided[which].borrow_mut().insert(alike, passing);
            passing
        })
    }

    fn alike(&self, subscriber: &Subscriber) -> Option<Alike> {
        if subscriber.auth.is_none() {
            return Some(Alike::Guests);
        }
        let Group {
            filter, options, ..
        } = self.group;
        let (access, collection) = (self.delivery.access, &self.event.collection);
        let same_filter = match subscriber.principal() {
            // Theirs may name the request.
            Principal::Superuser { .. } => !filter.is_asked(options),
            _ => filter.is_alike(collection, options, access.catalog()),
        };
        let standing = || access.alike(&subscriber.member, collection, self.guard);
        same_filter.then(standing).flatten().map(Alike::Standing)
    }

    fn may_ever_pass(&self, subscriber: &Subscriber) -> bool {
        let (access, collection) = (self.delivery.access, &self.event.collection);
        access.may_ever_pass(&subscriber.member, collection, self.guard)
    }

    fn passing(&self, subscriber: &Subscriber, row: Row<'_>) -> Passing {
        let shelf = self.delivery.shelf;
        if matches!(self.delivery.pass, Pass::Resync(_)) {
            // What this decision in particular waits for.
            shelf.take_held_back();
        }
        self.delivery.tally.decision();
        match self.passes(subscriber, row) {
            Ok(true) => Passing::Yes,
            Err(Undecidable::NotLoaded) => {
                Passing::Unknown(shelf.held_back().unwrap_or_else(Instant::now))
            }
            Ok(false) | Err(_) => Passing::No,
        }
    }

    /// What it sees of a record that it may see.
    fn shown(&self, subscriber: &Subscriber) -> Shown {
        let (row, request) = (Row::shown(self.event), self.request(subscriber));
        let expand = self.expand.as_ref();
        Shown {
            visibility: self.delivery.visibility(subscriber, row, &request),
            expansion: expand.and_then(|expand| expand.of(subscriber, request)),
        }
    }

    fn request<'a>(&'a self, subscriber: &'a Subscriber) -> RequestContext<'a> {
        let Options { query, headers, .. } = &self.group.options;
        let Delivery { now, shelf, .. } = *self.delivery;
        RequestContext::realtime(subscriber.auth.as_ref(), query, headers, now, shelf)
    }

    fn passes(&self, subscriber: &Subscriber, row: Row<'_>) -> Result<bool, Undecidable> {
        let Group {
            filter, options, ..
        } = self.group;
        let Delivery { access, tally, .. } = self.delivery;
        let request = self.request(subscriber);
        let collection = &self.event.collection;
        if !access.lets_pass(&subscriber.member, self.guard, row, &request, tally)? {
            return Ok(false);
        }
        let stripped = match subscriber.principal() {
            Principal::Superuser { id } if filter.is_asked(options) => Some(filter_member_of(id)),
            _ => None,
        };
        let gates = ListGates {
            access,
            member: stripped.as_ref().unwrap_or(&subscriber.member),
            request: &request,
            tally,
        };
        let request = RequestContext {
            gates: Some(&gates),
            ..request
        };
        let superuser = stripped.is_some();
        filter.lets_pass(
            collection,
            row,
            options,
            &request,
            access.catalog(),
            superuser,
        )
    }
}
