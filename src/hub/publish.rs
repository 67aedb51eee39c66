//! Who receives an event, and which frame: one per subscription text and visibility.

use std::cell::{LazyCell, OnceCell, RefCell};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::HubOptions;
use super::access::{Access, ListGates, filter_member_of};
use super::cohort::Cohort;
use super::encoded::{Encoded, Shown};
use super::expand::GroupExpand;
use super::frames::Frames;
use super::leave::{leaving_frame, seen_of_update};
use super::registry::{Group, Registry, Subscriber, SubscriberKey};
use super::resync::Resyncs;
use super::tally::Tally;
use crate::auth::{AuthRecord, Principal};
use crate::event::{Action, ChangeEvent, FeedItem, Gap, Position};
use crate::frame::Frame;
use crate::record::{Visibility, encode_gap, entered, snapshot_row};
use crate::related::Shelf;
use crate::rules::{RequestContext, Row, Undecidable};
use crate::topic::{Guard, Options, WILDCARD, guard_of, visit_topics};

/// The delivery of one feed item.
pub(super) struct Delivery<'a> {
    pub registry: &'a Registry,
    pub access: &'a Access,
    pub options: &'a HubOptions,
    pub tally: &'a Tally,
    pub now: Timestamp,
    /// Rows of other collections, as far as they were fetched.
    pub shelf: &'a Shelf,
    pub pass: Pass<'a>,
    /// `None` for all who are live.
    pub cohort: Option<&'a Cohort>,
}

/// A row that is there, for one subscription of one subscriber.
pub(super) struct SnapshotRow<'s> {
    pub key: SubscriberKey,
    pub guard: Guard,
    pub topic: &'s str,
    pub text: &'s str,
    /// As if it had been created.
    pub event: &'s ChangeEvent,
}

/// What decisions are made for.
#[derive(Clone, Copy)]
pub(super) enum Pass<'a> {
    /// To write frames.
    Deliver,
    /// Only to learn which rows they want.
    LookAhead,
    /// To write frames although rows are wanted that nobody can look up now. Who may have missed something
    /// for that is told so, once in a while.
    Resync(&'a RefCell<Resyncs>),
}

