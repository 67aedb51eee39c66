//! Room below the log: when it runs short recording stops, before a writer fails for want of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::retention::{RetentionError, failed};
use super::session::OPEN_LOG;
use crate::db::PooledClient;
use crate::telemetry::{Metrics, RecordingReporter};

const LOOK: &str = include_str!("../../sql/capture/look_at_log.sql");
const NOTE_DURABLE: &str = include_str!("../../sql/capture/note_durable.sql");

/// How much room there is, as far as this node has seen.
pub(super) struct Room {
    recording: RecordingReporter,
    metrics: Metrics,
    state: State,
    /// The log's size at the last look that asked for room.
    bytes: i64,
    /// When room was asked for last, however little the log had grown.
    asked_at: Option<Instant>,
    /// Changes that had been read at the last look.
    changes: u64,
    /// And when room was asked for last.
    asked_changes: u64,
    /// Why nobody can tell how much room there is, as last said.
    unknown: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Enough,
    /// Nothing is recorded.
    Closed,
}

impl Room {
    /// How often it is looked while changes come in, or while there is trouble.
    pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(1);
    /// How long a look may take: it writes some megabytes, and may wait for a lock or two.
    pub(super) const LOOK_DEADLINE: Duration = Duration::from_secs(30);
    /// How long the log may grow slowly before room is asked for all the same.
    const ASK_INTERVAL: Duration = Duration::from_secs(10);
    pub(super) fn new(recording: RecordingReporter, metrics: Metrics) -> Self {
        Self {
            recording,
            metrics,
            state: State::Enough,
            bytes: 0,
            asked_at: None,
            changes: 0,
            asked_changes: 0,
            unknown: "".into(),
        }
    }

    /// Whether there is reason to look: `changes` have been read so far. A database in which nothing
    /// happens is left alone.
    pub(super) fn is_look_due(&mut self, changes: u64) -> bool {
        let news = std::mem::replace(&mut self.changes, changes) != changes;
        news || self.must_ask()
    }

    /// Whether room is asked for however little the log has grown.
    fn must_ask(&self) -> bool {
        let slow =
            |at: Instant| self.changes != self.asked_changes && at.elapsed() >= Self::ASK_INTERVAL;
        self.state != State::Enough || self.asked_at.is_none_or(slow)
    }

    /// Looks, and does what has to be done.
    pub(super) async fn look(&mut self, client: &PooledClient) -> Result<(), RetentionError> {
        let always = self.must_ask();
        let row = client
            .query_one(LOOK, &[&self.bytes, &always])
            .await
            .map_err(failed("look at the log"))?;
        let room: String = row.try_get("room").map_err(failed("look at the log"))?;
        let bytes: i64 = row.try_get("bytes").map_err(failed("look at the log"))?;
        match &*room {
            "unasked" if !always => return Ok(()),
            "enough" | "unasked" => self.enough(),
            "short" => self.closed(bytes),
            "closed" => self.open(client).await?,
            unknown => self.unknown(unknown),
        }
        self.bytes = bytes;
        if always {
            self.asked_at = Some(Instant::now());
            self.asked_changes = self.changes;
            // Positions from before a crash of Postgres are believed up to here.
            client
                .execute(NOTE_DURABLE, &[])
                .await
                .map_err(failed("note what is on disk"))?;
        }
        Ok(())
    }

    fn enough(&mut self) {
        if self.state != State::Enough {
            tracing::info!("there is room below the change log again");
        }
        self.set(State::Enough);
    }

    /// Whether it is short nobody knows, so writers may fail some day; that is said once.
    fn unknown(&mut self, why: &str) {
        if *self.unknown != *why {
            self.unknown = why.into();
            tracing::warn!(
                why,
                "cannot tell how much room there is below the change log; writes to attached tables fail if it \
                 runs out. If it is a matter of rights: grant create on tablespace; to look no more: log_reserve = 0"
            );
        }
        self.set(State::Enough);
    }

    /// The log was closed in the moment in which that was found out.
    fn closed(&mut self, bytes: i64) {
        tracing::error!(
            log_bytes = bytes,
            "less than log_reserve is free below the change log: changes are not recorded until there is room, so \
             that no write fails for us; subscribers will then be told to load afresh. Make room on that disk"
        );
        self.set(State::Closed);
    }

    /// Starts recording again, if there is room.
    async fn open(&mut self, client: &PooledClient) -> Result<(), RetentionError> {
        let found: String = client
            .query_one(OPEN_LOG, &[])
            .await
            .and_then(|row| row.try_get("found"))
            .map_err(failed("open the log again"))?;
        match &*found {
            "full" => {
                if self.state != State::Closed {
                    tracing::error!(
                        "the change log is closed and there is no room below it: changes are not recorded"
                    );
                }
                self.set(State::Closed);
            }
            _ => {
                tracing::warn!(found, "changes are recorded again");
                self.set(State::Enough);
            }
        }
        Ok(())
    }

    fn set(&mut self, state: State) {
        self.state = state;
        let closed = state == State::Closed;
        self.metrics.log_closed.set(i64::from(closed));
        self.recording.set(!closed);
    }
}
