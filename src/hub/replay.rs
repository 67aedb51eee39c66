//! Those who are told what they have missed, before anything that happens now: out of the hub's own
//! memory where it reaches back far enough, and out of the log where it does not.

use std::sync::Arc;

use indexmap::IndexMap;
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{Duration, Instant, sleep_until};

use super::cohort::Cohort;
use super::history::{History, Remembered, as_of_today};
use super::mailbox::ClientId;
use super::registry::{Registry, Subscriber, SubscriberKey};
use crate::catalog::Catalog;
use crate::event::{FeedItem, GapReason, Position, Snapshot};
use crate::topic::Subscription;

/// Reads the log again from a position on. The last item says how far ([`FeedItem::Passed`]); without
/// it, the past could not be told.
pub type Past = Arc<dyn Fn(Position) -> mpsc::Receiver<FeedItem> + Send + Sync>;

/// Items told in one go; between two goes what happens now, and commands, have their turn.
const CHUNK_MAX: usize = 64;
/// Goes out of memory before they have.
const GOES_MAX: usize = 16;
/// How long a subscriber may take nothing before it is let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take nothing while the log is read for it; then others have their turn.
const PLACE_HELD_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether there is room in a mailbox, or something from the log.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How long the log is not read again for the same subscriber.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// Everybody who is told of the past.
pub(super) struct Replays {
    pub list: Vec<Replay>,
    past: Option<Past>,
    /// When the next go is due; `None` while nothing can be told before something happens.
    due: Option<Instant>,
    /// Memory is about to reach further back, and those who need that wait for it.
    recalling: bool,
}

/// One subscriber who is, under some of its subscriptions.
pub(super) struct Replay {
    pub key: SubscriberKey,
    id: ClientId,
    generation: u64,
    /// The subscriptions, with their topics.
    pub texts: Vec<(Box<str>, Arc<str>)>,
    /// What it has been told.
    pub seen: Position,
    /// The log has confirmed that what it has been told has happened.
    trusted: bool,
    /// It goes on from a snapshot, or was told something already: it must not be told anything that is older.
    is_bound: bool,
    /// It goes on from a snapshot, and says nothing of the position of its stream.
    pub follows_snapshot: bool,
    stage: Stage,
    /// When it took something last.
    moved_at: Instant,
    /// When the log may be read for it.
    read_at: Instant,
    /// The hub's epoch when the log was read for it last.
    read_in: Option<Box<str>>,
}

/// What somebody has been told who comes back.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum From {
    /// What this contains.
    Position(Position),
    /// Nobody can say.
    Unknown,
}

/// Where a subscriber is told from.
enum Stage {
    /// That is to be found out.
    Begin,
    /// From the hub's memory, beginning with this item.
    Memory(u64),
    /// From the log.
    Log(mpsc::Receiver<FeedItem>),
    /// Nowhere: what it has missed cannot be told.
    Lost(&'static str),
}

/// What is told in one go.
pub(super) struct Go {
    /// Places in the list of those who are told it.
    pub who: Vec<usize>,
    pub items: Vec<FeedItem>,
    then: Then,
}

/// What comes after a go.
enum Then {
    /// More from memory, beginning with this item.
    Memory(u64),
    /// More from the log.
    Log,
    /// The log has been told up to here.
    Reached(Position),
    /// The rest cannot be told.
    Lost(&'static str),
}

impl Replays {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            past: None,
            due: None,
            recalling: false,
        }
    }

    /// Says whether memory is about to reach further back.
    pub(super) fn set_recalling(&mut self, recalling: bool) {
        self.recalling = recalling;
    }

    pub(super) fn set_past(&mut self, past: Past) {
        self.past = Some(past);
    }