impl Delivery<'_> {
    /// Calls `send` for every subscriber and frame, in the order of the groups.
    pub(super) fn publish(&self, item: &FeedItem, mut send: impl FnMut(SubscriberKey, Frame)) {
        match item {
            FeedItem::Change(event) => self.change(event, &mut send),
            FeedItem::Catalog(_) | FeedItem::Passed(_) | FeedItem::KeysChanged(_) => {}
            FeedItem::Gap(gap) => self.gap(gap, &mut send),
        }
    }

    fn change<'e>(&'e self, event: &'e ChangeEvent, send: &mut impl FnMut(SubscriberKey, Frame)) {
        let encoded = Encoded::new(event);
        visit_topics(&event.collection, &event.id, |topic, guard| {
            self.to_topic(topic, guard, &encoded, send);
        });
        if self.options.wildcard {
            self.to_topic(WILDCARD, Guard::List, &encoded, send);
        }
    }

    fn to_topic<'e>(
        &'e self,
        topic: &str,
        guard: Guard,
        encoded: &Encoded<'e>,
        send: &mut impl FnMut(SubscriberKey, Frame),
    ) {
        let event = encoded.event;
        let id = event.position.as_ref().map(Position::to_string);
        let id = id.as_deref();
        self.visit_groups(topic, event, |text, group, keys| {
            let verdict = Verdict {
                delivery: self,
                event,
                group,
                guard,
                guest: Default::default(),
                expand: GroupExpand::new(self, event, group, &encoded.expansions),
            };
            let frame_of = |shown| {
                let data = encoded.data(shown, group.picker.as_ref());
                let frame = Frame::event(id, text, &data);
                if frame.is_none() {
                    self.tally.unwritable_frame();
                }
                frame
            };
            let entering_of = |shown| {
                let data = entered(&encoded.data(shown, group.picker.as_ref()));
                Frame::event(id, text, &data)
            };
            let frames = Frames::new(&frame_of);
            let entering = group.leave.then(|| Frames::new(&entering_of));
            let leaving = LazyCell::new(|| leaving_frame(id, text, event));
            let resync = LazyCell::new(|| {
                let data = encode_gap(&event.collection);
                Frame::event(None, text, &data)
            });
            for key in keys {
                let Some(subscriber) = self.registry.get(key) else {
                    continue;
                };
                let frame = match (verdict.of(subscriber), self.pass) {
                    (_, Pass::LookAhead) | (Seen::Nothing, _) => continue,
                    (Seen::Record(shown), _) => frames.get(shown),
                    (Seen::Entering(shown), _) => {
                        entering.as_ref().and_then(|entering| entering.get(shown))
                    }
                    (Seen::Leaving, _) => (*leaving).clone(),
                    (Seen::Unpaired, _) => (*resync).clone(),
                    (Seen::Perhaps(until), Pass::Resync(resyncs)) => {
                        let collection = &event.collection;
                        let mut resyncs = resyncs.borrow_mut();
                        if !resyncs.note(&subscriber.id, text, collection, until) {
                            continue;
                        }
                        (*resync).clone()
                    }
                    (Seen::Perhaps(_), Pass::Deliver) => continue,
                };
                if let Some(frame) = frame {
                    send(key, frame);
                }
            }
        });
    }

    /// Calls `visit` for every group of a topic with those who are to be told of an event.
    fn visit_groups<'g>(
        &'g self,
        topic: &str,
        event: &ChangeEvent,
        mut visit: impl FnMut(&'g Arc<str>, &'g Group, &mut dyn Iterator<Item = SubscriberKey>),
    ) {
        let Some(cohort) = self.cohort else {
            for (text, group) in self.registry.groups(topic) {
                visit(text, group, &mut group.members.iter().copied());
            }
            return;
        };
        for (text, members) in cohort.groups(topic) {
            if let Some((text, group)) = self.registry.group(topic, text) {
                let missing = members.iter().filter(|member| member.misses(event));
                visit(text, group, &mut missing.map(|member| member.key));
            }
        }
    }

    /// The frame of a row that is there; `None` if its subscriber may not see it.
    pub(super) fn row<'e>(&'e self, row: SnapshotRow<'e>) -> Option<Frame> {
        let SnapshotRow {
            key,
            guard,
            topic,
            text,
            event,
        } = row;
        let (_, group) = self.registry.group(topic, text)?;
        let encoded = Encoded::new(event);
        let verdict = Verdict {
            delivery: self,
            event,
            group,
            guard,
            guest: Default::default(),
            expand: GroupExpand::new(self, event, group, &encoded.expansions),
        };
        let Seen::Record(shown) = verdict.of(self.registry.get(key)?) else {
            return None;
        };
        let data = snapshot_row(&encoded.data(shown, group.picker.as_ref()));
        let frame = Frame::event(None, text, &data);
        if frame.is_none() {
            self.tally.unwritable_frame();
        }
        frame
    }

    /// What a subscriber sees of a record that it may see.
    pub(super) fn visibility(
        &self,
        subscriber: &Subscriber,
        row: Row<'_>,
        request: &RequestContext<'_>,
    ) -> Visibility {
        let is_own = |record: &AuthRecord| record.is(&row.collection.id, &row.id.0);
        let manages = || {
            let Delivery { access, tally, .. } = self;
            access.manages(&subscriber.member, row, request, tally)
        };
        match subscriber.principal() {
            Principal::Superuser { .. } => Visibility::Full,
            Principal::Record(record) if is_own(record) => Visibility::Own,
            // Only auth collections keep anything back, so only of them it is asked.
            _ if row.collection.auth.is_some() && manages() => Visibility::Own,
            Principal::Guest | Principal::Record(_) => Visibility::Plain,
        }
    }

    /// Tells everybody who waits for records of a collection that some changes will not come.
    fn gap(&self, gap: &Gap, send: &mut impl FnMut(SubscriberKey, Frame)) {
        let data = encode_gap(&gap.collection);
        let mut tell = |topic: &str, text: &str, keys: &mut dyn Iterator<Item = SubscriberKey>| {
            let guard = match guard_of(topic, &gap.collection) {
                Some(guard) => guard,
                None if topic == WILDCARD && self.options.wildcard => Guard::List,
                None => return,
            };
            let Some(frame) = Frame::event(None, text, &data) else {
                return;
            };
            for key in keys {
                let concerns = |subscriber: &Subscriber| {
                    let Subscriber { member, .. } = subscriber;
                    self.access.may_ever_pass(member, &gap.collection, guard)
                };
                if self.registry.get(key).is_some_and(concerns) {
                    send(key, frame.clone());
                }
            }
        };
        match self.cohort {
            None => self.registry.all_groups().for_each(|(topic, text, group)| {
                tell(topic, text, &mut group.members.iter().copied());
            }),
            Some(cohort) => cohort.all_groups().for_each(|(topic, text, members)| {
                tell(topic, text, &mut members.iter().map(|member| member.key));
            }),
        }
    }
}

/// What one group may see of one event.
struct Verdict<'v, 'e> {
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

impl Verdict<'_, '_> {
    /// What a subscriber may see.
    fn of(&self, subscriber: &Subscriber) -> Seen {
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
