//! What is known while the log is being read: the read, its transaction, and the stretch within it.

use std::sync::Arc;

use super::assemble::Assembler;
use super::cascade::Cascade;
use super::cursor::Place;
use super::log_row::LogRow;
use super::nested::Nested;
use crate::catalog::Collection;
use crate::event::{Position, Snapshot, Transaction, Xid};

/// What a read came to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct ReadOutcome {
    /// Rows that were not known before.
    pub rows: u64,
    /// Continuity was broken; positions may have a new epoch.
    pub gap: bool,
}

/// One read while it is under way.
pub(super) struct Read {
    pub outcome: ReadOutcome,
    /// What had been delivered when it began.
    pub before: Position,
    /// What has been delivered since, in whole transactions.
    pub passed: Option<Position>,
    pub head: Option<Arc<Snapshot>>,
    /// The transaction being read, its first row and where its last one stands.
    pub transaction: Option<(Xid, Place, u64)>,
    pub stretch: Option<Stretch>,
    /// The last row of the stretch before.
    pub ended: Option<(Xid, Place, Place)>,
    pub nested: Nested,
    pub cascade: Cascade,
    /// The catalog was loaded again because of something in this read; once is enough.
    pub reloaded: bool,
}

impl Read {
    pub(super) fn first_place(&mut self, row: &LogRow) -> Place {
        match self.transaction {
            Some((xid, first, _)) if xid == row.xid => first,
            _ => {
                self.transaction = Some((row.xid, row.place, row.transaction_end));
                row.place
            }
        }
    }

    /// The transaction being read.
    pub(super) fn current(&self) -> Option<Transaction> {
        self.transaction
            .map(|(Xid(xid), _, end)| Transaction { end, xid })
    }

    /// What has been delivered, in whole transactions.
    pub(super) fn passed(&self) -> &Position {
        self.passed.as_ref().unwrap_or(&self.before)
    }
}

/// What is known of the stretch of rows being read: same transaction, same collection.
pub(super) struct Stretch {
    pub xid: Xid,
    /// The first row of the transaction.
    pub first: Place,
    /// The last row taken in.
    pub last: Option<Place>,
    pub collection: Arc<Collection>,
    pub assembler: Assembler,
}