    /// Begins to tell a subscriber what a position does not contain.
    pub(super) fn begin(
        &mut self,
        key: SubscriberKey,
        subscriber: &Subscriber,
        subscriptions: &[&Subscription],
        from: From,
    ) {
        let (seen, stage) = match from {
            From::Position(seen) => (seen, Stage::Begin),
            From::Unknown => (
                Position::new("".into(), Arc::default()),
                Stage::Lost("unknown"),
            ),
        };
        let text = |subscription: &&Subscription| {
            (subscription.topic().into(), Arc::clone(subscription.text()))
        };
        let now = Instant::now();
        self.list.push(Replay {
            key,
            id: subscriber.id.clone(),
            generation: subscriber.generation,
            texts: subscriptions.iter().map(text).collect(),
            seen,
            trusted: false,
            is_bound: false,
            follows_snapshot: false,
            stage,
            moved_at: now,
            read_at: now,
            read_in: None,
        });
        if !self.recalling {
            self.due = Some(now);
        }
    }

    /// Waits until somebody may be told something. Safe to drop half-way.
    pub(super) fn next_go(&self) -> impl Future<Output = ()> + use<> {
        let due = self.due.filter(|_| !self.list.is_empty());
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Something has happened that those may be waiting for who have been told everything else.
    pub(super) fn wake(&mut self) {
        self.due = Some(Instant::now());
    }

    /// Under which subscriptions a subscriber is told of the past, and what it has been told.
    pub(super) fn texts_of(
        &self,
        key: SubscriberKey,
    ) -> impl Iterator<Item = (&Arc<str>, &Position)> {
        let own = self.list.iter().filter(move |replay| replay.key == key);
        own.flat_map(|replay| replay.texts.iter().map(|(_, text)| (text, &replay.seen)))
    }

    /// What a subscriber was begun to be told last follows a snapshot; `trusted` if its position was read from the
    /// database just now.
    pub(super) fn last_is_after_snapshot(&mut self, key: SubscriberKey, trusted: bool) {
        let last = self.list.last_mut();
        if let Some(replay) = last.filter(|replay| replay.key == key) {
            replay.is_bound = true;
            replay.follows_snapshot = true;
            replay.trusted = trusted;
        }
    }

    /// Whether a subscriber is told of the past.
    pub(super) fn has(&self, key: SubscriberKey) -> bool {
        self.list.iter().any(|replay| replay.key == key)
    }

    /// Forgets those who have left or asked for something else.
    pub(super) fn forget_gone(&mut self, registry: &Registry) {
        self.list.retain(|replay| {
            registry.get(replay.key).is_some_and(|subscriber| {
                subscriber.id == replay.id && subscriber.generation == replay.generation
            })
        });
    }

    /// Finds out from where those are told who have just begun.
    pub(super) fn locate(&mut self, history: &mut History) {
        let Some(newest) = history.reached().newest().cloned() else {
            return;
        };
        let (now, recalling) = (Instant::now(), self.recalling);
        for replay in &mut self.list {
            let same_epoch = replay.seen.epoch() == newest.epoch();
            if !same_epoch && matches!(replay.stage, Stage::Memory(_)) {
                // Postgres has crashed meanwhile, and what memory said of the time before is forgotten.
                replay.stage = Stage::Begin;
            }
            if !matches!(replay.stage, Stage::Begin) {
                continue;
            }
            let known = history.reached().includes(&replay.seen);
            replay.stage = if replay.seen.log() != newest.log() {
                Stage::Lost("epoch")
            } else if replay.is_bound && replay.is_ahead_of(&newest) {
                // If it were live now, it would be told once more what the feed has yet to come to.
                Stage::Begin
            } else if replay.is_bound && !same_epoch {
                // Nobody can say of what was told, or shown by a snapshot, the crash has left nothing. To tell it
                // all again would be to go back in time.
                Stage::Lost("crash")
            } else if let Some(place) = history
                .place_of(&replay.seen)
                .filter(|_| same_epoch && (known || replay.trusted))
            {
                Stage::Memory(place)
            } else if replay.read_at > now || recalling {
                Stage::Begin
            } else if let Some(past) = &self.past {
                replay.read_at = now + READ_INTERVAL;
                replay.read_in = Some(newest.epoch().into());
                Stage::Log(past(replay.seen.clone()))
            } else {
                Stage::Lost("no_past")
            };
        }
    }

    /// The next pieces of memory: each for all who are at the same place, have seen the same and have room for it.
    pub(super) fn next_of_memory(
        &mut self,
        registry: &Registry,
        history: &mut History,
        catalog: &Arc<Catalog>,
    ) -> Vec<Go> {
        let end = history.end();
        let mut together: IndexMap<(u64, Arc<Snapshot>), (Vec<usize>, usize)> = IndexMap::new();
        for (who, replay) in self.list.iter().enumerate() {
            if let Stage::Memory(place) = replay.stage
                && place < end
                && let Some(room) = replay.room(registry)
            {
                let key = (place, Arc::clone(replay.seen.floor()));
                let (all, least) = together.entry(key).or_insert((Vec::new(), room));
                all.push(who);
                *least = room.min(*least);
            }
        }
        together.sort_unstable_by(|(one, _), _, (other, _), _| one.cmp(other));
        let mut goes = Vec::new();
        for ((place, _), (who, room)) in together.into_iter().take(GOES_MAX) {
            // The positions that are told are those of somebody who has seen what they have.
            let seen = self.list[who[0]].seen.clone();
            match remembered(place, room, &seen, history, catalog) {
                Some((items, next)) => goes.push(Go {
                    who,
                    items,
                    then: Then::Memory(next),
                }),
                // Forgotten meanwhile.
                None => who
                    .iter()
                    .for_each(|&who| self.list[who].stage = Stage::Begin),
            }
        }
        goes
    }

    /// The next pieces of the log, each for one.
    pub(super) fn next_of_log(&mut self, registry: &Registry, catalog: &Arc<Catalog>) -> Vec<Go> {
        let mut goes = Vec::new();
        for (who, replay) in self.list.iter_mut().enumerate() {
            let Stage::Log(_) = replay.stage else {
                continue;
            };
            match replay.room(registry) {
                Some(room) => goes.extend(replay.take_from_log(who, room, catalog)),
                // Others are waiting for the place; this one begins again where it is.
                None if replay.moved_at.elapsed() > PLACE_HELD_MAX => replay.stage = Stage::Begin,
                None => {}
            }
        }
        goes
    }

    /// Takes note that a go was told.
    pub(super) fn told(&mut self, go: Go) {
        let now = Instant::now();
        for who in go.who {
            let replay = &mut self.list[who];
            for item in &go.items {
                replay.take_note(item);
                replay.is_bound = true;
            }
            replay.moved_at = now;
            match &go.then {
                Then::Memory(next) => replay.stage = Stage::Memory(*next),
                Then::Log => {}
                Then::Reached(position) => replay.reach(position),
                Then::Lost(why) => replay.stage = Stage::Lost(why),
            }
        }
    }

    /// Takes out those who have been told everything, or cannot be told.
    pub(super) fn take_done(&mut self, history: &History) -> Vec<(Replay, Option<&'static str>)> {
        let mut done = Vec::new();
        let mut rest = Vec::with_capacity(self.list.len());
        for replay in self.list.drain(..) {
            match replay.stage {
                Stage::Memory(place)
                    if place == history.end() && history.reached().includes(&replay.seen) =>
                {
                    done.push((replay, None));
                }
                Stage::Lost(why) => done.push((replay, Some(why))),
                _ => rest.push(replay),
            }
        }
        self.list = rest;
        done
    }

    /// Those who have taken nothing for too long although something waits for them.
    pub(super) fn stalled(&self, registry: &Registry) -> Vec<SubscriberKey> {
        let stalled = self.list.iter().filter(|replay| {
            replay.moved_at.elapsed() > PATIENCE && replay.room(registry).is_none()
        });
        stalled.map(|replay| replay.key).collect()
    }

    /// Says when to go on.
    pub(super) fn plan(&mut self, history: &History, registry: &Registry) {
        let now = Instant::now();
        let due = |replay: &Replay| match replay.stage {
            Stage::Memory(place) if place == history.end() => None,
            Stage::Memory(_) if replay.room(registry).is_some() => Some(now),
            Stage::Begin if self.recalling => None,
            Stage::Memory(_) | Stage::Begin | Stage::Log(_) => Some(now + LOOK_INTERVAL),
            Stage::Lost(_) => Some(now),
        };
        self.due = self.list.iter().filter_map(due).min();
    }
}

impl Replay {
    /// How many items it has room for; `None` if it should first take what waits for it. What happens
    /// now under its other subscriptions needs room, too.
    fn room(&self, registry: &Registry) -> Option<usize> {
        let mailbox = &registry.get(self.key)?.mailbox;
        let all = mailbox.room_max();
        let free = all - mailbox.waiting();
        let items = (free.saturating_sub(all / 4) / self.texts.len().max(1)).clamp(1, CHUNK_MAX);
        (free * 2 >= all).then_some(items)
    }

