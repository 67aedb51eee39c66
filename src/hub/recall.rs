//! What happened before the process began, read from the log once, so that it need not be read for each of
//! those who come back after a restart.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout_at};

use super::history::Earlier;
use super::task::Hub;
use crate::event::{FeedItem, Position};

/// Reads the latest changes of the log, about as many at most. The first item says what had happened before them
/// ([`FeedItem::Passed`]), and so does the last of what happened until then; without both, nothing was read.
pub type Recent = Arc<dyn Fn(u32) -> mpsc::Receiver<FeedItem> + Send + Sync>;

/// How long those who come back wait for it; then the log is read for each of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reading, which happens once.
#[derive(Default)]
pub(super) struct Recall {
    recent: Option<Recent>,
    under_way: Option<Reading>,
}

struct Reading {
    coming: mpsc::Receiver<FeedItem>,
    until: Instant,
    earlier: Earlier,
}

/// What has come of it.
pub(super) enum Step {
    /// More is to come.
    Going,
    /// That is all.
    Whole(Earlier),
    /// It cannot be told.
    Failed,
}

impl Recall {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to read what had happened when the feed began, unless that was done before. Returns whether it did.
    fn begin(&mut self, began: &Position, changes: u32, bytes_max: u64) -> bool {
        let Some(recent) = self.recent.take() else {
            return false;
        };
        self.under_way = Some(Reading {
            coming: recent(changes),
            until: Instant::now() + PATIENCE,
            earlier: Earlier::until(began.clone(), bytes_max),
        });
        true
    }

    /// The next item; `None` if there will be none. Waits while nothing is under way. Safe to drop half-way.
    pub(super) async fn next(&mut self) -> Option<FeedItem> {
        match &mut self.under_way {
            Some(reading) => {
                let item = timeout_at(reading.until, reading.coming.recv()).await;
                item.unwrap_or_default()
            }
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, item: Option<FeedItem>) -> Step {
        let Some(reading) = &mut self.under_way else {
            return Step::Failed;
        };
        let step = match item {
            Some(FeedItem::Passed(position)) => match reading.earlier.floor() {
                None => {
                    reading.earlier.begin(position);
                    Step::Going
                }
                Some(_) => {
                    let reading = self.under_way.take().expect("just seen");
                    Step::Whole(reading.earlier)
                }
            },
            // The log was emptied meanwhile, or is another one.
            Some(FeedItem::Gap(gap)) if gap.transaction.is_none() => Step::Failed,
            Some(item) => {
                reading.earlier.push(item);
                Step::Going
            }
            None => Step::Failed,
        };
        if !matches!(step, Step::Going) {
            self.under_way = None;
        }
        step
    }
}

impl Hub {
    /// Lets those who come back after a restart be told from memory.
    #[must_use]
    pub fn with_recent(mut self, recent: Recent) -> Self {
        self.recall.recent = Some(recent);
        self
    }

    /// The feed begins with this: what was before is to be remembered, too.
    pub(super) fn begin_recall(&mut self, began: &Position) {
        let changes = u32::try_from(self.history.earlier_max()).unwrap_or(u32::MAX);
        let bytes_max = self.history.earlier_bytes_max();
        if changes > 0 && self.recall.begin(began, changes, bytes_max) {
            self.replays.set_recalling(true);
        }
    }

    /// A piece of what was before has come, or the rest of it will not.
    pub(super) fn recall_step(&mut self, item: Option<FeedItem>) {
        match self.recall.take(item) {
            Step::Going => return,
            Step::Whole(earlier) => {
                let changes = self.history.recall(earlier);
                tracing::debug!(changes, "remembered what happened before the start");
            }
            Step::Failed => {}
        }
        self.replays.set_recalling(self.recall.is_under_way());
        self.replays.wake();
    }
}

#[cfg(test)]
mod tests;
