//! What happened lately, in the order of the feed, for those who were away for a short while.

mod earlier;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub(super) use earlier::Earlier;

use super::extent::Extent;
use crate::catalog::Catalog;
use crate::event::{
    ChangeEvent, FeedItem, Gap, GapReason, Message, Position, RowImage, parse_image,
};

/// What an event takes beside its images, about.
const EVENT_BYTES: u64 = 256;
/// The number of the first item that the feed brings: what was before has room below.
const BEGIN: u64 = 1 << 32;
/// Places that are known at a time.
const PLACES_MAX: usize = 1024;

/// A bounded memory of the feed.
///
/// Invariant: whatever `floor` does not contain and the hub has delivered is among `items`; where
/// `floor` is `None` nothing is known to be.
pub(super) struct History {
    frames_max: usize,
    bytes_max: u64,
    items: VecDeque<FeedItem>,
    /// The number of the first item.
    first: u64,
    bytes: u64,
    /// What had been delivered before the first item.
    floor: Option<Extent>,
    /// What has been delivered.
    reached: Extent,
    /// After which items transactions have ended, and what had been delivered then. Invariant: in
    /// order, and growing.
    ends: VecDeque<(u64, Extent)>,
    /// The items begin inside a transaction, whose beginning was forgotten.
    torn: bool,
    /// Where those stand who have what a position contains, as found before. What a number stands for never
    /// changes, so that only those who are forgotten are wrong.
    places: HashMap<Position, u64>,
}

impl History {
    pub(super) fn new(frames_max: usize, bytes_max: u64) -> Self {
        Self {
            frames_max,
            bytes_max,
            items: VecDeque::new(),
            first: BEGIN,
            bytes: 0,
            floor: None,
            reached: Extent::default(),
            ends: VecDeque::new(),
            torn: false,
            places: HashMap::new(),
        }
    }

    /// Takes note of an item after it was delivered.
    pub(super) fn note(&mut self, item: &FeedItem) {
        match item {
            FeedItem::Change(_) | FeedItem::Message(_) => {
                self.keep(item.clone());
                if let Some(position) = item.end() {
                    self.reach(position);
                }
                self.trim();
            }
            FeedItem::Gap(_) => {
                self.keep(item.clone());
                self.trim();
            }
            FeedItem::Passed(position) => self.reach(position),
            FeedItem::Catalog(_) | FeedItem::KeysChanged(_) => {}
        }
    }

    /// What has been delivered.
    pub(super) fn reached(&self) -> &Extent {
        &self.reached
    }

    /// The number of the next item to come.
    pub(super) fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// From which item on somebody misses something who has what a position contains; `None` if that
    /// may have been forgotten.
    pub(super) fn place_of(&mut self, seen: &Position) -> Option<u64> {
        if !self.floor.as_ref()?.is_within(seen) {
            return None;
        }
        let known = self.places.get(seen).copied();
        let passed = |(_, extent): &(u64, Extent)| extent.is_within(seen);
        let ended = match self.ends.partition_point(passed) {
            0 => self.first,
            count => self.ends[count - 1].0,
        };
        let from = known.unwrap_or_default().max(ended);
        let has_seen =
            |item: &FeedItem| matches!(item.transaction(), Some(one) if seen.contains(one));
        let later = self.items.range((from - self.first) as usize..);
        let place = from + later.take_while(|item| has_seen(item)).count() as u64;
        if known != Some(place) {
            if self.places.len() >= PLACES_MAX {
                self.places.clear();
            }
            self.places.insert(seen.clone(), place);
        }
        Some(place)
    }

    /// How many items from before its beginning it may be given: there must be room for what happens next.
    pub(super) fn earlier_max(&self) -> usize {
        self.frames_max / 2
    }

    /// How many bytes these may take.
    pub(super) fn earlier_bytes_max(&self) -> u64 {
        self.bytes_max / 2
    }

    /// Takes in what happened before its beginning; returns how many changes that were. Nothing if it has forgotten
    /// its beginning meanwhile.
    pub(super) fn recall(&mut self, earlier: Earlier) -> usize {
        let began = Extent::from(earlier.began().clone());
        if self.floor.as_ref() != Some(&began) || self.first != BEGIN {
            return 0;
        }
        let Some((floor, items)) = earlier.into_parts(self.earlier_max()) else {
            return 0;
        };
        let count = items.len();
        let mut ends = VecDeque::new();
        let first = BEGIN - count as u64;
        for (index, item) in items.iter().enumerate() {
            if let Some(position) = item.position()
                && item.ends_transaction()
            {
                ends.push_back((first + index as u64 + 1, Extent::from(position.clone())));
            }
        }
        ends.push_back((BEGIN, began));
        ends.append(&mut self.ends);
        self.ends = ends;
        self.bytes += items.iter().map(size).sum::<u64>();
        let later = std::mem::replace(&mut self.items, items);
        self.items.extend(later);
        self.first = first;
        self.floor = Some(floor.into());
        self.places.clear();
        count
    }