    /// What has come from the log, if anything has.
    fn take_from_log(&mut self, who: usize, room: usize, catalog: &Arc<Catalog>) -> Option<Go> {
        let Stage::Log(coming) = &mut self.stage else {
            return None;
        };
        let mut items = Vec::new();
        let mut then = Then::Log;
        while items.len() < room {
            match coming.try_recv() {
                Ok(FeedItem::Passed(position)) => {
                    then = Then::Reached(position);
                    break;
                }
                // The log was emptied: not even what it still has makes sense without the rest.
                Ok(FeedItem::Gap(gap)) if gap.reason == GapReason::Retention => {
                    then = Then::Lost("retention");
                    break;
                }
                Ok(item @ (FeedItem::Change(_) | FeedItem::Message(_) | FeedItem::Gap(_))) => {
                    items.extend(as_of_today(&item, catalog).into_item());
                }
                Ok(FeedItem::Catalog(_) | FeedItem::KeysChanged(_)) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    then = Then::Lost("past");
                    break;
                }
            }
        }
        let is_nothing = items.is_empty() && matches!(then, Then::Log);
        (!is_nothing).then_some(Go {
            who: vec![who],
            items,
            then,
        })
    }

    fn take_note(&mut self, item: &FeedItem) {
        if let Some(position) = item.end()
            && position.includes(&self.seen)
        {
            self.seen = position.clone();
        }
    }

