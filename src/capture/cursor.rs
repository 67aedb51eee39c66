//! The cursor: which transactions have been delivered, and from where to read again after a failure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Snapshot, Xid};

/// Where a row stands within its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Where the write-ahead log stood when the row's statement ended.
    pub lsn: u64,
    /// The row's number within its statement.
    pub n: i32,
}

/// The set of transactions delivered, exact across reads that break off and crashes of Postgres.
///
/// A crash may take back transactions that were committed without waiting for the disk, and give
/// their ids to others. A position from shortly before the crash would then claim that those others
/// were delivered. So after every failure reading starts again from a position that is
/// older than any delay of the disk, and what was delivered since is told apart by
/// transaction id *and* place in the write-ahead log.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Everything in here has been delivered.
    head: Snapshot,
    /// Earlier heads, oldest first; the first is where [`rewind`](Self::rewind) goes.
    trail: VecDeque<(Instant, Snapshot)>,
    /// What was delivered of transactions that the oldest head does not contain.
    delivered: HashMap<Xid, Delivered>,
}

#[derive(Debug, Clone, Copy)]
struct Delivered {
    first: Place,
    last: Place,
}

impl Cursor {
    /// How old a head must be to be trusted after a crash: far more than the WAL writer's delay
    /// (600 ms by default, 30 s at most).
    const TRUSTED_AGE: Duration = Duration::from_secs(40);
    /// How densely the trail is kept.
    const TRAIL_STEP: Duration = Duration::from_secs(5);

    /// Starts behind everything that had ended at `head`.
    pub(super) fn new(head: Snapshot) -> Self {
        Self {
            trail: VecDeque::from([(Instant::now(), head.clone())]),
            head,
            delivered: HashMap::new(),
        }
    }

    /// Everything in here has been delivered.
    pub(super) fn head(&self) -> &Snapshot {
        &self.head
    }

    /// Whether this row was delivered already; `first` is the place of its transaction's first row.
    pub(super) fn has_delivered(&self, xid: Xid, first: Place, place: Place) -> bool {
        self.delivered
            .get(&xid)
            .is_some_and(|delivered| delivered.first == first && place <= delivered.last)
    }

    /// Whether anything of this transaction was delivered.
    pub(super) fn knows(&self, xid: Xid) -> bool {
        self.head.contains(xid) || self.delivered.contains_key(&xid)
    }

    /// Notes that everything of transaction `xid` up to `last` has been delivered.
    pub(super) fn deliver(&mut self, xid: Xid, first: Place, last: Place) {
        self.delivered.insert(xid, Delivered { first, last });
    }

    /// Notes that a read has ended: everything `head` contains has been delivered.
    pub(super) fn advance(&mut self, head: Snapshot) {
        if head == self.head {
            return;
        }
        self.head = head;
        let now = Instant::now();
        let due = self
            .trail
            .back()
            .is_none_or(|(at, _)| now.duration_since(*at) >= Self::TRAIL_STEP);
        if due {
            self.trail.push_back((now, self.head.clone()));
            self.forget(now);
        }
    }

    /// Reads again from the oldest head; what was delivered since is still known.
    pub(super) fn rewind(&mut self) {
        if let Some((_, oldest)) = self.trail.front() {
            self.head = oldest.clone();
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.trail.get(1) {
            if now.duration_since(*at) < Self::TRUSTED_AGE {
                break;
            }
            self.trail.pop_front();
        }
        if let Some((_, oldest)) = self.trail.front() {
            self.delivered.retain(|xid, _| !oldest.contains(*xid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        text.parse().expect("a snapshot")
    }

    const A: Place = Place { lsn: 100, n: 1 };
    const B: Place = Place { lsn: 100, n: 2 };
    const C: Place = Place { lsn: 120, n: 1 };

    #[tokio::test(start_paused = true)]
    async fn after_a_rewind_only_what_was_not_delivered_is_new() {
        let mut cursor = Cursor::new(snapshot("10:10:"));
        cursor.deliver(Xid(10), A, B);
        cursor.advance(snapshot("11:11:"));
        cursor.rewind();
        assert_eq!(cursor.head(), &snapshot("10:10:"));
        assert!(cursor.has_delivered(Xid(10), A, A));
        assert!(cursor.has_delivered(Xid(10), A, B));
        assert!(
            !cursor.has_delivered(Xid(10), A, C),
            "the rest of a read that broke off"
        );
        assert!(!cursor.has_delivered(Xid(11), A, A));
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_id_given_anew_after_a_crash_is_another_transaction() {
        let mut cursor = Cursor::new(snapshot("10:10:"));
        cursor.deliver(Xid(10), B, C);
        assert!(!cursor.has_delivered(Xid(10), A, A));
    }

    #[tokio::test(start_paused = true)]
    async fn the_trail_reaches_back_to_what_a_crash_cannot_take_and_no_further() {
        let mut cursor = Cursor::new(snapshot("10:10:"));
        for second in 0..200u64 {
            tokio::time::advance(Duration::from_secs(1)).await;
            cursor.deliver(Xid(10 + second), A, A);
            cursor.advance(snapshot(&format!("{0}:{0}:", 11 + second)));
        }
        cursor.rewind();
        let back = 210 - cursor.head().xmax().0;
        assert!((40..=50).contains(&back), "rewound by {back} s");
        assert!(
            cursor.delivered.len() <= 51,
            "{} remembered",
            cursor.delivered.len()
        );
    }
}
