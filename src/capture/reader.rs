//! One read of the change log: rows in commit order become feed items.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_postgres::RowStream;

use super::assemble::{Assembler, Noted, Row};
use super::cascade::Cascade;
use super::cursor::{Cursor, Place};
use super::error::SessionError;
use super::log_row::LogRow;
use super::nested::Nested;
use super::read::{Read, ReadOutcome, Stretch};
use super::told::Told;
use crate::catalog::{self, Catalog, Collection, CollectionKey};
use crate::db::Database;
use crate::event::{
    Action, ChangeEvent, FeedItem, Gap, GapReason, KeysChanged, Message, Position, RecordId,
    Snapshot, Transaction, Xid, parse_image, record_id,
};
use crate::telemetry::Metrics;

/// How often it is said how far reading has come when there are no changes to say it.
const SAYING_INTERVAL: Duration = Duration::from_secs(5);

/// Reads the log and hands the changes on; lives as long as the process.
pub(super) struct Reader {
    database: Database,
    feed: mpsc::Sender<FeedItem>,
    metrics: Metrics,
    catalog: Arc<Catalog>,
    /// The catalog or the policy has changed since it was loaded.
    catalog_stale: bool,
    /// Fields whose values do not look like their kind although the catalog is new: a type we do not
    /// know well, or rows from before an alteration. Loading the catalog again would not help.
    tolerated: HashSet<(CollectionKey, usize)>,
    /// The last change or message, held back until it is known whether it ends its transaction, or the read.
    held: Option<Told>,
    /// When it was last said how far reading has come.
    said: Option<Instant>,
    /// Postgres has crashed, and nobody can say how far reading has come before a whole read has ended.
    lost_place: bool,
}

impl Reader {
    pub(super) fn new(database: Database, feed: mpsc::Sender<FeedItem>, metrics: Metrics) -> Self {
        Self {
            database,
            feed,
            metrics,
            catalog: Arc::default(),
            catalog_stale: true,
            tolerated: HashSet::new(),
            held: None,
            said: None,
            lost_place: false,
        }
    }

    /// Says of no change how far reading has come, until the end of a read can.
    pub(super) fn lose_place(&mut self) {
        self.lost_place = true;
        self.said = None;
    }

    /// Loads the catalog and hands it on.
    pub(super) async fn load_catalog(&mut self) -> Result<(), SessionError> {
        let loaded = Arc::new(catalog::load(&self.database).await?);
        let before = std::mem::replace(&mut self.catalog, loaded);
        self.catalog_stale = false;
        self.tolerated.clear();
        self.compare_secrets(&before).await?;
        let sent = self.feed.send(FeedItem::Catalog(Arc::clone(&self.catalog)));
        sent.await.map_err(|_| SessionError::FeedClosed)
    }

    /// Says that continuity is lost everywhere.
    pub(super) async fn report_gap(&mut self, reason: GapReason) -> Result<(), SessionError> {
        tracing::warn!(
            reason = reason.as_str(),
            "continuity lost: subscribers are told to load afresh"
        );
        let collections: Vec<_> = self.catalog.iter().map(Arc::clone).collect();
        for collection in collections {
            self.send_gap(collection, reason, None).await?;
        }
        Ok(())
    }

    /// Takes in all rows of a read and advances the cursor.
    ///
    /// If it fails half-way the cursor knows exactly what has been handed on.
    pub(super) async fn read(
        &mut self,
        rows: Pin<Box<RowStream>>,
        cursor: &mut Cursor,
        epoch: &Arc<str>,
        deadline: Duration,
    ) -> Result<ReadOutcome, SessionError> {
        self.metrics.log_reads.inc();
        let before = Position::new(Arc::clone(epoch), Arc::new(cursor.head().clone()));
        self.read_from(rows, cursor, epoch, deadline, before).await
    }

    /// As [`read`](Self::read), for somebody who has seen what this position contains, the cursor's
    /// head among it. Says at the end how far it came, whatever there was.
    pub(super) async fn read_again(
        &mut self,
        rows: Pin<Box<RowStream>>,
        cursor: &mut Cursor,
        epoch: &Arc<str>,
        deadline: Duration,
        seen: Position,
    ) -> Result<(), SessionError> {
        self.read_from(rows, cursor, epoch, deadline, seen).await?;
        let head = Arc::new(cursor.head().clone());
        self.say(Position::new(Arc::clone(epoch), head)).await
    }

