//! The past: what a position does not contain is read again from the log, for somebody who was away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio_postgres::Client;

use super::CaptureOptions;
use super::cursor::Cursor;
use super::error::SessionError;
use super::reader::Reader;
use super::session::{Moment, believed_below, read_changes, whole_from};
use crate::db::Database;
use crate::event::{FeedItem, Position, Snapshot, log_of};
use crate::telemetry::Metrics;

/// Reads of the past at a time, over all who ask; the others wait. Each takes a pooled connection.
const READS_MAX: usize = 2;
/// Items that wait for the one who asked; then reading waits.
const ITEMS: usize = 256;

/// How often a read is tried whose connection is lost before it has begun, and after which pauses: a database that
/// restarts is back by then.
const TRIES_MAX: usize = 20;
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Reads the log from any position on.
#[derive(Clone)]
pub struct Past {
    database: Database,
    answer_deadline: Duration,
    places: Arc<Semaphore>,
    /// Counts what the feed has counted already, so nobody looks at it.
    metrics: Metrics,
}

/// Why the past cannot be told.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("the position is of another epoch of the log")]
    OtherEpoch,
    #[error("the position is of a life of Postgres that nobody knows")]
    OtherLife,
    #[error("the log is closed: what it tells is not all that happened")]
    Closed,
    #[error("the position is from a future that this database does not have")]
    Future,
    #[error("no connection")]
    Pool(#[from] crate::db::PoolError),
    #[error(transparent)]
    Read(#[from] SessionError),
}

impl Past {
    /// Reads from this database; connects when first asked.
    pub fn new(database: Database, options: &CaptureOptions) -> Self {
        Self {
            database,
            answer_deadline: options.answer_deadline,
            places: Arc::new(Semaphore::new(READS_MAX)),
            metrics: Metrics::new(),
        }
    }

    /// Everything from a position until now, in the log's order. [`FeedItem::Passed`] is the last
    /// item and says how far; without it, the past could not be told, or not all of it. For a position from
    /// before a crash of Postgres it is the only one, and says what is still believed of it. Dropping
    /// the receiver ends the reading.
    pub fn since(&self, position: Position) -> mpsc::Receiver<FeedItem> {
        let (items, receiver) = mpsc::channel(ITEMS);
        let past = self.clone();
        tokio::spawn(async move {
            if let Err(error) = past.read(position, items).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "what somebody has missed cannot be read again"
                );
            }
        });
        receiver
    }

    /// What happened lately, about `changes` changes at most, as [`since`](Self::since) gives it. The first item is a
    /// [`FeedItem::Passed`], too: what had happened before.
    pub fn recent(&self, changes: u32) -> mpsc::Receiver<FeedItem> {
        let (items, receiver) = mpsc::channel(ITEMS);
        let past = self.clone();
        tokio::spawn(async move {
            if let Err(failure) = past.read_recent(changes, &items).await {
                tracing::debug!(
                    error = &failure.cause as &dyn std::error::Error,
                    "what happened before the start cannot be read; the log is read for each who comes back"
                );
            }
        });
        receiver
    }

    async fn read_recent(
        &self,
        changes: u32,
        items: &mpsc::Sender<FeedItem>,
    ) -> Result<(), Failure> {
        let client = self.database.pool().get().await?;
        let moment = Moment::of(&client, self.answer_deadline).await?;
        if moment.is_closed {
            return Err(ReplayError::Closed.into());
        }
        let xid = whole_from(&client, changes, self.answer_deadline).await?;
        let floor = Snapshot::new(xid.min(moment.snapshot.xmax()), Vec::new());
        let position = Position::new(moment.epoch.into(), Arc::new(floor));
        // Nobody may be waiting any more; then the next item finds that out, too.
        let _ = items.send(FeedItem::Passed(position.clone())).await;
        self.tell(&client, &position, items).await
    }

    async fn read(
        self,
        position: Position,
        items: mpsc::Sender<FeedItem>,
    ) -> Result<(), ReplayError> {
        let place = tokio::select! {
            place = self.places.acquire() => place.expect("places are never closed"),
            // Nobody waits any more.
            () = items.closed() => return Ok(()),
        };
        let mut tries = 1;
        while let Err(error) = self.try_read(&position, &items).await {
            // Whoever was told something of it must not be told that again.
            if tries >= TRIES_MAX || !error.may_pass {
                return Err(error.cause);
            }
            tries += 1;
            tokio::select! {
                () = sleep(RETRY_DELAY) => {}
                () = items.closed() => return Ok(()),
            }
        }
        drop(place);
        Ok(())
    }

    async fn try_read(
        &self,
        position: &Position,
        items: &mpsc::Sender<FeedItem>,
    ) -> Result<(), Failure> {
        let client = self.database.pool().get().await?;
        let moment = Moment::of(&client, self.answer_deadline).await?;
        if moment.is_closed {
            return Err(Failure::last(ReplayError::Closed));
        }
        if log_of(&moment.epoch) != position.log() {
            return Err(Failure::last(ReplayError::OtherEpoch));
        }
        if moment.epoch != position.epoch() {
            // Nobody has looked after the crash yet; soon somebody will have.
            if moment.epoch.ends_with('?') {
                return Err(ReplayError::OtherLife.into());
            }
            let life = position.life();
            let believed = believed_below(&client, life, self.answer_deadline).await?;
            let xid = believed.ok_or_else(|| Failure::last(ReplayError::OtherLife))?;
            let position = position.below(xid, moment.epoch.into());
            // Whoever asked goes on from there; it may be that memory reaches back so far.
            let _ = items.send(FeedItem::Passed(position)).await;
            return Ok(());
        }
        if position.floor().xmax() > moment.snapshot.xmax() {
            return Err(Failure::last(ReplayError::Future));
        }
        self.tell(&client, position, items).await
    }

    /// Reads what a position of the present epoch does not contain.
    async fn tell(
        &self,
        client: &Client,
        position: &Position,
        items: &mpsc::Sender<FeedItem>,
    ) -> Result<(), Failure> {
        let epoch: Arc<str> = position.epoch().into();
        let mut cursor = Cursor::new((**position.floor()).clone());
        let (database, metrics) = (self.database.clone(), self.metrics.clone());
        let mut reader = Reader::new(database, items.clone(), metrics);
        reader.load_catalog().await?;
        let rows = read_changes(client, cursor.head(), self.answer_deadline).await?;
        let (deadline, position) = (self.answer_deadline, position.clone());
        reader
            .read_again(rows, &mut cursor, &epoch, deadline, position)
            .await
            .map_err(|error| Failure::last(error.into()))
    }
}

/// A try that failed.
struct Failure {
    cause: ReplayError,
    /// Nothing was handed on, and another try may do better.
    may_pass: bool,
}

impl Failure {
    fn last(cause: ReplayError) -> Self {
        Self {
            cause,
            may_pass: false,
        }
    }
}

impl<E: Into<ReplayError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            cause: error.into(),
            may_pass: true,
        }
    }
}
