//! Which transactions a row that was read already shows.

use std::str::FromStr;

/// A snapshot of the database as `pg_current_snapshot()` writes it, or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Option<Snapshot>);

#[derive(Debug, Clone)]
struct Snapshot {
    xmin: u64,
    xmax: u64,
    in_progress: Box<[u64]>,
}

impl Seen {
    /// Reads `xmin:xmax:xip,…`; anything else has seen nothing, which is the careful answer.
    pub(super) fn new(text: &str) -> Self {
        Self(text.parse().ok())
    }

    /// Whether what this transaction did is visible.
    pub(super) fn shows(&self, transaction: u64) -> bool {
        self.0.as_ref().is_some_and(|snapshot| {
            transaction < snapshot.xmin
                || transaction < snapshot.xmax && !snapshot.in_progress.contains(&transaction)
        })
    }
}

impl FromStr for Snapshot {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let mut number = || parts.next()?.parse().ok();
        let (xmin, xmax) = (number().ok_or(())?, number().ok_or(())?);
        let list = parts.next().ok_or(())?;
        let in_progress = list.split(',').filter(|each| !each.is_empty());
        let in_progress = in_progress.map(|each| each.parse().map_err(|_| ()));
        Ok(Self {
            xmin,
            xmax,
            in_progress: in_progress.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_seen_if_it_had_ended_when_the_row_was_read() {
        for (snapshot, transaction, seen) in [
            ("100:105:101,103", 99, true),
            ("100:105:101,103", 100, true),
            ("100:105:101,103", 101, false),
            ("100:105:101,103", 102, true),
            ("100:105:101,103", 105, false),
            ("100:100:", 99, true),
            ("100:100:", 100, false),
            ("nonsense", 1, false),
            ("1:2:x", 1, false),
        ] {
            let shows = Seen::new(snapshot).shows(transaction);
            assert_eq!(shows, seen, "{snapshot} {transaction}");
        }
    }
}
