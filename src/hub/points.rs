//! Subscriptions that name themselves by a key: up to where each was told what happens, as it will
//! be asked for when they come back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::line::Line;
use super::snapshot::is_asked;
use crate::auth::{Principal, SUPERUSERS_ID};
use crate::event::Position;
use crate::points::{PointKey, Points};
use crate::topic::Subscription;

/// How much is told again: a connection that has died is noticed late, and what was written to it
/// meanwhile is lost.
const OVERLAP: Duration = Duration::from_secs(30);
/// Keys of one subscriber.
const KEYS_MAX: usize = 100;
/// Points known at a time, of all subscribers; those of a further one are not kept.
const POINTS_MAX: usize = 200_000;
/// How long a point is known here after it was used last; the database knows it longer.
const KNOWN: Duration = Duration::from_secs(600);
/// Points that are saved in one go, and goes at a time.
const SAVED_MAX: usize = 1000;
/// Samples of one subscriber; beyond, the newest is replaced.
const SAMPLES_MAX: usize = 16;

/// Under which key a subscription is remembered; `None` if it asks for none, or names a bad one. One that
/// asks for a snapshot needs none: it is told everything there is each time.
pub(super) fn key_of(subscription: &Subscription, principal: &Principal) -> Option<PointKey> {
    if is_asked(subscription) {
        return None;
    }
    let name = subscription.options().query.get(RESUME)?;
    is_name(name, principal.is_guest()).then(|| {
        let text = subscription.text();
        match principal {
            Principal::Guest => PointKey::new(None, text),
            Principal::Superuser { id } => PointKey::new(Some((SUPERUSERS_ID, id)), text),
            Principal::Record(record) => {
                PointKey::new(Some((&record.collection_id, &record.id)), text)
            }
        }
    })
}

/// The option.
pub(super) const RESUME: &str = "resume";

/// How long a name must be at least.
pub(super) fn shortest_name(is_guest: bool) -> usize {
    if is_guest { 16 } else { 8 }
}

