//! Who waits for streams to end, and tells the hooks.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Disconnect, Hooks};
use crate::telemetry::Metrics;

/// Streams whose hooks are told of their end at a time; the ends of further ones wait.
const AT_A_TIME: usize = 256;

/// Counts open streams and the tasks that tell of those that have ended.
#[derive(Debug, Clone)]
pub struct Farewells {
    tracker: TaskTracker,
    turns: Arc<Semaphore>,
}

/// One stream, or request for one, as long as it is held.
pub type StreamToken = TaskTrackerToken;

impl Default for Farewells {
    fn default() -> Self {
        Self {
            tracker: TaskTracker::new(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Farewells {
    /// Counts one more stream.
    pub fn open(&self) -> StreamToken {
        self.tracker.token()
    }

    /// Waits, when no further streams are opened, for all to end and all hooks to have been told.
    pub async fn all_told(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Waits to be told to stop, and then, up to `drain`, for all streams to end and for all hooks to
    /// have been told.
    pub async fn run(self, drain: Duration, stop: CancellationToken) {
        stop.cancelled().await;
        if timeout(drain, self.all_told()).await.is_err() {
            tracing::warn!(
                left = self.tracker.len(),
                "streams or their disconnect hooks took too long to end; leaving them"
            );
        }
    }
}

impl Hooks {
    /// Tells the disconnect hooks, in a task of its own: whoever ends a stream cannot wait.
    pub fn tell_end(&self, disconnect: Disconnect, metrics: &Metrics) {
        if self.disconnect.is_empty() {
            return;
        }
        // Without a runtime the process is as good as gone.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (hooks, metrics) = (self.disconnect.clone(), metrics.clone());
        let turns = Arc::clone(&self.farewells.turns);
        let told = async move {
            let turn = turns.acquire().await;
            hooks.run(&disconnect, &metrics).await;
            drop(turn);
        };
        self.farewells.tracker.spawn_on(told, &runtime);
    }
}