    /// The item with a number, as the catalog of today understands it; `None` if it was forgotten
    /// or is yet to come.
    pub(super) fn get(&mut self, number: u64, catalog: &Arc<Catalog>) -> Option<Remembered> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let item = self.items.get_mut(index)?;
        let remembered = as_of_today(item, catalog);
        if let Remembered::Item(today) = &remembered {
            *item = today.clone();
        }
        Some(remembered)
    }

    fn keep(&mut self, item: FeedItem) {
        self.bytes += size(&item);
        self.items.push_back(item);
    }

    fn reach(&mut self, position: &Position) {
        let newest = self.reached.newest();
        let other_epoch = newest.is_some_and(|newest| newest.epoch() != position.epoch());
        self.reached.reach(position);
        let end = self.end();
        match self.ends.back_mut() {
            Some((at, extent)) if *at == end => *extent = self.reached.clone(),
            _ => self.ends.push_back((end, self.reached.clone())),
        }
        if other_epoch || self.floor.is_none() {
            self.begin_here();
        }
    }

    /// What was before is forgotten.
    fn begin_here(&mut self) {
        self.first = self.end();
        self.items.clear();
        self.bytes = 0;
        self.ends.clear();
        self.torn = false;
        self.floor = Some(self.reached.clone());
    }

    /// Forgets whole transactions from the front until there is room.
    fn trim(&mut self) {
        let is_over = |history: &Self| {
            history.items.len() > history.frames_max || history.bytes > history.bytes_max
        };
        while is_over(self) || self.torn && !self.items.is_empty() {
            let Some(item) = self.items.pop_front() else {
                return;
            };
            self.bytes -= size(&item);
            self.first += 1;
            self.torn = true;
            self.floor = None;
            while let Some((at, _)) = self.ends.front()
                && *at <= self.first
            {
                let (at, extent) = self.ends.pop_front().expect("just seen");
                if at == self.first {
                    self.floor = Some(extent);
                    self.torn = false;
                }
            }
        }
    }
}

/// What is left of an item under the catalog of today.
pub(super) enum Remembered {
    Item(FeedItem),
    /// It cannot be understood any more, so whoever it is for has to load afresh.
    Lost(Gap),
    /// Its collection is gone.
    Nothing,
}

/// An item as if it had been read today: with the fields, and under the policy, of now.
pub(super) fn as_of_today(item: &FeedItem, catalog: &Arc<Catalog>) -> Remembered {
    if let FeedItem::Message(message) = item
        && !Arc::ptr_eq(&message.catalog, catalog)
    {
        return Remembered::Item(FeedItem::Message(Arc::new(Message {
            catalog: Arc::clone(catalog),
            ..(**message).clone()
        })));
    }
    let Some(then) = item.collection() else {
        return Remembered::Item(item.clone());
    };
    let Some(now) = catalog.get(then.key) else {
        return Remembered::Nothing;
    };
    if Arc::ptr_eq(then, now) {
        return Remembered::Item(item.clone());
    }
    let gap = |reason| Gap {
        collection: Arc::clone(now),
        reason,
        transaction: item.transaction(),
    };
    let event = match item {
        FeedItem::Change(event) => event,
        FeedItem::Gap(old) => return Remembered::Item(FeedItem::Gap(gap(old.reason))),
        _ => return Remembered::Item(item.clone()),
    };
    let hides = now.fields.iter().any(|field| field.hidden);
    let read = |image: &Option<RowImage>| match image {
        None => Some(None),
        Some(image) => parse_image(image.json().into(), now)
            .ok()
            // Under the names of then, what is hidden now might stand where something else does.
            .filter(|parsed| parsed.shape_matches || !hides)
            .map(|parsed| Some(parsed.image)),
    };
    let (Some(old), Some(new)) = (read(&event.old), read(&event.new)) else {
        return Remembered::Lost(gap(GapReason::Undecodable));
    };
    Remembered::Item(FeedItem::Change(Arc::new(ChangeEvent {
        collection: Arc::clone(now),
        action: event.action,
        id: event.id.clone(),
        old,
        new,
        transaction: event.transaction,
        position: event.position.clone(),
        ends_transaction: event.ends_transaction,
    })))
}

/// What an item takes of memory, about.
fn size(item: &FeedItem) -> u64 {
    let image =
        |image: &Option<RowImage>| image.as_ref().map_or(0, |image| image.json().len() as u64);
    match item {
        FeedItem::Change(event) => EVENT_BYTES + image(&event.old) + image(&event.new),
        FeedItem::Message(message) => EVENT_BYTES + message.data.len() as u64,
        _ => EVENT_BYTES,
    }
}

#[cfg(test)]
mod tests;
