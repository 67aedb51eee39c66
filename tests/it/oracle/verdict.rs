//! What a client heard beside what Postgres says it must hear.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use tokio_postgres::Client;

use super::clients::{Heard, Segment};
use super::policy::{Policy, Wanted, Who};
use super::world::Collection;

/// A set of committed transactions, as Postgres writes it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: HashSet<u64>,
}

impl Snapshot {
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(':');
        let mut number = || {
            parts
                .next()
                .and_then(|part| part.parse().ok())
                .expect("a snapshot")
        };
        let (xmin, xmax) = (number(), number());
        let running = parts.next().unwrap_or_default();
        Self {
            xmin,
            xmax,
            running: running
                .split(',')
                .filter_map(|xid| xid.parse().ok())
                .collect(),
        }
    }

    /// Whether a transaction that committed had done so by then.
    fn contains(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

/// What identifies an event of a subscription: collection, action, id and version.
type Identity = (String, String, String, i64);

#[derive(Debug)]
struct Expected {
    place: (i64, i32),
    xid: u64,
    record: Value,
}

/// The changes of one phase, as the ledger has them.
pub struct Phase<'a> {
    pub ledger: &'a Client,
    pub collections: &'a [Collection],
    pub policy: &'a Policy,
    /// Ledger rows after the first and up to the second.
    pub rows: (i64, i64),
    /// The latest snapshot of each transaction.
    pub snapshots: HashMap<u64, Snapshot>,
}

impl<'a> Phase<'a> {
    pub async fn load(
        ledger: &'a Client,
        collections: &'a [Collection],
        policy: &'a Policy,
        rows: (i64, i64),
    ) -> Self {
        let found = ledger
            .query(
                "select distinct on (xid) xid::text, snap::text from oracle.ledger
                 where seq > $1 and seq <= $2 order by xid, seq desc",
                &[&rows.0, &rows.1],
            )
            .await
            .unwrap();
        let snapshots = found
            .iter()
            .map(|row| (number(row.get(0)), Snapshot::parse(row.get(1))))
            .collect();
        Self {
            ledger,
            collections,
            policy,
            rows,
            snapshots,
        }
    }

    /// Whether one transaction had surely ended before another made its last change.
    fn precedes(&self, one: u64, other: u64) -> bool {
        one != other
            && self
                .snapshots
                .get(&other)
                .is_some_and(|snapshot| snapshot.contains(one))
    }

    async fn expected(&self, who: Who, wanted: &Wanted) -> HashMap<Identity, Expected> {
        let mut expected = HashMap::new();
        for at in &wanted.collections {
            let collection = &self.collections[*at];
            let condition =
                self.policy
                    .condition(who, *at, collection.name, wanted.kind, wanted.filter);
            let record = collection.record(who == Who::Superuser, wanted.fields);
            let sql = format!(
                "select seq, part, xid::text, action, id, (r->>'v')::bigint, ({record})::text from oracle.events
                 where coll = '{}' and seq > $1 and seq <= $2 and ($3::text is null or id = $3) and {condition}",
                collection.name
            );
            let rows = self
                .ledger
                .query(&sql, &[&self.rows.0, &self.rows.1, &wanted.id])
                .await;
            for row in rows.unwrap_or_else(|error| panic!("{error:?}: {sql}")) {
                let identity = (
                    collection.name.to_owned(),
                    row.get(3),
                    row.get(4),
                    row.get(5),
                );
                let event = Expected {
                    place: (row.get(0), row.get(1)),
                    xid: number(row.get(2)),
                    record: serde_json::from_str(row.get(6)).unwrap(),
                };
                expected.insert(identity, event);
            }
        }
        expected
    }

    /// Everything that is wrong with what a client heard.
    pub async fn judge(&self, who: Who, wanted: &[Wanted], segments: &[Segment]) -> Judgement {
        let mut expected = HashMap::new();
        for wanted in wanted {
            expected.insert(wanted.name.clone(), self.expected(who, wanted).await);
        }
        let mut judgement = Judgement::default();
        for segment in segments {
            let mut listening = Listening {
                phase: self,
                expected: &expected,
                judgement: &mut judgement,
            };
            listening.judge(segment);
        }
        judgement
    }
}

