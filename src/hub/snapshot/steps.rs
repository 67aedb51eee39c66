//! What the hub does for snapshots.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::pump::Pump;
use super::{
    Known, LOOKED_AT_FACTOR, Listed, RUNNING_MAX, Refusal, Running, Snapshot, Step, Ticket,
    WAITING_MAX,
};
use crate::auth::Principal;
use crate::catalog::Collection;
use crate::event::{Action, ChangeEvent, Position, parse_image, record_id};
use crate::frame::Frame;
use crate::hub::publish::{Pass, SnapshotRow};
use crate::hub::registry::SubscriberKey;
use crate::hub::replay::From;
use crate::hub::task::Hub;
use crate::record::{encode_ready, encode_refusal};
use crate::related::{ROUNDS_MAX, Tables};
use crate::telemetry::Metrics;
use crate::topic::{Guard, Subscription, guard_of};

/// What a subscriber had before it asked for something else.
#[derive(Default)]
pub(in crate::hub) struct Former {
    /// What it is being told, or was: it is not to be told that anew.
    texts: Vec<Arc<str>>,
}

impl Hub {
    /// Lets subscribers ask for snapshots of these tables.
    #[must_use]
    pub fn with_tables(mut self, tables: Arc<dyn Tables>) -> Self {
        self.snapshots.tables = Some(tables);
        self
    }

    /// What is to be remembered before a subscriber's list is replaced.
    pub(in crate::hub) fn former(&mut self, key: SubscriberKey, next: &Principal) -> Former {
        let Some(subscriber) = self.registry.get(key) else {
            return Former::default();
        };
        if subscriber.principal() != next {
            // Somebody else sees other records.
            self.snapshots.forget(key);
            return Former::default();
        }
        let subscriptions = subscriber.subscriptions().iter();
        let snapshots = subscriptions.filter(|one| is_asked(one));
        Former {
            texts: snapshots.map(|one| Arc::clone(one.text())).collect(),
        }
    }

    /// Begins the snapshots that a new list asks for, and goes on with those under way.
    pub(in crate::hub) fn begin_snapshots(&mut self, key: SubscriberKey, former: Former) {
        self.snapshots.forget_gone(&self.registry);
        let Some(subscriber) = self.registry.get(key) else {
            return;
        };
        let id = subscriber.id.clone();
        let asked = subscriber
            .subscriptions()
            .iter()
            .filter(|one| is_asked(one));
        let asked: Vec<Subscription> = asked.cloned().collect();
        for subscription in asked {
            let under_way = self.snapshots.has(key, subscription.text());
            if !under_way && former.texts.contains(subscription.text()) {
                continue;
            }
            self.registry
                .hold_back(key, subscription.topic(), subscription.text());
            if !under_way {
                let from = self.history.reached().newest().cloned();
                let id = id.clone();
                self.snapshots.waiting.push_back(Snapshot {
                    key,
                    id,
                    subscription,
                    from,
                });
            }
        }
        self.start_snapshots();
    }

    /// Begins to read as many of those that wait as may be read at a time.
    pub(in crate::hub) fn start_snapshots(&mut self) {
        if self.catalog_is_unknown() {
            return;
        }
        self.snapshots.forget_gone(&self.registry);
        while self.snapshots.waiting.len() > WAITING_MAX
            && let Some(snapshot) = self.snapshots.waiting.pop_back()
        {
            self.end_snapshot(snapshot, Err(Refusal::Busy), 0);
        }
        while self.snapshots.running.len() < RUNNING_MAX
            && let Some(snapshot) = self.snapshots.waiting.pop_front()
        {
            self.start(snapshot);
        }
    }

    fn start(&mut self, snapshot: Snapshot) {
        let (Some(tables), Some(subscriber)) =
            (&self.snapshots.tables, self.registry.get(snapshot.key))
        else {
            return self.end_snapshot(snapshot, Err(Refusal::Unavailable), 0);
        };
        self.snapshots.tickets += 1;
        let ticket = self.snapshots.tickets;
        let pump = Pump {
            ticket,
            listing: tables.open(),
            mailbox: subscriber.mailbox.clone(),
            hub: self.snapshots.hub.clone(),
        };
        self.snapshots.running.push(Running {
            ticket,
            snapshot,
            about: None,
            looked_at: 0,
            sent: 0,
            _task: AbortOnDropHandle::new(tokio::spawn(pump.run())),
        });
    }

