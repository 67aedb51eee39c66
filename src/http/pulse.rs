//! Whether an HTTP/2 stream still moves.
//!
//! A peer can keep one stream of a healthy connection from moving by never granting it room. hyper
//! then asks its body for nothing, so that none of the body's own timers run, while its mailbox
//! keeps what it holds. So each stream's task is watched: a body that has not been asked for bytes
//! for too long is dropped with its task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::sleep;

use super::options::HttpOptions;

tokio::task_local! {
    static OWN: Pulse;
}

/// Beats whenever a body is asked for bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The pulse of the task at work; one that nobody feels where the task is not watched.
    pub(super) fn own() -> Self {
        OWN.try_with(Self::clone).unwrap_or_default()
    }

    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until there was no beat for `pause_max`, give or take as much again.
    async fn stopped(&self, pause_max: Duration) {
        let mut felt = None;
        loop {
            let now = self.0.load(Ordering::Relaxed);
            if felt.replace(now) == Some(now) {
                return;
            }
            sleep(pause_max).await;
        }
    }
}

/// Runs the tasks of HTTP/2 streams, each until its pulse stops.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pause_max: Duration,
}

impl Watched {
    /// A body that moves is asked for bytes at least at every heartbeat, or at its idle end; other
    /// answers have no pulse until their request, read and carried out, is answered.
    pub(super) fn new(options: &HttpOptions) -> Self {
        let silence_max = options.heartbeat.unwrap_or(options.idle_timeout);
        let answer_max = options.request_timeout.saturating_mul(2);
        let pause_max = silence_max.max(answer_max);
        Self {
            pause_max: pause_max.saturating_add(options.server.write_stall_max),
        }
    }
}

impl<F> Executor<F> for Watched
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let pulse = Pulse::default();
        let pause_max = self.pause_max;
        tokio::spawn(OWN.scope(pulse.clone(), async move {
            tokio::select! {
                _ = stream => {}
                () = pulse.stopped(pause_max) => {
                    tracing::debug!("an HTTP/2 stream did not move any more; dropped it");
                }
            }
        }));
    }
}
