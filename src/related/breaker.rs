//! Which lookups are held back, because the database did not answer them in time.
//!
//! Everybody waits while the hub looks something up. So what was too slow is not asked for again at once:
//! after a pause it is tried, and the pause doubles each time in vain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::group::Group;
use crate::catalog::CollectionKey;
use crate::telemetry::{LookupReporter, SlowLookup};

/// How long lookups are held back the first time.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long at most.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Breakers that are open, or were and have not been mended.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    open: Mutex<HashMap<Scope, Open>>,
    reporter: LookupReporter,
}

/// What a breaker is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    /// Every lookup of a collection, because its table is locked.
    Table(CollectionKey),
    /// Those by certain fields, of the present or of the past, because they take too long.
    Fields(CollectionKey, Vec<usize>, bool),
}

#[derive(Debug)]
struct Open {
    collection: Arc<str>,
    pause: Duration,
    until: Instant,
}

/// Why a lookup took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delay {
    /// It waited for a lock on the table.
    Locked,
    /// It was at work, or was cancelled.
    Slow,
}

impl Delay {
    /// Whether that is what an error says.
    pub(super) fn of(error: &tokio_postgres::Error) -> Option<Self> {
        match error.code()?.code() {
            "55P03" => Some(Self::Locked),
            "57014" => Some(Self::Slow),
            _ => None,
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Locked => "somebody holds a lock on the table, as ALTER TABLE does",
            Self::Slow => "make an index over the fields that are compared",
        }
    }
}

impl Breakers {
    pub(super) fn new(reporter: LookupReporter) -> Self {
        Self {
            open: Mutex::default(),
            reporter,
        }
    }

    /// Until when a group is not to be asked for.
    pub(super) fn held_back(&self, group: &Group) -> Option<Instant> {
        let open = self.lock();
        let now = Instant::now();
        let until = Scope::both(group).into_iter().filter_map(|scope| {
            let until = open.get(&scope)?.until;
            (until > now).then_some(until)
        });
        until.max()
    }

    /// Holds back what was too slow, and tells until when.
    pub(super) fn trip(&self, group: &Group, delay: Delay) -> Instant {
        let mut open = self.lock();
        let now = Instant::now();
        // What nobody has asked for in a long time begins anew.
        open.retain(|_, one| now < one.until + PAUSE_MAX);
        let [table, fields] = Scope::both(group);
        let scope = match delay {
            Delay::Locked => table,
            Delay::Slow => fields,
        };
        let pause = open.get(&scope).map_or(PAUSE_MIN, |one| match one.until {
            // Asked twice at the same time: failing together counts once.
            until if until > now => one.pause,
            _ => (one.pause * 2).min(PAUSE_MAX),
        });
        let until = now + pause;
        let collection = Arc::clone(&group.collection.name);
        tracing::warn!(
            collection.name = %collection,
            table = %group.collection.table,
            fields = field_names(group),
            pause_s = pause.as_secs(),
            "related records were not found in time and are not looked for during a pause; who may miss something \
             for that is told to load afresh; {}",
            delay.advice()
        );
        let one = Open {
            collection,
            pause,
            until,
        };
        open.insert(scope, one);
        self.report(&open);
        until
    }

    /// Takes note of a lookup that was answered.
    pub(super) fn mend(&self, group: &Group) {
        let mut open = self.lock();
        if open.is_empty() {
            return;
        }
        let mended = Scope::both(group).map(|scope| open.remove(&scope).is_some());
        if mended.contains(&true) {
            tracing::info!(
                collection.name = %group.collection.name,
                "records are found in time again"
            );
            self.report(&open);
        }
    }

    fn report(&self, open: &HashMap<Scope, Open>) {
        let slow = open.values().map(|one| SlowLookup {
            collection: Arc::clone(&one.collection),
            until: one.until,
        });
        let mut slow: Vec<_> = slow.collect();
        slow.sort_unstable_by(|a, b| (&a.collection, a.until).cmp(&(&b.collection, b.until)));
        self.reporter.set(slow.into());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scope {
    fn both(group: &Group) -> [Self; 2] {
        let key = group.collection.key;
        let fields = Self::Fields(key, group.fields.clone(), group.before.is_some());
        [Self::Table(key), fields]
    }
}

fn field_names(group: &Group) -> String {
    let fields = group.fields.iter();
    let names: Vec<&str> = fields
        .map(|&index| &*group.collection.fields[index].name)
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Collection, Field, FieldKind};
    use crate::related::Want;

    fn group(fields: &[usize], before: Option<u64>) -> Group {
        let described = ["id", "team"].map(|name| Field::new(name, FieldKind::Text));
        let collection = Collection::new(CollectionKey(1), "members", described.into());
        let want = Want {
            collection: Arc::new(collection),
            equals: fields.iter().map(|&field| (field, "x".into())).collect(),
            before,
        };
        let mut groups = Group::of(vec![want], &mut Vec::new());
        groups.remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_minute_and_end_with_the_first_answer() {
        let breakers = Breakers::default();
        let group = group(&[0], None);
        for expected in [5, 10, 20, 40, 60, 60] {
            assert_eq!(breakers.held_back(&group), None);
            let until = breakers.trip(&group, Delay::Slow);
            assert_eq!((until - Instant::now()).as_secs(), expected);
            // As when two readings fail at the same time.
            assert_eq!(breakers.trip(&group, Delay::Slow), until);
            assert_eq!(breakers.held_back(&group), Some(until));
            tokio::time::advance(Duration::from_secs(expected)).await;
        }
        breakers.mend(&group);
        let until = breakers.trip(&group, Delay::Slow);
        assert_eq!((until - Instant::now()).as_secs(), 5);
        breakers.mend(&group);
        assert_eq!(breakers.held_back(&group), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_lookup_holds_back_its_like_and_a_lock_the_whole_table() {
        let breakers = Breakers::default();
        let others = [group(&[1], None), group(&[0], Some(7))];
        let until = breakers.trip(&group(&[0], None), Delay::Slow);
        assert_eq!(breakers.held_back(&group(&[0], None)), Some(until));
        for other in &others {
            assert_eq!(breakers.held_back(other), None);
        }
        breakers.trip(&others[0], Delay::Locked);
        for other in &others {
            assert!(breakers.held_back(other).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_any_more_begins_anew() {
        let breakers = Breakers::default();
        let group = group(&[0], None);
        breakers.trip(&group, Delay::Slow);
        tokio::time::advance(Duration::from_secs(66)).await;
        let until = breakers.trip(&group, Delay::Slow);
        assert_eq!((until - Instant::now()).as_secs(), 5);
    }
}