    /// The collection that a snapshot is about, if its subscriber may ever see a record of it.
    fn listed(&self, snapshot: &Snapshot) -> Option<(Arc<Collection>, Guard)> {
        let topic = snapshot.subscription.topic();
        let collections = &mut self.access.catalog().iter();
        let (collection, guard) =
            collections.find_map(|collection| Some((collection, guard_of(topic, collection)?)))?;
        let member = &self.registry.get(snapshot.key)?.member;
        let may = self.access.may_ever_pass(member, collection, guard);
        may.then(|| (Arc::clone(collection), guard))
    }

    /// Does what a task asks for.
    pub(in crate::hub) async fn snapshot_step(&mut self, step: Step, stop: &CancellationToken) {
        // Without an answer the task ends: nobody wants its snapshot any more.
        match step {
            Step::Ask { ticket, reply } => {
                if let Some(known) = self.snapshot_known(ticket) {
                    let _ = reply.send(known);
                }
            }
            Step::Rows {
                ticket,
                rows,
                reply,
            } => {
                if let Some(frames) = self.snapshot_rows(ticket, rows, stop).await {
                    let _ = reply.send(frames);
                }
            }
            Step::End { ticket, outcome } => {
                let mut place = self.snapshots.running.iter();
                let place = place.position(|running| running.ticket == ticket);
                if let Some(place) = place {
                    let running = self.snapshots.running.swap_remove(place);
                    self.end_snapshot(running.snapshot, outcome, running.sent);
                }
            }
        }
        self.start_snapshots();
    }

    /// How far the hub has come, and what a snapshot is about by now. It is not told whether there is a
    /// collection of which its subscriber could never see anything.
    fn snapshot_known(&mut self, ticket: Ticket) -> Option<Known> {
        let mut running = self.snapshots.running.iter();
        let place = running.position(|running| running.ticket == ticket)?;
        let snapshot = &self.snapshots.running[place].snapshot;
        let listed = self.listed(snapshot);
        let topic = snapshot.subscription.topic();
        let record = topic.split_once('/').map(|(_, record)| Arc::from(record));
        let about = listed
            .as_ref()
            .map(|(collection, guard)| (collection.key, *guard));
        self.snapshots.running[place].about = about;
        Some(Known {
            position: self.history.reached().newest().cloned(),
            listed: listed.map(|(collection, guard)| Listed {
                collection,
                record: record.filter(|_| guard == Guard::View),
            }),
        })
    }

    /// The frames of those rows that a subscriber may see; `None` if it does not want them any more.
    async fn snapshot_rows(
        &mut self,
        ticket: Ticket,
        rows: Vec<Box<str>>,
        stop: &CancellationToken,
    ) -> Option<Result<Vec<Frame>, Refusal>> {
        let rows_max = self.options.snapshot_rows_max;
        self.snapshots.forget_gone(&self.registry);
        let running = self.snapshots.running(ticket)?;
        running.looked_at += rows.len();
        let too_many = running.looked_at > rows_max.saturating_mul(LOOKED_AT_FACTOR);
        let (collection, guard) = running.about?;
        let (key, subscription) = (running.snapshot.key, running.snapshot.subscription.clone());
        if too_many {
            return Some(Err(Refusal::TooManyRows));
        }
        let collection = self.access.catalog().get(collection);
        let events =
            collection.and_then(|collection| events(collection, rows, &subscription, guard));
        let Some(events) = events else {
            return Some(Err(Refusal::Changed));
        };
        let frames = self
            .decide_rows(key, guard, &subscription, &events, stop)
            .await;
        self.end_batch();
        let running = self.snapshots.running(ticket)?;
        running.sent += frames.as_ref().map_or(0, Vec::len);
        Some(frames.and_then(|frames| match running.sent > rows_max {
            true => Err(Refusal::TooManyRows),
            false => Ok(frames),
        }))
    }