    async fn read_from(
        &mut self,
        rows: Pin<Box<RowStream>>,
        cursor: &mut Cursor,
        epoch: &Arc<str>,
        deadline: Duration,
        before: Position,
    ) -> Result<ReadOutcome, SessionError> {
        let mut read = Read {
            outcome: ReadOutcome::default(),
            before,
            passed: None,
            head: None,
            transaction: None,
            stretch: None,
            ended: None,
            nested: Nested::default(),
            cascade: Cascade::default(),
            reloaded: false,
        };
        let result = self.take_all(rows, &mut read, cursor, deadline).await;
        if result.is_err() {
            // Complete as far as it goes; only whether it was the last is not known.
            self.flush().await?;
            result?;
        }
        let head = read.head.ok_or(SessionError::Closed)?;
        let position = Position::new(Arc::clone(epoch), Arc::clone(&head));
        if read.outcome.rows > 0 && self.held.is_none() {
            // What was read became no event that could tell how far reading has come.
            self.said = None;
        }
        if self.catalog_stale {
            // Nobody shall believe that all was told before the newest catalog is.
            self.flush().await?;
            self.load_catalog().await?;
            self.said = None;
        }
        self.end_read(position).await?;
        cursor.advance(Arc::unwrap_or_clone(head));
        Ok(read.outcome)
    }

    async fn take_all(
        &mut self,
        mut rows: Pin<Box<RowStream>>,
        read: &mut Read,
        cursor: &mut Cursor,
        deadline: Duration,
    ) -> Result<(), SessionError> {
        loop {
            let row = timeout(deadline, rows.try_next()).await;
            let row = row.map_err(|_| SessionError::Silent {
                doing: "go on with a read of the log",
                deadline,
            })?;
            match row.and_then(|row| row.map(|row| LogRow::from_sql(&row)).transpose()) {
                Ok(Some(row)) => self.take(row, read, cursor).await?,
                Ok(None) => {
                    self.end_transaction(read, cursor).await?;
                    self.seal(read);
                    return Ok(());
                }
                Err(source) => {
                    return Err(SessionError::Query {
                        doing: "read the change log",
                        source,
                    });
                }
            }
        }
    }

    async fn take(
        &mut self,
        row: LogRow,
        read: &mut Read,
        cursor: &mut Cursor,
    ) -> Result<(), SessionError> {
        if row.op == b'S' {
            read.head = Some(Arc::new(row.new.unwrap_or_default().parse()?));
            return Ok(());
        }
        if read.transaction.is_some_and(|(xid, ..)| xid != row.xid) {
            self.end_transaction(read, cursor).await?;
            self.seal(read);
        }
        let first = read.first_place(&row);
        let seen = read
            .current()
            .is_some_and(|current| read.before.contains(current));
        if seen || cursor.has_delivered(row.xid, first, row.place) {
            return Ok(());
        }
        read.outcome.rows += 1;
        if row.op == b'M' {
            return self.take_message(&row, first, read, cursor).await;
        }
        if row.collection == CollectionKey(0) {
            self.end_transaction(read, cursor).await?;
            self.obey(&row, read, cursor).await?;
            cursor.deliver(row.xid, first, row.place);
            return Ok(());
        }
        self.take_change(row, first, read, cursor).await
    }