/// What is wrong, and how much was looked at.
#[derive(Debug, Default)]
pub struct Judgement {
    pub wrong: Vec<String>,
    pub events: usize,
    /// How often it was told to load afresh, which excuses what is missing.
    pub resyncs: usize,
    /// The transactions of each segment in the order they were heard.
    pub orders: Vec<Vec<u64>>,
}

struct Listening<'p, 'l> {
    phase: &'p Phase<'p>,
    expected: &'l HashMap<String, HashMap<Identity, Expected>>,
    judgement: &'l mut Judgement,
}

/// How much of a transaction was heard.
#[derive(Debug, Default)]
struct Share {
    heard: usize,
    due: usize,
}

impl Listening<'_, '_> {
    fn wrong(&mut self, what: String) {
        self.judgement.wrong.push(what);
    }

    fn judge(&mut self, segment: &Segment) {
        let resynced = self.resynced(segment);
        let mut shares: BTreeMap<u64, Share> = BTreeMap::new();
        for (name, events) in self.expected {
            for (identity, event) in events {
                if !resynced.contains(&(name.as_str(), identity.0.as_str())) {
                    shares.entry(event.xid).or_default().due += 1;
                }
            }
        }
        let order = self.events(segment, &resynced, &mut shares);
        self.whole_transactions(segment, &order, &shares);
        self.nothing_skipped(segment, &order, &shares);
        self.judgement.orders.push(order);
    }