    async fn decide_rows(
        &mut self,
        key: SubscriberKey,
        guard: Guard,
        subscription: &Subscription,
        events: &[ChangeEvent],
        stop: &CancellationToken,
    ) -> Result<Vec<Frame>, Refusal> {
        let now = Timestamp::now();
        for _ in 0..=ROUNDS_MAX {
            self.expire();
            let frames = self.draft_rows(key, guard, subscription, events, now);
            let wanting = self.shelf.is_wanting();
            if !wanting && self.shelf.held_back().is_none() {
                self.tally.commit(&self.metrics);
                return Ok(frames);
            }
            // Rows that are held back may decide about some of these: to leave those out would be to hide them.
            if !wanting || self.lookups.gave_up() {
                break;
            }
            match self.lookups.fetch(self.shelf.take_wanted(), stop).await {
                Some(found) => found
                    .into_iter()
                    .for_each(|(want, found)| self.shelf.put(want, found)),
                None => self.shelf.clear(),
            }
        }
        Err(Refusal::Unavailable)
    }

    /// The frames of rows, as far as can be decided with the rows of other collections that are there.
    fn draft_rows(
        &self,
        key: SubscriberKey,
        guard: Guard,
        subscription: &Subscription,
        events: &[ChangeEvent],
        now: Timestamp,
    ) -> Vec<Frame> {
        self.tally.clear();
        self.shelf.take_held_back();
        let delivery = self.delivery(now, Pass::Deliver);
        let row = |event| {
            delivery.row(SnapshotRow {
                key,
                guard,
                topic: subscription.topic(),
                text: subscription.text(),
                event,
            })
        };
        events.iter().filter_map(row).collect()
    }

    /// Says that there is no more, and goes on with what happened since.
    fn end_snapshot(
        &mut self,
        snapshot: Snapshot,
        outcome: Result<Position, Refusal>,
        sent: usize,
    ) {
        if !snapshot.is_wanted(&self.registry) {
            return;
        }
        let word = outcome
            .as_ref()
            .err()
            .map_or("complete", |refusal| refusal.as_str());
        Metrics::count_outcome(&self.metrics.snapshots, word);
        let listed = self.listed(&snapshot);
        let Snapshot {
            key,
            from,
            subscription,
            ..
        } = snapshot;
        let text = subscription.text();
        if let Some((collection, _)) = listed {
            let data = match &outcome {
                Ok(_) => encode_ready(&collection, sent),
                Err(refusal) => encode_refusal(&collection, refusal.as_str()),
            };
            let frame = Frame::event(None, text, &data);
            self.outbox.extend(frame.map(|frame| (key, frame)));
            self.flush_all();
        }
        let trusted = outcome.is_ok();
        self.catch_up(key, &subscription, outcome.ok().or(from), trusted);
    }

    /// Tells under one subscription what a position does not contain, and then what happens. `trusted` if the position
    /// was read from the database.
    fn catch_up(
        &mut self,
        key: SubscriberKey,
        subscription: &Subscription,
        from: Option<Position>,
        trusted: bool,
    ) {
        match from {
            Some(from) => {
                let text = subscription.text();
                if self.begin_replay(key, From::Position(from), |one| one.text() == text) {
                    self.replays.last_is_after_snapshot(key, trusted);
                }
            }
            None => self
                .registry
                .make_live(key, subscription.topic(), subscription.text()),
        }
    }
}

/// Whether a subscription asks for a snapshot.
pub(in crate::hub) fn is_asked(subscription: &Subscription) -> bool {
    subscription.options().is_set("snapshot")
}

/// Rows as if they had been created just now; `None` if they are not of the shape that is known.
fn events(
    collection: &Arc<Collection>,
    rows: Vec<Box<str>>,
    subscription: &Subscription,
    guard: Guard,
) -> Option<Vec<ChangeEvent>> {
    let mut events = Vec::with_capacity(rows.len());
    for json in rows {
        let parsed = parse_image(json, collection).ok()?;
        if !parsed.shape_matches {
            return None;
        }
        let id = record_id(&parsed.image, collection).ok()?;
        // Equal to the database is not the same to us, such as 07 and 7.
        let topic = subscription.topic().split_once('/');
        if guard == Guard::View && topic.is_none_or(|(_, record)| *record != *id.0) {
            continue;
        }
        events.push(ChangeEvent {
            collection: Arc::clone(collection),
            action: Action::Create,
            id,
            old: None,
            new: Some(parsed.image),
            transaction: None,
            position: None,
            ends_transaction: false,
        });
    }
    Some(events)
}
