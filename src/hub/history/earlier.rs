//! What happened before the hub's memory began, as far as the log could still tell, in the feed's order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::size;
use crate::event::{FeedItem, Position, Snapshot, Transaction, Xid};

/// Items of whole transactions, all of which had ended when memory began.
pub(in crate::hub) struct Earlier {
    /// With this memory began.
    began: Position,
    /// What had happened before the first of the items that were read.
    floor: Option<Position>,
    items: VecDeque<FeedItem>,
    bytes: u64,
    bytes_max: u64,
    /// The last of the items that had to be forgotten again.
    forgotten: Option<Transaction>,
    /// The newest transaction of those.
    newest_forgotten: Option<Xid>,
}

impl Earlier {
    /// What happened before memory began with this: the latest of it, about so many bytes.
    pub(in crate::hub) fn until(began: Position, bytes_max: u64) -> Self {
        Self {
            began,
            floor: None,
            items: VecDeque::new(),
            bytes: 0,
            bytes_max,
            forgotten: None,
            newest_forgotten: None,
        }
    }

    /// What had happened before, if that is known by now.
    pub(in crate::hub) fn floor(&self) -> Option<&Position> {
        self.floor.as_ref()
    }

    /// The items that come happened after this.
    pub(in crate::hub) fn begin(&mut self, floor: Position) {
        self.floor = Some(floor);
    }

    /// Takes in the next item. What the feed brings, too, is left to the feed.
    pub(in crate::hub) fn push(&mut self, item: FeedItem) {
        let transaction = item.transaction();
        if transaction.is_some_and(|transaction| self.began.contains(transaction)) {
            self.bytes += size(&item);
            self.items.push_back(item);
        }
        while self.bytes > self.bytes_max
            && let Some(first) = self.items.pop_front()
        {
            self.bytes -= size(&first);
            self.forgotten = first.transaction();
            self.newest_forgotten = self.newest_forgotten.max(self.forgotten.map(xid_of));
        }
    }

    /// With what memory began.
    pub(super) fn began(&self) -> &Position {
        &self.began
    }

    /// What had been delivered before the first item, and the items with the positions of one who was told just
    /// that and them; the latest of them, within these limits. `None` if positions of another epoch would be compared.
    pub(super) fn into_parts(
        mut self,
        frames_max: usize,
    ) -> Option<(Position, VecDeque<FeedItem>)> {
        let floor = self.floor.take()?;
        if floor.epoch() != self.began.epoch() {
            return None;
        }
        let from = self.first_within(frames_max);
        let kept = self.items.split_off(from);
        let forgotten = self.newest_forgotten.max(xids(&self.items).last().copied());
        let floor = floor_of(&floor, self.began.floor(), forgotten, &kept);
        let floor = Position::new(self.began.epoch().into(), Arc::new(floor));
        let items = place(kept, &floor, self.began.floor());
        Some((floor, items))
    }

    /// Where the latest whole transactions begin that keep within the limit.
    fn first_within(&self, frames_max: usize) -> usize {
        let mut from = self.items.len();
        for (index, item) in self.items.iter().enumerate().rev() {
            if self.items.len() - index > frames_max {
                break;
            }
            let before = match index.checked_sub(1) {
                Some(before) => self.items[before].transaction(),
                None => self.forgotten,
            };
            if before != item.transaction() {
                from = index;
            }
        }
        from
    }
}

fn xid_of(transaction: Transaction) -> Xid {
    Xid(transaction.xid)
}

fn xids(items: &VecDeque<FeedItem>) -> BTreeSet<Xid> {
    let transactions = items.iter().filter_map(FeedItem::transaction);
    transactions.map(xid_of).collect()
}

/// What does not contain the transactions that are kept, nor those in progress when memory began, and all else
/// that is not above all that was forgotten.
fn floor_of(
    read_from: &Position,
    began: &Snapshot,
    forgotten: Option<Xid>,
    kept: &VecDeque<FeedItem>,
) -> Snapshot {
    let after = forgotten.map(|newest| Xid(newest.0 + 1));
    let xmax = read_from.floor().xmax().max(after.unwrap_or_default());
    let mut missing = xids(kept);
    missing.extend(began.in_progress());
    Snapshot::new(xmax, missing.range(..xmax).copied().collect())
}

/// Gives items positions: each has what is below `floor` and all transactions up to its own.
fn place(items: VecDeque<FeedItem>, floor: &Position, began: &Arc<Snapshot>) -> VecDeque<FeedItem> {
    let mut passed = floor.clone();
    let placed = items.into_iter().map(|item| {
        if let (true, Some(transaction)) = (item.ends_transaction(), item.transaction()) {
            passed = floor.and_until(began, transaction);
        }
        item.at(passed.clone())
    });
    placed.collect()
}
