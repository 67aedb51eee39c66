//! Which transactions came before which, as far as Postgres says so.

use std::collections::{HashMap, HashSet};

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
/// last transaction that was told whole, and a snapshot that contains others.
pub fn is_sealed(id: &str, xid: u64) -> bool {
    let parts: Vec<_> = id.split(':').collect();
    let [_, xmin, xmax, running, rest @ ..] = &parts[..] else {
        return false;
    };
    let last = rest.last().and_then(|last| last.split_once('.'));
    Snapshot::parse(&[*xmin, *xmax, *running].join(":")).contains(xid)
        || last.is_some_and(|(_, last)| last.parse() == Ok(xid))
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