    /// A control row: something every reader must know at this place.
    async fn obey(
        &mut self,
        row: &LogRow,
        read: &mut Read,
        cursor: &Cursor,
    ) -> Result<(), SessionError> {
        match row.op {
            b'C' => self.catalog_stale = true,
            b'K' => {
                let id = row.new.as_deref().filter(|id| !id.is_empty());
                let id = id.map(Into::into);
                self.keys_changed(KeysChanged::Superusers { id }).await?;
            }
            b'R' if misses_something(row.new.as_deref().unwrap_or_default(), cursor) => {
                read.outcome.gap = true;
                self.report_gap(GapReason::Retention).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A message stands where it was sent: behind everything before it, and where a trigger sent it, among
    /// the changes whose order is still looked at.
    async fn take_message(
        &mut self,
        row: &LogRow,
        first: Place,
        read: &mut Read,
        cursor: &mut Cursor,
    ) -> Result<(), SessionError> {
        if row.nested {
            self.end_stretch(read, cursor).await?;
            let belongs = read.nested.goes_on(true, row.place.lsn);
            if read.cascade.is_holding() || read.nested.is_holding() && !belongs {
                self.settle(read, cursor).await?;
            }
        } else {
            self.end_transaction(read, cursor).await?;
        }
        if self.catalog_stale {
            // Who may hear it is for the policy of its place to say.
            self.load_catalog().await?;
        }
        let envelope = row.old.as_deref().unwrap_or_default();
        let data = row.new.as_deref().unwrap_or_default();
        match Message::read(envelope, data, &self.catalog) {
            Ok(message) => {
                let mut told = Told::Message(message);
                let passed = (!self.lost_place).then(|| read.passed().clone());
                told.place(read.current(), passed);
                let held = read.nested.is_holding() || row.nested;
                self.hand_on(vec![told], held, read).await?;
            }
            Err(error) => {
                Metrics::count(&self.metrics.gaps, "message");
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a message in the log cannot be understood and is told to nobody"
                );
            }
        }
        read.ended = Some((row.xid, first, row.place));
        self.note_delivery(read, cursor);
        Ok(())
    }

    async fn take_change(
        &mut self,
        row: LogRow,
        first: Place,
        read: &mut Read,
        cursor: &mut Cursor,
    ) -> Result<(), SessionError> {
        let same_stretch = read.stretch.as_ref().is_some_and(|stretch| {
            stretch.xid == row.xid && stretch.collection.key == row.collection
        });
        if !same_stretch {
            self.end_stretch(read, cursor).await?;
            let Some(collection) = self.collection(row.collection, read).await? else {
                self.end_transaction(read, cursor).await?;
                // Detached since; nobody is interested any more.
                cursor.deliver(row.xid, first, row.place);
                return Ok(());
            };
            read.stretch = Some(Stretch {
                xid: row.xid,
                first,
                last: None,
                collection,
                assembler: Assembler::default(),
            });
        }
        self.begin_row(&row, read, cursor).await?;
        let (place, nested, op, xid) = (row.place, row.nested, row.op, row.xid);
        let mut events = Vec::new();
        let gap = match (op, row.noted()) {
            (b'K', Some(Noted::Deleted(image))) => {
                self.record_keys_changed(image, xid, read).await?;
                None
            }
            (_, Some(noted)) => self.understand(noted, read, &mut events).await?.err(),
            (b'T', None) => Some(GapReason::Truncated),
            (_, None) => Some(withheld(read)),
        };
        let stretch = read.stretch.as_mut().expect("still the same stretch");
        stretch.last = Some(place);
        self.pass(events, nested, read).await?;
        self.note_delivery(read, cursor);
        if let Some(reason) = gap {
            self.settle(read, cursor).await?;
            let stretch = read.stretch.as_ref().expect("still the same stretch");
            let collection = Arc::clone(&stretch.collection);
            self.send_gap(collection, reason, read.current()).await?;
        }
        Ok(())
    }

    /// Ends what a row shows to have ended: the statement before it, and with it perhaps the statement
    /// whose triggers' changes were held back.
    async fn begin_row(
        &mut self,
        row: &LogRow,
        read: &mut Read,
        cursor: &mut Cursor,
    ) -> Result<(), SessionError> {
        let stretch = read.stretch.as_mut().expect("a row belongs to a stretch");
        let mut events = Vec::new();
        if stretch.last.is_some_and(|last| last.lsn != row.place.lsn) {
            stretch
                .assembler
                .end_statement(&stretch.collection, &mut events);
        }
        self.pass(events, false, read).await?;
        if row.nested && read.cascade.is_holding() {
            self.settle(read, cursor).await?;
        }
        if !read.nested.is_holding() {
            return Ok(());
        }
        if !read.nested.goes_on(row.nested, row.place.lsn) {
            self.settle(read, cursor).await?;
        } else if !row.nested {
            read.nested.reach_outer(row.place.lsn);
        }
        Ok(())
    }

    /// Tells that a record's tokens are void; if nobody can say of which record, all of them.
    async fn record_keys_changed(
        &mut self,
        image: Box<str>,
        xid: Xid,
        read: &Read,
    ) -> Result<(), SessionError> {
        let stretch = read.stretch.as_ref().expect("a row belongs to a stretch");
        let collection = &*stretch.collection;
        let collection_id = Arc::clone(&collection.id);
        let changed = match read_id(image, collection) {
            Some(id) => KeysChanged::Record {
                collection_id,
                id,
                transaction: xid.0,
            },
            None => KeysChanged::Collection {
                id: collection_id,
                secret_version: None,
            },
        };
        self.keys_changed(changed).await
    }

    async fn keys_changed(&mut self, changed: KeysChanged) -> Result<(), SessionError> {
        // Waits when the hub is behind: the log keeps everything meanwhile.
        let sent = self.feed.send(FeedItem::KeysChanged(changed)).await;
        sent.map_err(|_| SessionError::FeedClosed)
    }

    /// Tells whose tokens are void because an auth collection is gone or has another secret.
    async fn compare_secrets(&mut self, before: &Catalog) -> Result<(), SessionError> {
        let version = |collection: &Arc<Collection>| {
            let auth = collection.auth.as_ref()?;
            auth.secret_version.clone()
        };
        for old in before.iter().filter(|old| version(old).is_some()) {
            let secret_version = self.catalog.get(old.key).and_then(version);
            if secret_version != version(old) {
                let id = Arc::clone(&old.id);
                self.keys_changed(KeysChanged::Collection { id, secret_version })
                    .await?;
            }
        }
        Ok(())
    }

    /// Hands changes on, or holds them back while it is not known what made their triggers fire.
    async fn pass(
        &mut self,
        mut events: Vec<ChangeEvent>,
        nested: bool,
        read: &mut Read,
    ) -> Result<(), SessionError> {
        for event in &mut events {
            event.transaction = read.current();
            event.position = (!self.lost_place).then(|| read.passed().clone());
        }
        let Some(first) = events.first() else {
            return Ok(());
        };
        let key = first.collection.key;
        if nested || read.nested.is_holding() {
            let events = events.into_iter().map(Told::Change).collect();
            return self.hand_on(events, true, read).await;
        }
        let deletes = events.iter().all(|event| event.action == Action::Delete);
        if deletes && read.cascade.takes(key, &self.catalog) {
            if !read.cascade.hold(key, events) {
                let events = read.cascade.release();
                self.emit(events.into_iter().map(Told::Change)).await?;
            }
            return Ok(());
        }
        let before = read.cascade.release();
        self.emit(before.into_iter().map(Told::Change)).await?;
        self.emit(events.into_iter().map(Told::Change)).await
    }

    /// Hands on what is placed already, or holds it back with the changes of triggers.
    async fn hand_on(
        &mut self,
        events: Vec<Told>,
        held: bool,
        read: &mut Read,
    ) -> Result<(), SessionError> {
        if !held {
            return self.emit(events).await;
        }
        if read.nested.hold(events) {
            return Ok(());
        }
        tracing::debug!("too many changes by triggers in one statement to look at their order");
        let events = read.nested.release();
        self.emit(events).await
    }

    /// Hands on what was held back.
    async fn settle(&mut self, read: &mut Read, cursor: &mut Cursor) -> Result<(), SessionError> {
        let cascade = read.cascade.release();
        self.emit(cascade.into_iter().map(Told::Change)).await?;
        let nested = read.nested.release();
        self.emit(nested).await?;
        self.note_delivery(read, cursor);
        Ok(())
    }

    /// Tells the cursor how far the changes have been handed on, if nothing is held back.
    fn note_delivery(&self, read: &Read, cursor: &mut Cursor) {
        if read.nested.is_holding() || read.cascade.is_holding() {
            return;
        }
        if let Some((xid, first, last)) = read.ended {
            cursor.deliver(xid, first, last);
        }
        if let Some(stretch) = &read.stretch
            && let Some(last) = stretch.last
            && !stretch.assembler.is_holding()
        {
            cursor.deliver(stretch.xid, stretch.first, last);
        }
    }

    /// Reads the images of a row, under a newer catalog if the table was changed meanwhile.
    async fn understand(
        &mut self,
        noted: Noted,
        read: &mut Read,
        events: &mut Vec<ChangeEvent>,
    ) -> Result<Result<(), GapReason>, SessionError> {
        let stretch = read.stretch.as_mut().expect("a row belongs to a stretch");
        // A row that cannot be read at all may be readable under a newer catalog: its key was renamed.
        let spare = (!read.reloaded).then(|| noted.clone());
        let mut row = noted.read(&stretch.collection);
        let key = stretch.collection.key;
        let is_news = |row: &Row| {
            let odd = |&field: &usize| !self.tolerated.contains(&(key, field));
            (!row.shape_matches && !read.reloaded) || row.odd_fields.iter().any(odd)
        };
        if row.as_ref().map_or(!read.reloaded, is_news) {
            read.reloaded = true;
            self.load_catalog().await?;
            if let Some(newer) = self.catalog.get(key) {
                stretch.collection = Arc::clone(newer);
                let again = row.map(Row::into_noted).ok().or(spare);
                row = match again {
                    Some(noted) => noted.read(&stretch.collection),
                    None => return Ok(Err(GapReason::Undecodable)),
                };
            }
            if let Ok(row) = &row {
                let odd = row.odd_fields.iter().map(|&field| (key, field));
                self.tolerated.extend(odd);
            }
        }
        if let Ok(understood) = &row
            && !understood.shape_matches
            && stretch.collection.fields.iter().any(|field| field.hidden)
        {
            // Written before the table was changed. Under the names of then, what is hidden might
            // stand where something else stands now.
            tracing::info!(
                collection.name = %stretch.collection.name,
                "a change was written before its table was altered, and has hidden columns; subscribers are \
                 told to load afresh"
            );
            return Ok(Err(GapReason::Undecodable));
        }
        match row {
            Ok(row) => {
                stretch.assembler.take(row, &stretch.collection, events);
                Ok(Ok(()))
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    collection.name = %stretch.collection.name,
                    "a row image cannot be understood; subscribers are told to load afresh"
                );
                Ok(Err(GapReason::Undecodable))
            }
        }
    }

    /// The collection behind a key: as of a catalog at least as new as the row.
    async fn collection(
        &mut self,
        key: CollectionKey,
        read: &mut Read,
    ) -> Result<Option<Arc<Collection>>, SessionError> {
        let unknown = self.catalog.get(key).is_none() && !read.reloaded;
        if self.catalog_stale || unknown {
            read.reloaded |= unknown;
            self.load_catalog().await?;
        }
        Ok(self.catalog.get(key).map(Arc::clone))
    }

    async fn end_stretch(
        &mut self,
        read: &mut Read,
        cursor: &mut Cursor,
    ) -> Result<(), SessionError> {
        let Some(mut stretch) = read.stretch.take() else {
            return Ok(());
        };
        let mut events = Vec::new();
        stretch
            .assembler
            .end_stretch(&stretch.collection, &mut events);
        self.pass(events, false, read).await?;
        if let Some(last) = stretch.last {
            read.ended = Some((stretch.xid, stretch.first, last));
        }
        self.note_delivery(read, cursor);
        Ok(())
    }

    /// The transaction has ended, or something comes that nothing may be moved across.
    async fn end_transaction(
        &mut self,
        read: &mut Read,
        cursor: &mut Cursor,
    ) -> Result<(), SessionError> {
        self.end_stretch(read, cursor).await?;
        self.settle(read, cursor).await?;
        read.ended = None;
        Ok(())
    }

    async fn emit(&mut self, events: impl IntoIterator<Item = Told>) -> Result<(), SessionError> {
        for event in events {
            match &event {
                Told::Change(_) => self.metrics.changes.inc(),
                Told::Message(_) => self.metrics.messages.inc(),
            };
            let before = self.held.replace(event);
            self.send(before).await?;
        }
        Ok(())
    }

    /// A transaction has ended: the last that was told of it says so.
    fn seal(&mut self, read: &mut Read) {
        let (Some(transaction), Some(head)) = (read.current(), &read.head) else {
            return;
        };
        let passed = read.before.and_until(head, transaction);
        if let Some(held) = &mut self.held
            && held.transaction() == Some(transaction)
        {
            held.reach((!self.lost_place).then(|| passed.clone()));
            held.end();
        }
        read.passed = Some(passed);
    }

    /// The read has ended, and says how far it has come.
    async fn end_read(&mut self, position: Position) -> Result<(), SessionError> {
        self.lost_place = false;
        if let Some(held) = &mut self.held {
            held.reach(Some(position));
            self.said = Some(Instant::now());
            return self.flush().await;
        }
        let said = self
            .said
            .is_some_and(|said| said.elapsed() < SAYING_INTERVAL);
        if said {
            return Ok(());
        }
        self.say(position).await
    }

    /// Says how far reading has come.
    pub(super) async fn say(&mut self, position: Position) -> Result<(), SessionError> {
        self.said = Some(Instant::now());
        let sent = self.feed.send(FeedItem::Passed(position)).await;
        sent.map_err(|_| SessionError::FeedClosed)
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        let last = self.held.take();
        self.send(last).await
    }

    async fn send_gap(
        &mut self,
        collection: Arc<Collection>,
        reason: GapReason,
        transaction: Option<Transaction>,
    ) -> Result<(), SessionError> {
        self.flush().await?;
        Metrics::count(&self.metrics.gaps, reason.as_str());
        let gap = FeedItem::Gap(Gap {
            collection,
            reason,
            transaction,
        });
        // Waits when the hub is behind: the log keeps everything meanwhile.
        let sent = self.feed.send(gap).await;
        sent.map_err(|_| SessionError::FeedClosed)
    }

    async fn send(&mut self, told: Option<Told>) -> Result<(), SessionError> {
        let Some(told) = told else { return Ok(()) };
        // Waits when the hub is behind: the log keeps everything meanwhile.
        let sent = self.feed.send(told.into_item()).await;
        sent.map_err(|_| SessionError::FeedClosed)
    }
}

fn read_id(image: Box<str>, collection: &Collection) -> Option<RecordId> {
    let parsed = parse_image(image, collection).ok()?;
    record_id(&parsed.image, collection).ok()
}

fn withheld(read: &Read) -> GapReason {
    let stretch = read.stretch.as_ref().expect("a row belongs to a stretch");
    let collection = &stretch.collection;
    tracing::error!(
        collection.name = %collection.name,
        table = %collection.table,
        "an image was withheld, because a column that is never captured has another name by now, \
         or was dropped meanwhile; run rowcast.attach again with the names as they are"
    );
    GapReason::Withheld
}

/// Whether a slot that was emptied held a transaction that was not delivered. `note` is its newest
/// transaction and the snapshot at that time: whoever was in progress then had written nothing to it.
fn misses_something(note: &str, cursor: &Cursor) -> bool {
    let parsed = note.split_once(' ').and_then(|(newest, then)| {
        let newest: Xid = newest.parse().ok()?;
        let then: Snapshot = then.parse().ok()?;
        Some((newest, then))
    });
    let Some((newest, then)) = parsed else {
        return true;
    };
    let head = cursor.head();
    let undelivered = |xid: &Xid| *xid <= newest && then.contains(*xid) && !cursor.knows(*xid);
    (newest >= head.xmax() && undelivered(&newest)) || head.in_progress().iter().any(undelivered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_slot_is_a_gap_only_if_something_in_it_was_not_delivered() {
        for (head, note, missed) in [
            ("100:100:", "0 100:101:", false),
            ("100:100:", "99 100:101:", false),
            ("100:100:", "100 101:101:", true),
            // A long transaction, in progress at both times, has written nothing to the slot.
            ("50:100:50", "99 50:101:50", false),
            // It has ended since, and may have.
            ("50:100:50", "99 100:101:", true),
            ("50:100:50", "49 100:101:", false),
            ("100:100:", "nonsense", true),
        ] {
            let cursor = Cursor::new(head.parse().expect("a snapshot"));
            assert_eq!(misses_something(note, &cursor), missed, "{head} {note}");
        }
    }
}
