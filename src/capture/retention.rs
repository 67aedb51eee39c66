//! Retention: trims the log, and looks after what Postgres does not do by itself.

use std::error::Error;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::CaptureOptions;
use super::room::Room;
use crate::db::{Database, PoolError, PooledClient};
use crate::telemetry::{Metrics, RecordingReporter};

const ROTATE: &str = include_str!("../../sql/capture/rotate.sql");
const TEND: &str = include_str!("../../sql/capture/tend.sql");
const LOCK_TIMEOUT: &str = "set local lock_timeout = '300ms'";
const SET_SETTING: &str = include_str!("../../sql/capture/set_setting.sql");

/// The task that keeps the log within its limits. Every node runs it; they do not get in each
/// other's way.
pub struct Retention {
    database: Database,
    options: CaptureOptions,
    metrics: Metrics,
    room: Room,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RetentionError {
    #[error("no connection")]
    Pool(#[from] PoolError),
    #[error("could not {doing}")]
    Query {
        doing: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("the database took too long")]
    Deadline,
}

impl Retention {
    /// Builds the task; nothing happens before [`run`](Self::run).
    pub fn new(
        database: Database,
        options: CaptureOptions,
        recording: RecordingReporter,
        metrics: Metrics,
    ) -> Self {
        Self {
            database,
            options,
            room: Room::new(recording, metrics.clone()),
            metrics,
        }
    }

    /// Looks at the log now and then until told to stop. A failure is logged and tried again at
    /// the next turn.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut turns = interval(self.options.retention_interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(Room::LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.options.retention_interval.max(Room::LOOK_DEADLINE);
            let result = tokio::select! {
                () = stop.cancelled() => return,
                _ = turns.tick() => timeout(deadline, self.turn()).await,
                _ = looks.tick() => {
                    if !self.room.is_look_due(self.metrics.changes.get()) {
                        continue;
                    }
                    timeout(Room::LOOK_DEADLINE, self.look()).await
                }
            };
            if let Err(error) = result.unwrap_or(Err(RetentionError::Deadline)) {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "could not trim the change log; will try again"
                );
            }
        }
    }

    async fn turn(&mut self) -> Result<(), RetentionError> {
        let mut client = self.database.pool().get().await?;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let bytes = number(self.options.log_bytes_max);
        for (name, value) in [
            ("log_bytes_max", bytes),
            ("truncate_rows_max", number(self.options.truncate_rows_max)),
            ("log_reserve", number(self.options.log_reserve)),
        ] {
            client
                .execute(SET_SETTING, &[&name, &value])
                .await
                .map_err(failed("write a setting"))?;
        }
        // First: trimming takes a little room, too.
        self.room.look(&client).await?;
        let age = self.options.retention_age.as_secs_f64();
        let changes = number(self.options.retention_changes);
        let outcome = rotate(&client, age, changes, bytes)
            .await
            .map_err(failed("trim the log"))?;
        match &*outcome {
            "rotated" => tracing::info!("the oldest part of the change log was emptied"),
            _ => tracing::debug!(outcome, "looked at the change log"),
        }
        let tended = tend(&mut client).await;
        match tended {
            // Somebody is changing a table; there will be another turn.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(()),
            tended => tended.map_err(failed("tend to the attached tables")),
        }
    }

    async fn look(&mut self) -> Result<(), RetentionError> {
        let client = self.database.pool().get().await?;
        self.room.look(&client).await
    }
}

pub(super) fn failed(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> RetentionError {
    move |source| RetentionError::Query { doing, source }
}

/// Empties the oldest part of the log if it is time; says what came of it.
async fn rotate(
    client: &PooledClient,
    age: f64,
    changes: i64,
    bytes: i64,
) -> Result<String, tokio_postgres::Error> {
    let row = client.query_one(ROTATE, &[&age, &changes, &bytes]).await?;
    row.try_get("outcome")
}

/// Looks after the tables, without ever waiting so long for a lock that whoever holds it could find itself in
/// a deadlock with us (`deadlock_timeout` is a second, unless somebody has changed it).
async fn tend(client: &mut PooledClient) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_TIMEOUT).await?;
    transaction.execute(TEND, &[]).await?;
    transaction.commit().await
}
