//! A visitor who never tires: small random changes, so that there is something to see.

use std::error::Error;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::db::Database;

const CHANGE: &str = include_str!("../../../sql/cli/demo_change.sql");

/// Changes the demo's tables a few times per second.
pub(super) struct Changes {
    database: Database,
    per_second: f64,
}

impl Changes {
    pub(super) fn new(database: Database, per_second: f64) -> Self {
        Self {
            database,
            per_second,
        }
    }

    /// Changes rows until told to stop. Safe to drop half-way.
    pub(super) async fn run(self, stop: CancellationToken) {
        if self.per_second <= 0.0 {
            return;
        }
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.per_second));
        // A slow database gets fewer changes, not a burst afterwards.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.change().await {
                // A visitor may have dropped a table or restarted the server: the next one may work.
                tracing::debug!(error = &*error, "the demo could not make a change");
            }
        }
    }

    async fn change(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let client = self.database.pool().get().await?;
        client.batch_execute(CHANGE).await?;
        Ok(())
    }
}
