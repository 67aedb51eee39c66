//! Positions for those who keep the last `id` of their stream to go on from there: after each
//! transaction they know one that has all of it, and within one none that has the rest.
//!
//! A position is about all subscriptions of a stream but those with a snapshot, which have another one when it comes back.
//! So while those are told of the past, only that tells positions.

use tokio::time::{Duration, Instant};

use super::registry::{Registry, SubscriberKey};
use crate::event::{FeedItem, Position};
use crate::frame::Frame;

/// How long a position is not told anew while nothing else is.
const SILENCE: Duration = Duration::from_secs(20);

/// What a subscriber knows of its position.
#[derive(Debug)]
pub(super) struct Marks {
    /// It was told something of a transaction, and not yet its end.
    dirty: bool,
    /// It is told what it has missed.
    behind: bool,
    told: Option<Position>,
    told_at: Instant,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            dirty: false,
            behind: false,
            told: None,
            told_at: Instant::now(),
        }
    }
}

impl Marks {
    /// Whether it is in the midst of a transaction.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether it is told what it has missed, so that what happens now says nothing of its position.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(super) fn set_behind(&mut self, behind: bool) {
        self.behind = behind;
    }

    /// What was told before counts no more.
    pub(super) fn start_over(&mut self) {
        self.dirty = false;
        self.told = None;
    }

    fn tell(&mut self, position: &Position) {
        self.dirty = false;
        self.told = Some(position.clone());
        self.told_at = Instant::now();
    }
}

/// The frames of one item, by receiver.
pub(super) type Outbox = Vec<(SubscriberKey, Frame)>;

/// Sees to it that of several frames for one subscriber only the last shows the item's position, and none for whom
/// it is not `about`, and appends marks where a transaction ends for those of `unfinished` who are not told so by a frame.
/// Whoever is in the midst of a transaction then is added to `unfinished`.
pub(super) fn mark(
    outbox: &mut Outbox,
    registry: &mut Registry,
    item: &FeedItem,
    unfinished: &mut Vec<SubscriberKey>,
    about: impl Fn(SubscriberKey, &Marks) -> bool,
) {
    let (FeedItem::Change(_) | FeedItem::Message(_)) = item else {
        return;
    };
    let end = item.end();
    if registry.has_marked() {
        tell_by_frames(outbox, registry, end, unfinished, about);
    }
    let Some(end) = end else {
        return;
    };
    for key in unfinished.drain(..) {
        let subscriber = registry.get_mut(key);
        let marks = subscriber.and_then(|subscriber| subscriber.marks.as_mut());
        if let Some(marks) = marks.filter(|marks| marks.dirty) {
            marks.tell(end);
            outbox.extend(Frame::mark(&end.to_string()).map(|frame| (key, frame)));
        }
    }
}

fn tell_by_frames(
    outbox: &mut Outbox,
    registry: &mut Registry,
    end: Option<&Position>,
    unfinished: &mut Vec<SubscriberKey>,
    about: impl Fn(SubscriberKey, &Marks) -> bool,
) {
    let mut last = std::collections::HashSet::new();
    for (key, frame) in outbox.iter_mut().rev() {
        let subscriber = registry.get_mut(*key);
        let Some(marks) = subscriber.and_then(|subscriber| subscriber.marks.as_mut()) else {
            continue;
        };
        if !about(*key, marks) || !last.insert(*key) {
            *frame = frame.without_id();
            continue;
        }
        match end {
            Some(end) => marks.tell(end),
            None if !marks.dirty => {
                marks.dirty = true;
                unfinished.push(*key);
            }
            None => {}
        }
    }
}

/// A mark for one subscriber, if it wants any and does not know the position.
pub(super) fn mark_for(
    registry: &mut Registry,
    key: SubscriberKey,
    position: &Position,
) -> Option<(SubscriberKey, Frame)> {
    let marks = registry.get_mut(key)?.marks.as_mut()?;
    if marks.dirty || marks.told.as_ref() == Some(position) {
        return None;
    }
    marks.tell(position);
    Some((key, Frame::mark(&position.to_string())?))
}

/// Those who have been told nothing for a while.
pub(super) fn overdue(registry: &mut Registry) -> Vec<SubscriberKey> {
    let is_due = |marks: &Marks| !marks.dirty && marks.told_at.elapsed() >= SILENCE;
    registry
        .iter_mut()
        .filter(|(_, subscriber)| subscriber.marks.as_ref().is_some_and(is_due))
        .map(|(key, _)| key)
        .collect()
}
