//! What a client heard beside what Postgres says it must hear: all of it, lane by lane.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::clients::Subscriber;
use super::expected::{Phase, Range};
use super::lane::Lane;
use super::recognise::Known;
use super::wanted::{Manner, Wanted};

/// What is wrong, and how much was looked at.
#[derive(Debug, Default)]
pub struct Judgement {
    /// What must not be.
    pub wrong: Vec<String>,
    /// What should be and is not yet.
    pub missing: Vec<String>,
    pub events: usize,
    /// Events told again, as they may be.
    pub repeats: usize,
    /// How often it was told to load afresh, which excuses what is missing.
    pub resyncs: usize,
    /// The transactions of each segment in the order they were heard.
    pub orders: Vec<Vec<u64>>,
    /// For reports: each segment of each lane.
    pub course: Vec<String>,
    /// What is owed to one who is away.
    pub debt: Debt,
}

/// What was told before a client went away, so that the rest can be asked for when it is back.
#[derive(Debug, Clone, Default)]
pub struct Debt {
    /// What happened after this row of the ledger is owed.
    floor: i64,
    lanes: HashMap<String, Account>,
}

/// How far a client has come on one lane.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Transactions of which it was told everything.
    pub told: HashSet<u64>,
    /// Transactions that it may have been told, or not.
    pub excused: HashSet<u64>,
    /// The last one it heard of.
    pub last: Option<u64>,
}

/// Judges what a client heard in a phase; also notes what it is owed, should it be away.
pub async fn judge(phase: &Phase<'_>, subscriber: &Subscriber) -> Judgement {
    let debt = subscriber.debt.clone().unwrap_or(Debt {
        floor: phase.rows.0,
        lanes: HashMap::new(),
    });
    let mut known = HashMap::new();
    for wanted in &subscriber.wanted {
        let begin = match subscriber.manner.goes_on() {
            true => subscriber.wants_since,
            false => debt.floor,
        };
        let segments = &subscriber.segments;
        let doubted = segments
            .iter()
            .filter_map(|one| subscriber.doubts(phase.lives, one));
        let range = Range {
            begin,
            doubted_since: doubted.min(),
            floor: debt.floor,
        };
        let answer = Known::ask(phase, subscriber.who, wanted, range, segments).await;
        known.insert(wanted.name.as_str(), answer);
    }
    let mut judgement = Judgement::default();
    judgement.debt.floor = debt.floor;
    judgement.wrong.extend(strangers(subscriber));
    for (key, wanted) in lanes(subscriber) {
        let mut lane = Lane {
            phase,
            subscriber,
            known: &known,
            account: debt.lanes.get(&key).cloned().unwrap_or_default(),
            has_snapshot: wanted.iter().any(|wanted| wanted.snapshot),
            is_alone: !key.is_empty(),
            names: wanted.iter().map(|wanted| wanted.name.as_str()).collect(),
            due: BTreeMap::new(),
            judgement: &mut judgement,
        };
        lane.judge();
        let account = lane.account;
        judgement.debt.lanes.insert(key, account);
    }
    judgement
}

/// What was heard under subscriptions that are none.
fn strangers(subscriber: &Subscriber) -> Vec<String> {
    let names: HashSet<_> = subscriber
        .wanted
        .iter()
        .map(|wanted| &*wanted.name)
        .collect();
    let all = subscriber.segments.iter().flat_map(|segment| {
        let heard = segment.heard.iter();
        heard.map(|heard| (segment.begins, heard))
    });
    let strange = all.filter(|(begins, heard)| {
        let may_trail = !begins && subscriber.may_trail(&heard.name);
        !names.contains(&*heard.name) && !may_trail
    });
    strange
        .map(|(_, heard)| format!("not subscribed to: {heard:?}"))
        .collect()
}

/// What is told together, and in one order: all subscriptions of a stream, but for those that are told of the past by
/// themselves.
fn lanes(subscriber: &Subscriber) -> Vec<(String, Vec<&Wanted>)> {
    let mut lanes: BTreeMap<String, Vec<&Wanted>> = BTreeMap::new();
    for wanted in &subscriber.wanted {
        let is_alone = wanted.snapshot || subscriber.manner == Manner::Keyed;
        let key = if is_alone { wanted.name.as_str() } else { "" };
        lanes.entry(key.to_owned()).or_default().push(wanted);
    }
    lanes.into_iter().collect()
}
