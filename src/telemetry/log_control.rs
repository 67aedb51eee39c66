//! What is logged, changed while the process runs; after a while it is again as configured.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::logging::LogFilter;

/// Puts another filter in force; says whether logging still goes on.
pub(super) type Apply = Box<dyn Fn(&LogFilter) -> bool + Send + Sync>;

/// Changes which events are logged; cheap to clone.
#[derive(Clone)]
pub struct LogControl(Arc<Inner>);

struct Inner {
    configured: LogFilter,
    apply: Apply,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts changes, so that only the last one's end counts.
    changes: u64,
    instead: Option<(LogFilter, SystemTime)>,
}

/// What is logged now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The filter in force.
    pub filter: LogFilter,
    /// The one of the settings.
    pub configured: LogFilter,
    /// Until when another one than that is in force.
    pub until: Option<SystemTime>,
}

impl LogControl {
    pub(super) fn new(configured: LogFilter, apply: Apply) -> Self {
        Self(Arc::new(Inner {
            configured,
            apply,
            state: Mutex::default(),
        }))
    }

    /// What is logged now.
    pub fn state(&self) -> LogState {
        let instead = self.lock().instead.clone();
        let configured = self.0.configured.clone();
        match instead {
            None => LogState {
                filter: configured.clone(),
                configured,
                until: None,
            },
            Some((filter, until)) => LogState {
                filter,
                configured,
                until: Some(until),
            },
        }
    }

    /// Logs by this filter for a while, then as configured again. Must be called within a runtime, which
    /// remembers the end.
    pub fn set(&self, filter: LogFilter, lasting: Duration) {
        // Before and after, so that it is in the log whichever of the two filters is the quieter.
        tracing::info!(%filter, lasting_s = lasting.as_secs(), "the log filter changes for a while");
        let change = {
            let mut state = self.lock();
            state.changes += 1;
            (self.0.apply)(&filter);
            state.instead = Some((filter.clone(), SystemTime::now() + lasting));
            state.changes
        };
        tracing::info!(%filter, lasting_s = lasting.as_secs(), "the log filter has changed");
        let own = self.clone();
        tokio::spawn(async move {
            sleep(lasting).await;
            own.end(Some(change));
        });
    }

    /// Logs as configured again.
    pub fn reset(&self) {
        self.end(None);
    }

    /// Ends this change, or whichever there is.
    fn end(&self, change: Option<u64>) {
        let mut state = self.lock();
        if change.is_some_and(|change| change != state.changes) || state.instead.take().is_none() {
            return;
        }
        (self.0.apply)(&self.0.configured);
        drop(state);
        tracing::info!(filter = %self.0.configured, "the log filter is as configured again");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogControl").field(&self.state()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> LogFilter {
        text.parse().expect("a filter")
    }

    /// A control and what it has put in force.
    fn control() -> (LogControl, Arc<Mutex<Vec<String>>>) {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&applied);
        let apply = Box::new(move |filter: &LogFilter| {
            own.lock().expect("no panic").push(filter.to_string());
            true
        });
        (LogControl::new(filter("warn"), apply), applied)
    }

    fn applied(applied: &Mutex<Vec<String>>) -> Vec<String> {
        applied.lock().expect("no panic").clone()
    }

    #[tokio::test(start_paused = true)]
    async fn another_filter_ends_by_itself_and_only_the_last_ones_end_counts() {
        let (control, seen) = control();
        control.set(filter("debug"), Duration::from_secs(10));
        sleep(Duration::from_secs(5)).await;
        control.set(filter("trace"), Duration::from_secs(10));
        sleep(Duration::from_secs(6)).await;
        assert_eq!(applied(&seen), ["debug", "trace"]);
        assert_eq!(control.state().filter, filter("trace"));
        assert!(control.state().until.is_some());
        sleep(Duration::from_secs(5)).await;
        assert_eq!(applied(&seen), ["debug", "trace", "warn"]);
        assert_eq!(control.state().filter, filter("warn"));
        assert_eq!(control.state().until, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_ends_it_at_once_and_nothing_follows() {
        let (control, seen) = control();
        control.reset();
        control.set(filter("debug"), Duration::from_secs(10));
        control.reset();
        sleep(Duration::from_secs(20)).await;
        assert_eq!(applied(&seen), ["debug", "warn"]);
    }
}
