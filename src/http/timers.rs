//! The three clocks of a stream on one timer: idle, lifetime and heartbeat.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::options::HttpOptions;
use crate::hub::Told;

/// What a stream is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It has lived long enough.
    Lifetime,
    /// It has received no event for too long.
    Idle,
    /// It has been silent for long enough that a proxy might close it.
    Heartbeat,
}

/// When a stream is due for what.
pub(super) struct Timers {
    idle: Duration,
    heartbeat: Option<Duration>,
    lifetime_at: Instant,
    idle_at: Instant,
    heartbeat_at: Option<Instant>,
    /// Invariant: never later than the earliest of the above. Deliveries move those on but leave
    /// this alone; it is set again only when it rings.
    sleep: Pin<Box<Sleep>>,
}

impl Timers {
    /// Starts all clocks.
    pub(super) fn start(idle: Duration, lifetime: Duration, heartbeat: Option<Duration>) -> Self {
        let now = Instant::now();
        let mut timers = Self {
            idle,
            heartbeat,
            lifetime_at: after(now, lifetime),
            idle_at: now,
            heartbeat_at: None,
            sleep: Box::pin(sleep_until(now)),
        };
        timers.delivered();
        timers.rearm();
        timers
    }

    /// An event was given to the stream.
    pub(super) fn delivered(&mut self) {
        let now = Instant::now();
        self.idle_at = after(now, self.idle);
        self.beaten_at(now);
    }

    /// An event was kept from the stream that counts as one all the same.
    pub(super) fn skipped(&mut self) {
        self.idle_at = after(Instant::now(), self.idle);
    }

    /// A heartbeat was given to the stream.
    pub(super) fn beaten(&mut self) {
        self.beaten_at(Instant::now());
    }

    fn beaten_at(&mut self, now: Instant) {
        self.heartbeat_at = self.heartbeat.map(|pause| after(now, pause));
    }

    /// What the stream is due for now; the same again until it is dealt with. `told` says what others have
    /// given to it meanwhile.
    pub(super) fn poll_due(
        &mut self,
        context: &mut Context<'_>,
        told: impl Fn() -> Told,
    ) -> Poll<Due> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            self.catch_up(told());
            if let Some(due) = self.due(Instant::now()) {
                return Poll::Ready(due);
            }
            self.rearm();
        }
    }

    fn catch_up(&mut self, told: Told) {
        if let Some(at) = told.event_at {
            self.idle_at = self.idle_at.max(after(at, self.idle));
        }
        if let (Some(at), Some(pause)) = (told.at, self.heartbeat) {
            self.heartbeat_at = self.heartbeat_at.max(Some(after(at, pause)));
        }
    }

    /// Waits for `at` on the same timer, when nothing else is to be waited for any more.
    pub(super) fn poll_at(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.sleep.deadline() != at {
            self.sleep.as_mut().reset(at);
        }
        self.sleep.as_mut().poll(context)
    }

    fn due(&self, now: Instant) -> Option<Due> {
        if self.lifetime_at <= now {
            Some(Due::Lifetime)
        } else if self.idle_at <= now {
            Some(Due::Idle)
        } else if self.heartbeat_at.is_some_and(|at| at <= now) {
            Some(Due::Heartbeat)
        } else {
            None
        }
    }

    fn rearm(&mut self) {
        let end = self.lifetime_at.min(self.idle_at);
        let earliest = self.heartbeat_at.map_or(end, |at| end.min(at));
        self.sleep.as_mut().reset(earliest);
    }
}

/// How long a stream lives at most, its share of chance drawn.
pub(super) fn lifetime(options: &HttpOptions) -> Duration {
    let shortened = options.lifetime_jitter.clamp(0.0, 1.0) * rand::random::<f64>();
    options.lifetime_max.mul_f64(1.0 - shortened)
}

/// `pause` after `from`; pauses of more than a year would only overflow the clock.
fn after(from: Instant, pause: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from + pause.min(YEAR)
}
