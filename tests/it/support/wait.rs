//! Waiting with a deadline that says what was seen instead.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Long enough for a busy machine; nothing that works ever waits this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Looks again and again until `look` says `Ok`; panics with its last `Err` when time is up.
///
/// ```ignore
/// let count = eventually(DEADLINE, || async {
///     let count = subscribers().await;
///     if count == 3 { Ok(count) } else { Err(format!("{count} subscribers, not 3")) }
/// })
/// .await;
/// ```
#[track_caller]
pub fn eventually<T, E, F, Look>(deadline: Duration, mut look: F) -> impl Future<Output = T>
where
    F: FnMut() -> Look,
    Look: Future<Output = Result<T, E>>,
    E: Debug,
{
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + deadline;
        let mut looks = 0;
        loop {
            looks += 1;
            match look().await {
                Ok(value) => return value,
                Err(seen) if Instant::now() >= end => {
                    panic!("{caller}: not within {deadline:?}; look {looks} saw {seen:?}")
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// Waits for `future`; panics naming `what` when time is up.
#[track_caller]
pub fn within<T>(
    deadline: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match timeout(deadline, future).await {
            Ok(value) => value,
            Err(_) => panic!("{caller}: {what}: not within {deadline:?}"),
        }
    }
}
