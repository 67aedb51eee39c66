//! Retention: trims the log, and looks after what Postgres does not do by itself.

use std::error::Error;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

use super::CaptureOptions;
use super::session::OPEN_LOG;
use crate::db::{Database, PoolError, PooledClient};

const ROTATE: &str = include_str!("../../sql/capture/rotate.sql");
const TEND: &str = include_str!("../../sql/capture/tend.sql");
const LOCK_TIMEOUT: &str = "set local lock_timeout = '300ms'";
const SET_SETTING: &str = include_str!("../../sql/capture/set_setting.sql");

/// The task that keeps the log within its limits. Every node runs it; they do not get in each
/// other's way.
pub struct Retention {
    database: Database,
    options: CaptureOptions,
}

#[derive(Debug, thiserror::Error)]
enum RetentionError {
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
    pub fn new(database: Database, options: CaptureOptions) -> Self {
        Self { database, options }
    }

    /// Looks at the log now and then until told to stop. A failure is logged and tried again at
    /// the next turn.
    pub async fn run(self, stop: CancellationToken) {
        let mut turns = interval(self.options.retention_interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = turns.tick() => {}
            }
            let deadline = self.options.retention_interval;
            let turn = timeout(deadline, self.turn());
            if let Err(error) = turn.await.unwrap_or(Err(RetentionError::Deadline)) {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "could not trim the change log; will try again"
                );
            }
        }
    }

    async fn turn(&self) -> Result<(), RetentionError> {
        let mut client = self.database.pool().get().await?;
        let failed = |doing| move |source| RetentionError::Query { doing, source };
        let bytes = i64::try_from(self.options.log_bytes_max).unwrap_or(i64::MAX);
        let rows = i64::try_from(self.options.truncate_rows_max).unwrap_or(i64::MAX);
        for (name, value) in [("log_bytes_max", bytes), ("truncate_rows_max", rows)] {
            client
                .execute(SET_SETTING, &[&name, &value])
                .await
                .map_err(failed("write a setting"))?;
        }
        let age = self.options.retention_age.as_secs_f64();
        let changes = i64::try_from(self.options.retention_changes).unwrap_or(i64::MAX);
        let outcome: String = client
            .query_one(ROTATE, &[&age, &changes, &bytes])
            .await
            .and_then(|row| row.try_get("outcome"))
            .map_err(failed("trim the log"))?;
        match &*outcome {
            "rotated" => tracing::info!("the oldest part of the change log was emptied"),
            "closed" => {
                tracing::error!(
                    "the change log was full and recording had stopped; starting it anew"
                );
                client
                    .execute(OPEN_LOG, &[])
                    .await
                    .map_err(failed("open the log again"))?;
            }
            _ => tracing::debug!(outcome, "looked at the change log"),
        }
        let tended = tend(&mut client).await;
        match tended {
            // Somebody is changing a table; there will be another turn.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(()),
            tended => tended.map_err(failed("tend to the attached tables")),
        }
    }
}

/// Looks after the tables, without ever waiting so long for a lock that whoever holds it could find itself in
/// a deadlock with us (`deadlock_timeout` is a second, unless somebody has changed it).
async fn tend(client: &mut PooledClient) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_TIMEOUT).await?;
    transaction.execute(TEND, &[]).await?;
    transaction.commit().await
}
