//! The hub's task: one owner of all subscribers, with a door for feed items and one for commands.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::HubOptions;
use super::access::Access;
use super::cohort::Cohort;
use super::handle::{Command, HubHandle, JoinError};
use super::history::History;
use super::lookups::Lookups;
use super::mailbox::{ClientId, Mailbox, Refused, Rounds};
use super::marks::{Outbox, mark};
use super::messages::Filters;
use super::personal::Enrichers;
use super::points::Book;
use super::publish::{Delivery, Pass};
use super::recall::Recall;
use super::registry::{Registry, SubscriberKey};
use super::replay::Replays;
use super::resume::Beat;
use super::resync::Reminder;
use super::snapshot::Snapshots;
use super::strict::Strict;
use super::tally::Tally;
use crate::catalog::Catalog;
use crate::event::FeedItem;
use crate::frame::Frame;
use crate::hooks::{Chain, DisconnectReason, Hooks};
use crate::record::encode_gap;
use crate::related::{Library, ROUNDS_MAX, Shelf};
use crate::telemetry::Metrics;
use crate::templates::Templates;

/// Feed items taken in one go; between two goes commands have their turn.
const BATCH_MAX: usize = 256;

/// The task that knows every subscriber.
pub struct Hub {
    pub(super) options: HubOptions,
    pub(super) metrics: Metrics,
    pub(super) registry: Registry,
    pub(super) access: Access,
    /// Rows that the decisions of a batch needed, all of one moment.
    pub(super) shelf: Shelf,
    /// The newest catalog, for those who check subscriptions or rules; `None` before the first.
    catalog: watch::Sender<Option<Arc<Catalog>>>,
    pub(super) lookups: Lookups,
    /// The frames of one item, while it is not sure that they are the right ones.
    pub(super) outbox: Outbox,
    /// Whose mailboxes are to be seen to.
    rounds: Rounds,
    /// Who was told something of the transaction that is being told.
    pub(super) unfinished: Vec<SubscriberKey>,
    pub(super) history: History,
    /// What messages are filtered by.
    pub(super) filters: Filters,
    pub(super) replays: Replays,
    pub(super) recall: Recall,
    pub(super) beat: Beat,
    pub(super) book: Book,
    /// Who is told of the past just now; `None` while what happens now is told.
    pub(super) cohort: Option<Cohort>,
    pub(super) tally: Tally,
    pub(super) snapshots: Snapshots,
    enrichers: Enrichers,
    templates: Templates,
    commands: mpsc::Receiver<Command>,
    departures: mpsc::UnboundedReceiver<ClientId>,
    departing: mpsc::UnboundedSender<ClientId>,
}

impl Hub {
    /// Builds the task and the handle to it; nothing happens before [`run`](Self::run).
    pub fn new(
        options: HubOptions,
        library: Arc<dyn Library>,
        metrics: Metrics,
    ) -> (Self, HubHandle) {
        // When full, requests wait: they are in nobody's way.
        let (sender, commands) = mpsc::channel(1024);
        let (departing, departures) = mpsc::unbounded_channel();
        let (catalog, newest) = watch::channel(None);
        let strict = options.strict_subscriptions.then_some(Strict {
            catalog: newest.clone(),
            wildcard: options.wildcard,
        });
        let hub = Self {
            enrichers: Enrichers::new(Chain::default(), metrics.clone()),
            templates: Templates::default(),
            history: History::new(options.history_frames, options.history_bytes),
            replays: Replays::new(),
            filters: Filters::default(),
            recall: Recall::default(),
            beat: Beat::default(),
            book: Book::default(),
            cohort: None,
            unfinished: Vec::new(),
            options,
            metrics,
            registry: Registry::default(),
            access: Access::default(),
            shelf: Shelf::default(),
            catalog,
            lookups: Lookups::new(library),
            outbox: Vec::new(),
            rounds: Rounds::default(),
            tally: Tally::default(),
            snapshots: Snapshots::new(),
            commands,
            departures,
            departing,
        };
        (hub, HubHandle::new(sender, strict, newest))
    }

