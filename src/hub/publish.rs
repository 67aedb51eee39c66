//! Who receives an event, and which frame: one per subscription text and visibility.

use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;

use super::HubOptions;
use super::access::Access;
use super::cohort::Cohort;
use super::encoded::Encoded;
use super::fragments::is_wanted;
use super::frames::{Frames, Writer};
use super::groups::{Group, Topic};
use super::index::Candidate;
use super::messages::Filters;
use super::personal::{Drafts, Enriching, Telling};
use super::registry::{Registry, Subscriber, SubscriberKey};
use super::resync::Resyncs;
use super::tally::Tally;
use super::verdict::{Seen, Verdict};
use crate::auth::{AuthRecord, Principal};
use crate::event::{Action, ChangeEvent, FeedItem, Gap};
use crate::frame::Frame;
use crate::record::{Visibility, encode_gap};
use crate::related::Shelf;
use crate::rules::{RequestContext, Row};
use crate::templates::Templates;
use crate::topic::{Guard, WILDCARD, guard_of, visit_topics};

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
    /// What messages are filtered by.
    pub filters: &'a Filters,
    /// Who has a say in records; `None` for nobody.
    pub enriching: Option<Enriching>,
    /// What makes HTML, for those who want it.
    pub templates: &'a Templates,
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
            FeedItem::Message(message) => self.message(message, &mut send),
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
        self.visit_groups(topic, guard, encoded.event, |text, group, keys| {
            let verdict = Verdict::new(self, encoded, group, guard);
            let in_json = Frames::new(encoded, group, self.writer(text));
            let in_html = Frames::new(encoded, group, self.writer(text)).in_html(self.templates);
            let drafts = self.drafts(encoded, group, text);
            for key in keys {
                let Some(subscriber) = self.registry.get(key) else {
                    continue;
                };
                let frames = match is_wanted(group, subscriber) {
                    true => &in_html,
                    false => &in_json,
                };
                let frame = match (verdict.of(subscriber), self.pass) {
                    (_, Pass::LookAhead) | (Seen::Nothing, _) => None,
                    (Seen::Record(shown), _) => match &drafts {
                        Some(drafts) => Some(drafts.frame(Telling::Change, shown, subscriber)),
                        None => frames.record(shown),
                    },
                    (Seen::Entering(shown), _) => match &drafts {
                        Some(drafts) => Some(drafts.frame(Telling::Entering, shown, subscriber)),
                        None => frames.entering(shown),
                    },
                    (Seen::Leaving, _) => frames.leaving(),
                    (Seen::Unpaired, _) => frames.resync(),
                    (Seen::Perhaps(until), Pass::Resync(resyncs)) => {
                        let collection = &encoded.event.collection;
                        let mut resyncs = resyncs.borrow_mut();
                        let is_news = resyncs.note(&subscriber.id, text, collection, until);
                        is_news.then(|| frames.resync()).flatten()
                    }
                    (Seen::Perhaps(_), Pass::Deliver) => None,
                };
                if let Some(frame) = frame {
                    send(key, frame);
                }
            }
        });
    }

    /// `None` unless hooks have a say in what a group is shown.
    fn drafts<'d, 'e>(
        &'d self,
        encoded: &'d Encoded<'e>,
        group: &'d Group,
        text: &'d str,
    ) -> Option<Drafts<'d, 'e>> {
        let drafts = Drafts::new(self.enriching.as_ref()?, encoded, group, text)?;
        Some(drafts.in_html(self.templates))
    }

    pub(super) fn writer<'w>(&'w self, text: &'w str) -> Writer<'w> {
        Writer {
            text,
            tally: self.tally,
        }
    }

    /// Calls `visit` for every group of a topic that has members whom an event may concern, with them.
    fn visit_groups<'g>(
        &'g self,
        topic: &str,
        guard: Guard,
        event: &ChangeEvent,
        mut visit: impl FnMut(&'g Arc<str>, &'g Group, &mut dyn Iterator<Item = SubscriberKey>),
    ) {
        if let Some(cohort) = self.cohort {
            for (text, members) in cohort.groups(topic) {
                if let Some((text, group)) = self.registry.group(topic, text) {
                    let missing = members
                        .iter()
                        .filter(|member| member.misses(event.transaction));
                    visit(text, group, &mut missing.map(|member| member.key));
                }
            }
            return;
        }
        let Some(topic) = self.registry.topic(topic) else {
            return;
        };
        let Some(candidates) = self.concerned(topic, guard, event) else {
            for (text, group) in topic.groups() {
                visit(text, group, &mut group.members.iter().copied());
            }
            return;
        };
        for members in candidates.chunk_by(|one, next| one.group() == next.group()) {
            if let Some((text, group)) = topic.at(members[0].group()) {
                visit(text, group, &mut members.iter().map(|one| one.subscriber()));
            }
        }
    }

    /// Those of a topic whom an event may concern; `None` if it may be anybody.
    fn concerned(
        &self,
        topic: &Topic,
        guard: Guard,
        event: &ChangeEvent,
    ) -> Option<Vec<Candidate>> {
        let shown = Row::shown(event);
        if event.action != Action::Update || !topic.has_leaving() {
            return self.candidates(topic, guard, &event.collection, &[shown]);
        }
        // Where nobody knows the row before, everybody who is told when a record leaves may have seen it.
        let rows = [shown, Row::before(event)?];
        self.candidates(topic, guard, &event.collection, &rows)
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
        let verdict = Verdict::new(self, &encoded, group, guard);
        let subscriber = self.registry.get(key)?;
        let Seen::Record(shown) = verdict.of(subscriber) else {
            return None;
        };
        let mut frames = Frames::new(&encoded, group, self.writer(text));
        if is_wanted(group, subscriber) {
            frames = frames.in_html(self.templates);
        }
        match self.drafts(&encoded, group, text) {
            Some(drafts) => Some(drafts.frame(Telling::Snapshot, shown, subscriber)),
            None => frames.snapshot_row(shown),
        }
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
            let Some(frame) = self.writer(text).write(None, &data) else {
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
                let missing = members.iter();
                let missing = missing.filter(|member| member.misses(gap.transaction));
                tell(topic, text, &mut missing.map(|member| member.key));
            }),
        }
    }
}
