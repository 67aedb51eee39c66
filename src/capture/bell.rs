//! The doorbell: whether to poll, to fall asleep, or to wake.
//!
//! A writer pays dearly for NOTIFY (capture.md, section 1), so writers ring only while a reader
//! sleeps. Awake, the reader polls; when nothing has come for a while it asks writers to ring, goes on
//! reading until every transaction has ended that might not have been asked, and only then waits. The
//! argument why no wake-up is lost stands with `rowcast.fall_asleep()` in `migrations/V2__capture.sql`;
//! `tests/it/bell.rs` tries to break it.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::Xid;

/// Where the reader is between awake and asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Polls; writers need not ring.
    Awake { quiet_since: Instant },
    /// Has asked writers to ring with at least `bell`, and polls until `barrier` is passed.
    Drowsy {
        bell: i64,
        barrier: Xid,
        pause: Duration,
    },
    /// Waits for `bell`; asks nothing of the database until `probe_at`.
    Asleep { bell: i64, probe_at: Instant },
}

impl Rest {
    /// Longest pause while drowsy. Only writers that began before the reader lay down can be late
    /// by this much; it bounds what a transaction left open for hours costs us.
    pub(super) const PAUSE_MAX: Duration = Duration::from_millis(50);

    /// Awake, as of now.
    pub(super) fn awake() -> Self {
        Self::Awake {
            quiet_since: Instant::now(),
        }
    }
}
