//! What something cost: time, and processor time here and in the backend that serves us.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::Error;

/// Processor time as the kernel counts it, from one moment on.
pub struct Meter {
    rows: u64,
    backend: i32,
    ours_before: Duration,
    backend_before: Duration,
}

/// What so many rows cost.
pub struct Cost {
    rows: u64,
    pub took: Duration,
    pub ours: Duration,
    pub backend: Duration,
}

impl Meter {
    /// Begins to count for this backend and this process.
    pub fn start(rows: u64, backend: i32) -> Result<Self, Error> {
        Ok(Self {
            rows,
            backend,
            ours_before: used_by("self")?,
            backend_before: used_by(&backend.to_string())?,
        })
    }

    /// Ends counting.
    pub fn stop(self, took: Duration) -> Result<Cost, Error> {
        let backend = used_by(&self.backend.to_string())?;
        Ok(Cost {
            rows: self.rows,
            took,
            ours: used_by("self")?.saturating_sub(self.ours_before),
            backend: backend.saturating_sub(self.backend_before),
        })
    }
}

impl Cost {
    /// Rows per second.
    pub fn per_second(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.rows as f64;
        write!(
            f,
            "{:>12.0}{:>11.2} µs{:>11.2} µs",
            self.per_second(),
            each(self.ours),
            each(self.backend)
        )
    }
}

/// The processor time of all threads of a process.
fn used_by(process: &str) -> Result<Duration, Error> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        let first = text.split(' ').next().unwrap_or_default();
        nanoseconds += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