    /// Gives hooks a say in records.
    #[must_use]
    pub fn with_hooks(self, hooks: &Hooks) -> Self {
        let enrichers = Enrichers::new(hooks.enrich.clone(), self.metrics.clone());
        Self { enrichers, ..self }
    }

    /// Lets events be told as HTML.
    #[must_use]
    pub fn with_templates(self, templates: Templates) -> Self {
        Self { templates, ..self }
    }

    /// Where the newest catalog is found; `None` before the first.
    pub fn catalogs(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        self.catalog.subscribe()
    }

    /// Delivers until told to stop or until the feed ends; then every mailbox ends, cleanly.
    pub async fn run(mut self, feed: mpsc::Receiver<FeedItem>, stop: CancellationToken) {
        self.deliver(feed, stop).await;
        self.book.save(usize::MAX);
    }

    async fn deliver(&mut self, mut feed: mpsc::Receiver<FeedItem>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(id) = self.departures.recv() => self.leave(&id),
                Some(command) = self.commands.recv() => self.execute(command),
                () = self.registry.next_end() => self.expire(),
                () = self.lookups.next_reminder() => self.remind(),
                Some(step) = self.snapshots.next() => self.snapshot_step(step, &stop).await,
                () = self.beat.next(self.registry.has_marked() || self.book.is_used()) => self.beat(),
                () = self.replays.next_go() => self.replay(&stop).await,
                item = self.recall.next() => self.recall_step(item),
                taken = feed.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    self.publish(&batch, &stop).await;
                    batch.clear();
                }
            }
            self.rounds.set_out();
        }
    }

    fn execute(&mut self, command: Command) {
        // Whoever asked may have left meanwhile; then nobody waits for the answer.
        match command {
            Command::Join { id, address, reply } => drop(reply.send(self.join(id, address))),
            Command::Check { request, reply } => {
                drop(reply.send(self.check(&request).map(drop)));
            }
            Command::SetTopics {
                request,
                points,
                reply,
            } => drop(reply.send(self.set_topics(request, points))),
            Command::Confirm {
                client_id,
                claimed,
                proof,
            } => {
                self.registry
                    .confirm(&client_id, &claimed, proof, &self.options);
            }
            Command::Roster(request) => self.answer(request),
            Command::ChangeStore {
                client_id,
                change,
                owner,
                reply,
            } => drop(reply.send(self.change_store(&client_id, change, owner.as_ref()))),
        }
        self.count();
    }

    fn join(&mut self, id: ClientId, address: IpAddr) -> Result<Mailbox, JoinError> {
        if self.registry.subscribers() >= self.options.subscribers_max {
            return Err(JoinError::TooMany);
        }
        if self.registry.subscribers_from(address) >= self.options.subscribers_per_address_max {
            return Err(JoinError::TooManyFromAddress);
        }
        // When full, the subscriber is let go: see `let_go`.
        let frames_max = self.options.mailbox_frames;
        let (mailbox, slot) = Mailbox::new(id.clone(), frames_max, self.departing.clone());
        self.registry
            .insert(id.clone(), address, slot, Arc::clone(mailbox.line()));
        tracing::debug!(subscriber.id = %id, "subscriber joined");
        Ok(mailbox)
    }

    fn leave(&mut self, id: &ClientId) {
        if let Some(key) = self.registry.find(&id.0) {
            self.registry.remove(key);
            self.count();
            tracing::debug!(subscriber.id = %id, "subscriber left");
        }
    }

    /// Ends what a token gave to those whose tokens have ended.
    pub(super) fn expire(&mut self) {
        for key in self.registry.expire(Instant::now()) {
            self.end_stream(key, DisconnectReason::TokenExpired);
        }
    }

    /// Ends a stream; its client may come back.
    pub(super) fn end_stream(&mut self, key: SubscriberKey, reason: DisconnectReason) {
        let Some(subscriber) = self.registry.get(key) else {
            return;
        };
        let word = reason.as_str();
        tracing::debug!(subscriber.id = %subscriber.id, reason = word, "a stream ends");
        subscriber.progress.line().end(reason);
        Metrics::count(&self.metrics.disconnects, word);
        self.registry.remove(key);
        self.count();
    }

    /// Delivers a batch. Where decisions need rows of other collections it waits for them, and with it
    /// commands and departures do: five seconds at most (see `lookups`).
    async fn publish(&mut self, items: &[FeedItem], stop: &CancellationToken) {
        let began = Instant::now();
        let mut overrun = Vec::new();
        for (place, item) in items.iter().enumerate() {
            // Rights that have ended are gone before the next event, however busy the feed is.
            self.expire();
            self.prepare(item);
            self.decide(&items[place..], stop).await;
            mark(
                &mut self.outbox,
                &mut self.registry,
                item,
                &mut self.unfinished,
                |_, marks| !marks.is_behind(),
            );
            self.flush(&mut overrun);
            self.history.note(item);
            if let FeedItem::Passed(position) = item {
                self.begin_recall(position);
            }
            for key in self.registry.follow(item) {
                self.end_stream(key, DisconnectReason::AuthUnknown);
            }
        }
        self.end_batch();
        self.let_go(overrun);
        self.replays.wake();
        self.metrics
            .fanout_seconds
            .observe(began.elapsed().as_secs_f64());
    }

    /// What was looked up is forgotten, so that the next batch looks at another moment.
    pub(super) fn end_batch(&mut self) {
        self.shelf.clear();
        self.lookups.begin();
    }

    fn prepare(&mut self, item: &FeedItem) {
        match item {
            FeedItem::Catalog(catalog) => {
                self.access.set_catalog(catalog);
                self.catalog.send_replace(Some(Arc::clone(catalog)));
                // What was found is read with the fields of then.
                self.shelf.clear();
                self.start_snapshots();
            }
            FeedItem::KeysChanged(changed) => self.registry.forget_keys(changed),
            FeedItem::Passed(_) | FeedItem::Change(_) | FeedItem::Message(_) | FeedItem::Gap(_) => {
            }
        }
        if self.lookups.overflows() {
            self.shelf.clear();
        }
    }

    /// Fills the outbox with what the first item comes to; the others are those that follow it.
    pub(super) async fn decide(&mut self, items: &[FeedItem], stop: &CancellationToken) {
        let Some((item, rest)) = items.split_first() else {
            return;
        };
        let now = Timestamp::now();
        let mut rounds = 0;
        loop {
            self.draft(item, now);
            let wanting = self.shelf.is_wanting();
            if !wanting && self.shelf.held_back().is_none() {
                return;
            }
            if !wanting || self.lookups.gave_up() {
                return self.draft_without(item, now);
            }
            if rounds == ROUNDS_MAX {
                return self.leave_undecided();
            }
            rounds += 1;
            self.look_ahead(rest, now);
            // Nobody waits for what was decided before.
            self.rounds.set_out();
            match self.lookups.fetch(self.shelf.take_wanted(), stop).await {
                Some(found) => found
                    .into_iter()
                    .for_each(|(want, found)| self.shelf.put(want, found)),
                None => {
                    self.shelf.clear();
                    rounds = 0;
                }
            }
            // That took its time; rights may have ended meanwhile.
            self.expire();
        }
    }

    /// Fills the outbox, as far as decisions can be made with the rows that are there.
    fn draft(&mut self, item: &FeedItem, now: Timestamp) {
        self.outbox.clear();
        self.tally.clear();
        self.shelf.take_held_back();
        let mut outbox = std::mem::take(&mut self.outbox);
        let delivery = self.delivery(now, Pass::Deliver);
        delivery.publish(item, |key, frame| outbox.push((key, frame)));
        self.outbox = outbox;
    }

    /// Fills the outbox although rows are missing: whoever they may have mattered to is told to load afresh.
    fn draft_without(&mut self, item: &FeedItem, now: Timestamp) {
        self.outbox.clear();
        self.tally.clear();
        let mut outbox = std::mem::take(&mut self.outbox);
        let resyncs = self.lookups.resyncs();
        let before = resyncs.borrow().count();
        let delivery = self.delivery(now, Pass::Resync(resyncs));
        delivery.publish(item, |key, frame| outbox.push((key, frame)));
        if resyncs.borrow().count() > before {
            Metrics::count(&self.metrics.gaps, "related");
        }
        self.shelf.take_wanted();
        self.outbox = outbox;
    }

    /// Tells those again to load afresh who may have missed more since they were told.
    fn remind(&mut self) {
        for reminder in self.lookups.take_reminders() {
            let Reminder {
                subscriber,
                text,
                collection,
            } = reminder;
            let key = self.registry.find(&subscriber.0);
            let key = key.filter(|&key| self.registry.has_subscribed(key, &text));
            let frame = Frame::event(None, &text, &encode_gap(&collection));
            self.outbox.extend(key.zip(frame));
        }
        Metrics::count(&self.metrics.gaps, "related");
        let mut overrun = Vec::new();
        self.flush(&mut overrun);
        self.let_go(overrun);
    }

    /// Lets the rest of a batch want what it will want, so that it is fetched together.
    fn look_ahead(&mut self, rest: &[FeedItem], now: Timestamp) {
        if rest.is_empty() || !self.lookups.looks_ahead() {
            return;
        }
        let delivery = self.delivery(now, Pass::LookAhead);
        // Behind a newer catalog rules are other ones.
        let is_same = |item: &&FeedItem| !matches!(item, FeedItem::Catalog(_));
        for item in rest.iter().take_while(is_same) {
            delivery.publish(item, |_, _| ());
        }
    }

    /// Leaves it at what could be decided.
    fn leave_undecided(&mut self) {
        self.shelf.take_wanted();
        self.tally.rule_error("too_many_rounds");
        if self.lookups.complains() {
            tracing::warn!(
                rounds = ROUNDS_MAX,
                "rules want more rows of other collections than are looked up for one change, so they deny"
            );
        }
    }

    pub(super) fn delivery<'a>(&'a self, now: Timestamp, pass: Pass<'a>) -> Delivery<'a> {
        Delivery {
            registry: &self.registry,
            access: &self.access,
            options: &self.options,
            tally: &self.tally,
            now,
            shelf: &self.shelf,
            pass,
            cohort: self.cohort.as_ref(),
            filters: &self.filters,
            enriching: self.enrichers.enriching(),
            templates: &self.templates,
        }
    }

    /// Hands out what is in the outbox.
    pub(super) fn flush(&mut self, overrun: &mut Vec<SubscriberKey>) {
        self.tally.commit(&self.metrics);
        let mut deliveries = 0;
        for (key, frame) in self.outbox.drain(..) {
            let Some(subscriber) = self.registry.get(key) else {
                continue;
            };
            match subscriber.mailbox.put(frame) {
                Ok(errand) => {
                    deliveries += 1;
                    if let Some(errand) = errand {
                        self.rounds.add(errand);
                    }
                }
                Err(Refused::Full(_)) => overrun.push(key),
                // Its stream has ended; the departure is on its way.
                Err(Refused::Closed) => {}
            }
        }
        self.metrics.deliveries.inc_by(deliveries);
    }

    /// Ends the streams of those who read too slowly. They may connect again; nobody waits for them.
    pub(super) fn let_go(&mut self, overrun: Vec<SubscriberKey>) {
        for key in overrun {
            let Some(subscriber) = self.registry.get(key) else {
                continue;
            };
            tracing::info!(
                subscriber.id = %subscriber.id,
                waiting_frames = self.options.mailbox_frames,
                "subscriber reads too slowly and is let go"
            );
            self.end_stream(key, DisconnectReason::Slow);
        }
    }

    /// Whether no catalog has been loaded yet.
    pub(super) fn catalog_is_unknown(&self) -> bool {
        self.catalog.borrow().is_none()
    }

    fn count(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics
            .subscribers
            .set(gauge(self.registry.subscribers()));
        self.metrics
            .subscriptions
            .set(gauge(self.registry.subscriptions()));
    }
}

#[cfg(test)]
mod tests;