/// Whether a client may name a subscription so. All guests are one principal, so theirs must be
/// longer: whoever guesses one only shortens what its owner is told again.
pub(super) fn is_name(name: &str, is_guest: bool) -> bool {
    let shortest = shortest_name(is_guest);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (shortest..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

/// The keys among subscriptions.
pub(super) fn keys_of(
    subscriptions: &[Subscription],
    principal: &Principal,
) -> Vec<(Arc<str>, PointKey)> {
    let keyed = subscriptions.iter().filter_map(|subscription| {
        let key = key_of(subscription, principal)?;
        Some((Arc::clone(subscription.text()), key))
    });
    keyed.take(KEYS_MAX).collect()
}

/// How many of a subscriber's keys are too many, and not remembered.
pub(super) fn keys_beyond(subscriptions: &[Subscription], principal: &Principal) -> u64 {
    if subscriptions.len() <= KEYS_MAX {
        return 0;
    }
    let keyed = subscriptions
        .iter()
        .filter(|one| key_of(one, principal).is_some());
    keyed.count().saturating_sub(KEYS_MAX) as u64
}

/// How far one subscriber has come.
#[derive(Default)]
pub(super) struct Progress {
    line: Arc<Line>,
    /// Its subscriptions with keys.
    pub keys: Vec<(Arc<str>, PointKey)>,
    /// Positions, and how many frames were sent until then.
    open: VecDeque<(u64, Position)>,
    /// Positions all of whose frames were taken, and when that was seen.
    taken_at: VecDeque<(Instant, Position)>,
}

impl Progress {
    /// Of a subscriber to whom nothing was sent yet.
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self {
            line,
            ..Self::default()
        }
    }

    /// What the subscriber's stream and the hub know of each other.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Takes in how far the feed has come, and how many frames were sent to the subscriber and taken by it until
    /// now; returns how far it has come for certain, if that is news.
    fn sample(
        &mut self,
        position: Option<&Position>,
        (sent, taken): (u64, u64),
        now: Instant,
    ) -> Option<Position> {
        if let Some(position) = position {
            if self.open.len() >= SAMPLES_MAX {
                self.open.pop_back();
            }
            self.open.push_back((sent, position.clone()));
        }
        let mut reached = None;
        while self.open.front().is_some_and(|(sent, _)| *sent <= taken) {
            reached = self.open.pop_front();
        }
        if let Some((_, position)) = reached {
            if self.taken_at.len() >= SAMPLES_MAX {
                self.taken_at.pop_back();
            }
            self.taken_at.push_back((now, position));
        }
        let mut certain = None;
        while let Some((at, _)) = self.taken_at.front()
            && now.duration_since(*at) >= OVERLAP
        {
            certain = self.taken_at.pop_front();
        }
        certain.map(|(_, position)| position)
    }

    /// What was sampled counts no more: something else is subscribed to, or told of the past.
    pub(super) fn start_over(&mut self) {
        self.open.clear();
        self.taken_at.clear();
    }
}

struct Point {
    position: Position,
    used_at: Instant,
    /// It is not saved yet.
    is_new: bool,
}

/// All points that are known here.
#[derive(Default)]
pub(super) struct Book {
    points: HashMap<PointKey, Point>,
    store: Option<Points>,
    /// Those that were never saved, and those that were, each in the order in which they changed.
    /// Invariant: a point is in one of them exactly if `is_new`.
    fresh: VecDeque<PointKey>,
    moved: VecDeque<PointKey>,
    /// The number of the feed's item at the last sample.
    sampled: u64,
}

impl Book {
    pub(super) fn set_store(&mut self, store: Points) {
        self.store = Some(store);
    }

    /// Whether a key is remembered.
    pub(super) fn knows(&self, key: &PointKey) -> bool {
        self.points.contains_key(key)
    }

    /// Whether there is anything to follow.
    pub(super) fn is_used(&self) -> bool {
        !self.points.is_empty()
    }

    /// From where a subscription goes on: where it was, as known here or found in the database. A new
    /// one begins at `newest`, which is noted at once.
    pub(super) fn go_on(
        &mut self,
        key: PointKey,
        found: Option<Position>,
        newest: Option<&Position>,
    ) -> Option<Position> {
        let known = self.points.get(&key).map(|point| &point.position);
        let from = match (known, found) {
            (Some(known), Some(found)) if found.includes(known) => Some(found),
            (Some(known), _) => Some(known.clone()),
            (None, found) => found,
        };
        if let Some(position) = from.as_ref().or(newest) {
            self.note(key, position.clone());
        }
        from
    }

    /// Notes how far a subscription has come.
    pub(super) fn note(&mut self, key: PointKey, position: Position) {
        let used_at = Instant::now();
        if let Some(point) = self.points.get_mut(&key) {
            if point.position != position && !std::mem::replace(&mut point.is_new, true) {
                self.moved.push_back(key);
            }
            point.position = position;
            point.used_at = used_at;
        } else if self.points.len() < POINTS_MAX {
            let point = Point {
                position,
                used_at,
                is_new: true,
            };
            self.points.insert(key, point);
            self.fresh.push_back(key);
        }
    }

    /// Follows subscribers, of each of whom it is known how many frames it was sent and has taken, while the feed
    /// goes on.
    pub(super) fn follow<'s>(
        &mut self,
        subscribers: impl Iterator<Item = (&'s mut Progress, (u64, u64))>,
        newest: &Position,
        number: u64,
    ) {
        let now = Instant::now();
        // While nothing happens, nothing is written.
        let moved = std::mem::replace(&mut self.sampled, number) != number;
        for (progress, counts) in subscribers {
            let certain = progress.sample(moved.then_some(newest), counts, now);
            for (_, key) in &progress.keys {
                match (&certain, self.points.get_mut(key)) {
                    (Some(position), _) => self.note(*key, position.clone()),
                    (None, Some(point)) => point.used_at = now,
                    (None, None) => {}
                }
            }
        }
    }

    /// Hands in what is not saved yet, and forgets what was not used for long.
    pub(super) fn save(&mut self, points_max: usize) {
        let Some(store) = &self.store else {
            return;
        };
        let mut left = points_max;
        while left > 0 && !(self.fresh.is_empty() && self.moved.is_empty()) {
            let count = left.min(SAVED_MAX);
            let fresh = self.fresh.drain(..count.min(self.fresh.len()));
            let mut keys: Vec<_> = fresh.collect();
            let more = (count - keys.len()).min(self.moved.len());
            keys.extend(self.moved.drain(..more));
            let point = |key: &PointKey| Some((*key, self.points.get(key)?.position.clone()));
            if store.save(keys.iter().filter_map(point).collect()).is_err() {
                // The keeper is behind; these come first when it is not.
                keys.into_iter()
                    .rev()
                    .for_each(|key| self.fresh.push_front(key));
                return;
            }
            for key in &keys {
                if let Some(point) = self.points.get_mut(key) {
                    point.is_new = false;
                }
            }
            left -= keys.len();
        }
        self.points
            .retain(|_, point| point.is_new || point.used_at.elapsed() < KNOWN);
    }

    /// As many as are saved in one go.
    pub(super) const SAVED_MAX: usize = SAVED_MAX;
}
