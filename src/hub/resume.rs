//! Telling those who were away what they have missed, piece by piece between what happens now.

use std::collections::HashSet;

use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cohort::Cohort;
use super::marks::{Marks, mark, mark_for, overdue};
use super::points::Book;
use super::registry::SubscriberKey;
use super::replay::{Go, Past, Replay};
use super::task::Hub;
use crate::event::{FeedItem, Gap, GapReason};
use crate::points::Points;
use crate::telemetry::Metrics;

/// How often it is looked whether somebody should be told a newer position.
const BEAT: Duration = Duration::from_secs(5);

/// When that is next.
pub(super) struct Beat(Instant);

impl Default for Beat {
    fn default() -> Self {
        Self(Instant::now() + BEAT)
    }
}

impl Beat {
    /// Waits until then, if there is any use in it. Safe to drop half-way.
    pub(super) fn next(&self, is_useful: bool) -> impl Future<Output = ()> + use<> {
        let at = is_useful.then_some(self.0);
        async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Hub {
    /// Lets subscriptions with keys go on after a restart.
    #[must_use]
    pub fn with_points(mut self, points: Points) -> Self {
        self.book.set_store(points);
        self
    }

    /// Takes note of how far everybody has come, and tells those the position who have been told
    /// nothing for a while.
    pub(super) fn beat(&mut self) {
        self.beat = Beat::default();
        let Some(newest) = self.history.reached().newest().cloned() else {
            return;
        };
        let (replays, number) = (&self.replays, self.history.end());
        let subscribers = self.registry.iter_mut();
        let followed = subscribers
            .filter(|(key, subscriber)| !subscriber.progress.keys.is_empty() && !replays.has(*key));
        let progress = followed.map(|(_, subscriber)| {
            let counts = subscriber.mailbox.sent_and_taken();
            (&mut subscriber.progress, counts)
        });
        self.book.follow(progress, &newest, number);
        self.book.save(Book::SAVED_MAX);
        for key in overdue(&mut self.registry) {
            if !self.replays.has(key) {
                self.outbox
                    .extend(mark_for(&mut self.registry, key, &newest));
            }
        }
        self.flush_all();
    }

    /// Lets those who were away longer than the hub remembers be told from the log.
    #[must_use]
    pub fn with_past(mut self, past: Past) -> Self {
        self.replays.set_past(past);
        self
    }

    /// Tells everybody who has missed something a piece of it.
    pub(super) async fn replay(&mut self, stop: &CancellationToken) {
        self.replays.forget_gone(&self.registry);
        self.replays.locate(&mut self.history);
        let catalog = std::sync::Arc::clone(self.access.catalog());
        let memory = self
            .replays
            .next_of_memory(&self.registry, &mut self.history, &catalog);
        let log = self.replays.next_of_log(&self.registry, &catalog);
        for go in memory.into_iter().chain(log) {
            self.tell(go, stop).await;
        }
        for (replay, lost) in self.replays.take_done(&self.history) {
            self.end_replay(&replay, lost);
        }
        let stalled = self.replays.stalled(&self.registry);
        self.let_go(stalled);
        self.replays.plan(&self.history, &self.registry);
    }

    async fn tell(&mut self, go: Go, stop: &CancellationToken) {
        let mut cohort = Cohort::default();
        // What follows a snapshot says nothing of the position of a stream.
        let mut followed = HashSet::with_capacity(go.who.len());
        for &who in &go.who {
            let replay = &self.replays.list[who];
            cohort.insert(replay.key, &replay.texts, &replay.seen);
            followed.extend((!replay.follows_snapshot).then_some(replay.key));
        }
        self.cohort = Some(cohort);
        let keys = followed.iter().copied();
        let mut unfinished: Vec<_> = keys.filter(|&key| self.is_dirty(key)).collect();
        let mut overrun = Vec::new();
        for (place, item) in go.items.iter().enumerate() {
            self.expire();
            self.decide(&go.items[place..], stop).await;
            mark(
                &mut self.outbox,
                &mut self.registry,
                item,
                &mut unfinished,
                |key, _| followed.contains(&key),
            );
            self.flush(&mut overrun);
        }
        self.cohort = None;
        self.end_batch();
        self.replays.told(go);
        self.let_go(overrun);
    }

    fn marks_of(&mut self, key: SubscriberKey) -> Option<&mut Marks> {
        self.registry.get_mut(key)?.marks.as_mut()
    }

    fn is_dirty(&self, key: SubscriberKey) -> bool {
        let subscriber = self.registry.get(key);
        let marks = subscriber.and_then(|subscriber| subscriber.marks.as_ref());
        marks.is_some_and(|marks| marks.is_dirty())
    }

    /// Somebody has been told everything, or cannot be told, and is live from now on.
    fn end_replay(&mut self, replay: &Replay, lost: Option<&'static str>) {
        if let Some(why) = lost {
            tracing::debug!(
                why,
                "what a subscriber has missed cannot be told; it is told to load afresh"
            );
            self.resync(replay);
        }
        Metrics::count_outcome(
            &self.metrics.resumes,
            if lost.is_some() { "resync" } else { "complete" },
        );
        for (topic, text) in &replay.texts {
            self.registry.make_live(replay.key, topic, text);
        }
        if replay.follows_snapshot {
            return;
        }
        if let Some(marks) = self.marks_of(replay.key) {
            marks.set_behind(false);
        }
        if self.is_dirty(replay.key) && lost.is_none() {
            self.unfinished.push(replay.key);
        } else if let Some(newest) = self.history.reached().newest().cloned() {
            self.outbox
                .extend(mark_for(&mut self.registry, replay.key, &newest));
            self.flush_all();
        }
    }

    /// Tells somebody to load afresh whatever it asked for.
    fn resync(&mut self, replay: &Replay) {
        self.cohort = Some(replay.cohort());
        let collections: Vec<_> = self.access.catalog().iter().cloned().collect();
        let mut outbox = std::mem::take(&mut self.outbox);
        for collection in collections {
            let gap = FeedItem::Gap(Gap {
                collection,
                reason: GapReason::Retention,
                transaction: None,
            });
            let delivery = self.delivery(jiff::Timestamp::now(), super::publish::Pass::Deliver);
            delivery.publish(&gap, |key, frame| outbox.push((key, frame)));
        }
        let delivery = self.delivery(jiff::Timestamp::now(), super::publish::Pass::Deliver);
        let catalog = self.access.catalog();
        delivery.messages_lost(catalog, &mut |key, frame| outbox.push((key, frame)));
        self.outbox = outbox;
        self.cohort = None;
        Metrics::count(&self.metrics.gaps, "resume");
        if let Some(marks) = self
            .marks_of(replay.key)
            .filter(|_| !replay.follows_snapshot)
        {
            marks.start_over();
        }
        self.flush_all();
    }

    /// Hands out what is in the outbox, and lets those go who have no room for it.
    pub(super) fn flush_all(&mut self) {
        let mut overrun = Vec::new();
        self.flush(&mut overrun);
        self.let_go(overrun);
    }
}
