//! What nobody waits for: delivered in the background, tried again with growing pauses, up to a limit.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::call::{Caller, message_id};
use super::{count, payload};
use crate::hooks::{Disconnect, Farewells, Message};
use crate::telemetry::Metrics;

/// Messages in one request.
const MESSAGES_MAX: usize = 500;
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Something to be told.
pub(super) enum Notice {
    Disconnect(Value),
    Message(Value),
}

impl Notice {
    pub(super) fn disconnect(end: &Disconnect) -> Self {
        Self::Disconnect(payload::disconnect(end))
    }

    pub(super) fn message(message: &Message<'_>) -> Self {
        Self::Message(payload::message(message))
    }
}

/// Delivers the notices of one webhook.
pub(super) struct Courier {
    caller: Caller,
    notices: mpsc::Receiver<Notice>,
    metrics: Metrics,
}

impl Courier {
    pub(super) fn new(caller: Caller, notices: mpsc::Receiver<Notice>, metrics: Metrics) -> Self {
        Self {
            caller,
            notices,
            metrics,
        }
    }

    /// Whether anything will ever be put into its queue.
    pub(super) fn tells_anything(&self) -> bool {
        self.notices.sender_strong_count() > 0
    }

    /// Delivers until told to stop; then, up to `drain`, what streams say as they end.
    pub(super) async fn run(mut self, ended: Farewells, drain: Duration, stop: CancellationToken) {
        let mut under_way = JoinSet::new();
        let turns = Arc::new(Semaphore::new(self.caller.options().concurrency));
        let stopped = self.deliver(&mut under_way, &turns);
        if stop.run_until_cancelled(stopped).await.is_some() {
            return;
        }
        let rest = async {
            ended.all_told().await;
            self.notices.close();
            self.deliver(&mut under_way, &turns).await;
            while under_way.join_next().await.is_some() {}
        };
        if timeout(drain, rest).await.is_err() {
            let left = self.notices.len() + under_way.len();
            tracing::warn!(left, "webhooks could not be told everything before the end");
        }
    }

    /// Takes notices until there are no more. Safe to drop half-way: what was taken is under way.
    async fn deliver(&mut self, under_way: &mut JoinSet<()>, turns: &Arc<Semaphore>) {
        loop {
            while under_way.try_join_next().is_some() {}
            // Before anything is taken, so that what waits does so in the queue, which has a limit.
            let Ok(turn) = Arc::clone(turns).acquire_owned().await else {
                return;
            };
            let Some(notice) = self.notices.recv().await else {
                return;
            };
            let mut batch = vec![notice];
            if matches!(batch[0], Notice::Message(_)) {
                gather(&mut batch, &mut self.notices);
            }
            let (caller, metrics) = (self.caller.clone(), self.metrics.clone());
            under_way.spawn(async move {
                for (stage, payload) in payloads(batch) {
                    tell(&caller, stage, &payload, &metrics).await;
                }
                drop(turn);
            });
        }
    }
}

/// Adds what is there already.
fn gather(batch: &mut Vec<Notice>, notices: &mut mpsc::Receiver<Notice>) {
    while batch.len() < MESSAGES_MAX
        && let Ok(notice) = notices.try_recv()
    {
        batch.push(notice);
    }
}

fn payloads(batch: Vec<Notice>) -> Vec<(&'static str, Value)> {
    let mut messages = Vec::new();
    let mut payloads = Vec::new();
    for notice in batch {
        match notice {
            Notice::Message(message) => messages.push(message),
            Notice::Disconnect(end) => payloads.push(("disconnect", end)),
        }
    }
    if !messages.is_empty() {
        payloads.insert(0, ("message", payload::messages(messages)));
    }
    payloads
}

async fn tell(caller: &Caller, stage: &'static str, payload: &Value, metrics: &Metrics) {
    let id = message_id();
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_max_times(caller.options().retries)
        .with_jitter()
        .build();
    let mut pauses = pauses.into_iter();
    while caller.tell(&id, stage, payload, metrics).await.is_err() {
        let Some(pause) = pauses.next() else {
            count(metrics, stage, "given_up");
            return;
        };
        sleep(pause).await;
    }
}
