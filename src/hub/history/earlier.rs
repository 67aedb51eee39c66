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
}

impl Earlier {
    /// What happened before memory began with this.
    pub(in crate::hub) fn until(began: Position) -> Self {
        Self {
            began,
            floor: None,
            items: VecDeque::new(),
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
            self.items.push_back(item);
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
        bytes_max: u64,
    ) -> Option<(Position, VecDeque<FeedItem>)> {
        let floor = self.floor.take()?;
        if floor.epoch() != self.began.epoch() {
            return None;
        }
        let from = self.first_within(frames_max, bytes_max);
        let kept = self.items.split_off(from);
        let floor = floor_of(&floor, self.began.floor(), &self.items, &kept);
        let floor = Position::new(self.began.epoch().into(), Arc::new(floor));
        let items = place(kept, &floor, self.began.floor());
        Some((floor, items))
    }

    /// Where the latest whole transactions begin that keep within the limits.
    fn first_within(&self, frames_max: usize, bytes_max: u64) -> usize {
        let (mut from, mut bytes) = (self.items.len(), 0);
        for (index, item) in self.items.iter().enumerate().rev() {
            bytes += size(item);
            if self.items.len() - index > frames_max || bytes > bytes_max {
                break;
            }
            let before = index.checked_sub(1).map(|before| &self.items[before]);
            if before.is_none_or(|before| before.transaction() != item.transaction()) {
                from = index;
            }
        }
        from
    }
}

/// What does not contain the transactions that are kept, nor those in progress when memory began, and all else
/// that is not above all that was forgotten.
fn floor_of(
    read_from: &Position,
    began: &Snapshot,
    forgotten: &VecDeque<FeedItem>,
    kept: &VecDeque<FeedItem>,
) -> Snapshot {
    let xids = |items: &VecDeque<FeedItem>| {
        let xids = items.iter().filter_map(FeedItem::transaction);
        xids.map(|Transaction { xid, .. }| Xid(xid))
            .collect::<BTreeSet<_>>()
    };
    let newest = xids(forgotten).last().map(|newest| Xid(newest.0 + 1));
    let xmax = read_from.floor().xmax().max(newest.unwrap_or_default());
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