    /// Whether Postgres has crashed, and the log was read for it before the feed has come so far: the reading began in the
    /// epoch in which the hub still is, and ended in another.
    fn is_ahead_of(&self, newest: &Position) -> bool {
        self.seen.epoch() != newest.epoch() && self.read_in.as_deref() == Some(newest.epoch())
    }

    /// Takes in how far the log was told; after a crash of Postgres that is less than what was told before it.
    fn reach(&mut self, position: &Position) {
        let has_crashed = position.epoch() != self.seen.epoch();
        self.seen = position.clone();
        self.trusted = true;
        self.stage = match has_crashed && self.is_bound {
            true => Stage::Lost("crash"),
            false => Stage::Begin,
        };
    }

    /// It alone.
    pub(super) fn cohort(&self) -> Cohort {
        let mut cohort = Cohort::default();
        cohort.insert(self.key, &self.texts, &self.seen);
        cohort
    }
}

/// So many items from a place on, and the place after them; `None` if they have been forgotten.
fn remembered(
    place: u64,
    room: usize,
    seen: &Position,
    history: &mut History,
    catalog: &Arc<Catalog>,
) -> Option<(Vec<FeedItem>, u64)> {
    let (mut items, mut next) = (Vec::new(), place);
    while next < history.end() && items.len() < room {
        let Some(remembered) = history.get(next, catalog) else {
            break;
        };
        let item = remembered.into_item();
        items.extend(item.map(|item| as_after(item, seen)));
        next += 1;
    }
    (next > place).then_some((items, next))
}

/// An item with the position of somebody who had seen `seen` before.
fn as_after(item: FeedItem, seen: &Position) -> FeedItem {
    let position = item.position();
    let beside = position.map(|position| position.beside(seen));
    match beside {
        Some(beside) if Some(&beside) != position => item.at(beside),
        _ => item,
    }
}

impl Remembered {
    fn into_item(self) -> Option<FeedItem> {
        match self {
            Self::Item(item) => Some(item),
            Self::Lost(gap) => Some(FeedItem::Gap(gap)),
            Self::Nothing => None,
        }
    }
}
