//! What a subscriber may see of an event.

use std::cell::OnceCell;

use tokio::time::Instant;

use super::access::{ListGates, filter_member_of};
use super::encoded::{Encoded, Shown};
use super::expand::GroupExpand;
use super::leave::seen_of_update;
use super::publish::{Delivery, Pass};
use super::registry::{Group, Subscriber};
use crate::auth::Principal;
use crate::event::{Action, ChangeEvent};
use crate::rules::{RequestContext, Row, Undecidable};
use crate::topic::{Guard, Options};

/// What one group may see of one event.
pub(super) struct Verdict<'v, 'e> {
    delivery: &'e Delivery<'e>,
    event: &'e ChangeEvent,
    group: &'e Group,
    guard: Guard,
    /// All guests of a group see the same, of the row that is shown and of the one before.
    guest: [OnceCell<Passing>; 2],
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
            guest: Default::default(),
            expand: GroupExpand::new(delivery, encoded.event, group, &encoded.expansions),
        }
    }

    /// What a subscriber may see.
    pub(super) fn of(&self, subscriber: &Subscriber) -> Seen {
        let after = self.guests_alike(subscriber, Row::shown(self.event), 0);
        if self.group.leave && self.event.action == Action::Update {
            let before = Row::before(self.event);
            let before = before.map(|row| self.guests_alike(subscriber, row, 1));
            let may_ever = || self.may_ever_pass(subscriber);
            return seen_of_update(before, after, || self.shown(subscriber), may_ever);
        }
        match after {
            Passing::Yes => Seen::Record(self.shown(subscriber)),
            Passing::No => Seen::Nothing,
            Passing::Unknown(until) => Seen::Perhaps(until),
        }
    }

    fn guests_alike(&self, subscriber: &Subscriber, row: Row<'_>, which: usize) -> Passing {
        match &subscriber.auth {
            None => *self.guest[which].get_or_init(|| self.passing(subscriber, row)),
            Some(_) => self.passing(subscriber, row),
        }
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