    /// The subscriptions and collections of which the client was told to load afresh.
    fn resynced<'s>(&mut self, segment: &'s Segment) -> HashSet<(&'s str, &'s str)> {
        let told = segment
            .heard
            .iter()
            .filter(|heard| heard.action == "resync");
        let told: Vec<_> = told
            .map(|heard| (heard.name.as_str(), heard.collection()))
            .collect();
        self.judgement.resyncs += told.len();
        told.into_iter().collect()
    }

    /// Each event is expected, once, with this content, after those of its record before; tells the order
    /// of the transactions.
    fn events(
        &mut self,
        segment: &Segment,
        resynced: &HashSet<(&str, &str)>,
        shares: &mut BTreeMap<u64, Share>,
    ) -> Vec<u64> {
        let mut seen = HashSet::new();
        let mut places: HashMap<(&str, String, String), (i64, i32)> = HashMap::new();
        let mut order: Vec<u64> = Vec::new();
        for heard in &segment.heard {
            if heard.action == "resync" {
                continue;
            }
            self.judgement.events += 1;
            let identity = identity(heard);
            let Some(event) = self
                .expected
                .get(&heard.name)
                .and_then(|of| of.get(&identity))
            else {
                self.wrong(format!("extra (or leaked): {heard:?}"));
                continue;
            };
            if event.record != heard.record {
                self.wrong(format!("another content: {heard:?}, not {}", event.record));
            }
            if !seen.insert((&heard.name, identity.clone())) {
                self.wrong(format!("doubled: {heard:?}"));
            }
            let last = places.insert((&heard.name, identity.0, identity.2), event.place);
            if last.is_some_and(|last| last >= event.place) {
                self.wrong(format!(
                    "before an earlier change of the same record: {heard:?}"
                ));
            }
            if order.last() != Some(&event.xid) {
                if order.contains(&event.xid) {
                    self.wrong(format!(
                        "transaction {} in two pieces: {heard:?}",
                        event.xid
                    ));
                }
                order.push(event.xid);
            }
            if !resynced.contains(&(heard.name.as_str(), heard.collection())) {
                let share = shares.get_mut(&event.xid);
                share.expect("counted before").heard += 1;
            }
        }
        order
    }

    /// All of a transaction or nothing, but where the stream began or was cut.
    fn whole_transactions(
        &mut self,
        segment: &Segment,
        order: &[u64],
        shares: &BTreeMap<u64, Share>,
    ) {
        let since = segment.since.as_deref().map(Snapshot::parse);
        for (at, xid) in order.iter().enumerate() {
            let Some(share) = shares.get(xid) else {
                continue;
            };
            let is_first = at == 0 && since.as_ref().is_some_and(|since| since.contains(*xid));
            let is_last = at + 1 == order.len() && !segment.is_whole;
            if share.heard != share.due && !is_first && !is_last {
                self.wrong(format!(
                    "{} of {} events of transaction {xid}",
                    share.heard, share.due
                ));
            }
        }
        for (at, later) in order.iter().enumerate() {
            for earlier in &order[..at] {
                if self.phase.precedes(*later, *earlier) {
                    self.wrong(format!(
                        "transaction {earlier} heard before {later}, which it had seen"
                    ));
                }
            }
        }
    }

    /// No transaction is missing between those that were heard, or between them and the ends of the stream.
    fn nothing_skipped(&mut self, segment: &Segment, order: &[u64], shares: &BTreeMap<u64, Share>) {
        let since = segment.since.as_deref().map(Snapshot::parse);
        for (xid, share) in shares {
            if order.contains(xid) {
                continue;
            }
            let was_before = since.as_ref().is_some_and(|since| since.contains(*xid));
            let earlier = order
                .iter()
                .find(|heard| self.phase.precedes(**heard, *xid));
            let later = order
                .iter()
                .find(|heard| self.phase.precedes(*xid, **heard));
            // What a stream was cut off before was due to the next one, if to any.
            let was_reached = segment.is_whole || later.is_some();
            let is_due = was_reached && (!was_before || earlier.is_some());
            if is_due {
                let missed = self.missed(*xid);
                self.wrong(format!(
                    "lost: transaction {xid}, {} events ({missed}); heard before it: {earlier:?}, after it: {later:?}; since {:?}",
                    share.due, segment.since
                ));
            }
        }
    }

    fn missed(&self, xid: u64) -> String {
        let events = self
            .expected
            .iter()
            .flat_map(|(name, events)| events.iter().map(move |event| (name, event)));
        let of_it = events.filter(|(_, (_, event))| event.xid == xid);
        let mut lines: Vec<_> = of_it
            .map(|(name, (identity, event))| format!("{name}: {identity:?} {}", event.record))
            .collect();
        lines.sort();
        lines.truncate(5);
        lines.join("; ")
    }
}

fn identity(heard: &Heard) -> Identity {
    let record = &heard.record;
    (
        heard.collection().to_owned(),
        heard.action.clone(),
        record["id"].as_str().unwrap_or_default().to_owned(),
        record["v"].as_i64().unwrap_or_default(),
    )
}

fn number(text: &str) -> u64 {
    text.parse().expect("a transaction's number")
}

/// A circle among the orders in which clients heard transactions, if there is one: then no single
/// order explains what they heard.
pub fn circle(orders: &[Vec<u64>]) -> Option<Vec<u64>> {
    let mut after: HashMap<u64, HashSet<u64>> = HashMap::new();
    let mut before: HashMap<u64, usize> = HashMap::new();
    for order in orders {
        for pair in order.windows(2) {
            before.entry(pair[0]).or_default();
            if after.entry(pair[0]).or_default().insert(pair[1]) {
                *before.entry(pair[1]).or_default() += 1;
            }
        }
    }
    let mut free: Vec<_> = before
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(xid, _)| *xid)
        .collect();
    while let Some(xid) = free.pop() {
        before.remove(&xid);
        for next in after.remove(&xid).unwrap_or_default() {
            let count = before.get_mut(&next).expect("counted above");
            *count -= 1;
            if *count == 0 {
                free.push(next);
            }
        }
    }
    (!before.is_empty()).then(|| before.into_keys().collect())
}
