//! Which transactions came before which, as far as Postgres says so.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Client;

use super::expected::number;

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
    pub fn contains(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

/// Whether somebody who came back with this id has been told all of a transaction, for certain: the id names the
/// last transaction that was told whole, and a snapshot that contains others. Of one from before a crash no more is
/// believed than the snapshot, up to `doubted_since`.
pub fn is_sealed(id: &str, xid: u64, doubted_since: Option<u64>) -> bool {
    let parts: Vec<_> = id.split(':').collect();
    let [_, xmin, xmax, running, rest @ ..] = &parts[..] else {
        return false;
    };
    let contains = Snapshot::parse(&[*xmin, *xmax, *running].join(":")).contains(xid);
    if let Some(first) = doubted_since {
        return contains && xid < first;
    }
    let last = rest.last().and_then(|last| last.split_once('.'));
    contains || last.is_some_and(|(_, last)| last.parse() == Ok(xid))
}

/// The lives of Postgres after the first: each begins with a crash. Nobody gives an id below `first_xid` twice; of the
/// others that a position of an earlier life claims, nobody can say whether they are still the same transactions.
#[derive(Debug, Clone, Default)]
pub struct Lives(Vec<Life>);

#[derive(Debug, Clone)]
struct Life {
    place: i32,
    name: String,
    first_xid: u64,
}

impl Lives {
    /// As the server under test has noted them.
    pub async fn load(client: &Client) -> Self {
        let sql = "select place, name, first_xid::text from rowcast.lives order by place";
        let rows = client.query(sql, &[]).await.expect("the lives");
        let life = |row: &tokio_postgres::Row| Life {
            place: row.get(0),
            name: row.get(1),
            first_xid: number(row.get(2)),
        };
        Self(rows.iter().map(life).collect())
    }

    /// Which one this is.
    pub fn newest(&self) -> i32 {
        self.0.last().map_or(0, |life| life.place)
    }

    /// From which transaction on what was said in a life is not believed; `None` if it still is that one.
    pub fn doubted_since(&self, place: i32) -> Option<u64> {
        let later = self.0.iter().filter(|life| life.place > place);
        later.map(|life| life.first_xid).min()
    }

    /// The same for an id that a client has kept.
    pub fn doubted_of(&self, id: &str) -> Option<u64> {
        let (epoch, _) = id.split_once(':')?;
        let name = epoch.split_once('.').map_or("", |(_, life)| life);
        let known = self.0.iter().find(|life| life.name == name);
        match known {
            Some(life) => self.doubted_since(life.place),
            None => self.doubted_since(0).filter(|_| name.is_empty()),
        }
    }
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
