//! A Postgres snapshot as a set of transactions, the arithmetic behind every position.

use std::fmt;
use std::str::FromStr;

/// A transaction id with its epoch, as `xid8` has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid(pub u64);

/// The transactions that had ended at some moment: all below `xmax` but those in progress.
///
/// Its text is Postgres' own (`xmin:xmax:xip,xip`; "Functions and Operators", transaction ids).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: Xid,
    xmax: Xid,
    /// Sorted ascending; each at least `xmin` and below `xmax`.
    in_progress: Vec<Xid>,
}

/// A text that is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a snapshot of the form xmin:xmax:xip,…")]
pub struct NotASnapshot(String);

impl Snapshot {
    /// Everything below `xmax` but those in progress, which are sorted and below it.
    pub fn new(xmax: Xid, in_progress: Vec<Xid>) -> Self {
        debug_assert!(
            in_progress.is_sorted() && in_progress.last().is_none_or(|last| *last < xmax)
        );
        Self {
            xmin: in_progress.first().copied().unwrap_or(xmax),
            xmax,
            in_progress,
        }
    }

    /// The first transaction that had not begun to count.
    pub fn xmax(&self) -> Xid {
        self.xmax
    }

    /// The transactions below [`xmax`](Self::xmax) that had not ended.
    pub fn in_progress(&self) -> &[Xid] {
        &self.in_progress
    }

    /// Whether `xid` had ended, so that a reader at this snapshot has seen what it did.
    pub fn contains(&self, xid: Xid) -> bool {
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }

    /// Whether everything that had ended here had ended at `other`, too.
    pub fn is_within(&self, other: &Self) -> bool {
        let new_ones = other.xmax.0..self.xmax.0;
        let still_in_progress = || {
            let of_ours = self.in_progress.iter();
            of_ours.filter(|xid| new_ones.contains(&xid.0)).count() as u64
        };
        // Transactions that began after `other` must all have been in progress here.
        (self.xmax <= other.xmax || still_in_progress() == self.xmax.0 - other.xmax.0)
            && !other.in_progress.iter().any(|xid| self.contains(*xid))
    }

    /// What is left of it when nothing is believed of `xid` and those after it.
    #[must_use]
    pub fn below(&self, xid: Xid) -> Self {
        let earlier = self.in_progress.iter().filter(|&&running| running < xid);
        Self {
            xmin: self.xmin.min(xid),
            xmax: self.xmax.min(xid),
            in_progress: earlier.copied().collect(),
        }
    }

    /// Whether every transaction below `barrier` had ended.
    pub fn has_passed(&self, barrier: Xid) -> bool {
        self.xmin >= barrier
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin.0, self.xmax.0)?;
        for (index, xid) in self.in_progress.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", xid.0)?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = NotASnapshot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| NotASnapshot(text.chars().take(200).collect()))
    }
}

fn parse(text: &str) -> Option<Snapshot> {
    let mut parts = text.split(':');
    let xmin: Xid = parts.next()?.parse().ok()?;
    let xmax: Xid = parts.next()?.parse().ok()?;
    let list = parts.next()?;
    if parts.next().is_some() || xmin > xmax {
        return None;
    }
    let mut in_progress = Vec::new();
    if !list.is_empty() {
        for xid in list.split(',') {
            in_progress.push(xid.parse().ok()?);
        }
    }
    let ordered = in_progress.is_sorted_by(|a, b| a < b);
    let inside = in_progress.iter().all(|xid| (xmin..xmax).contains(xid));
    (ordered && inside).then_some(Snapshot {
        xmin,
        xmax,
        in_progress,
    })
}

impl FromStr for Xid {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        text.parse().expect("a snapshot")
    }

    #[test]
    fn a_snapshot_contains_what_had_ended() {
        let snapshot = snapshot("10:20:10,14");
        for (xid, ended) in [
            (1, true),
            (9, true),
            (10, false),
            (11, true),
            (14, false),
            (19, true),
            (20, false),
        ] {
            assert_eq!(snapshot.contains(Xid(xid)), ended, "{xid}");
        }
    }

    #[test]
    fn a_snapshot_is_within_one_that_contains_as_much() {
        for (one, other, within) in [
            ("10:20:10", "10:20:10", true),
            ("10:20:10", "20:20:", true),
            ("20:20:", "10:20:10", false),
            ("10:20:10,14", "14:30:14,25", true),
            ("10:20:10", "14:30:14,25", false),
            ("10:20:19", "10:19:", true),
            ("10:20:18,19", "10:18:", true),
            ("10:20:18", "10:18:", false),
            ("10:20:10", "10:19:10", false),
            ("10:30:10,25", "10:20:10", false),
        ] {
            let (a, b) = (snapshot(one), snapshot(other));
            assert_eq!(a.is_within(&b), within, "{one} in {other}");
            let really = (0..40).all(|xid| !a.contains(Xid(xid)) || b.contains(Xid(xid)));
            assert_eq!(really, within, "{one} in {other}, one by one");
        }
    }

    #[test]
    fn what_is_not_believed_is_not_contained_and_the_rest_stays() {
        for text in ["10:20:10,14", "5:30:5", "3:3:", "20:20:"] {
            let all = snapshot(text);
            for limit in [1, 4, 10, 14, 15, 40] {
                let believed = all.below(Xid(limit));
                for xid in 0..50 {
                    let expected = xid < limit && all.contains(Xid(xid));
                    assert_eq!(
                        believed.contains(Xid(xid)),
                        expected,
                        "{xid} in {text} below {limit}"
                    );
                }
                assert_eq!(
                    believed.to_string().parse(),
                    Ok(believed),
                    "{text} below {limit}"
                );
            }
        }
    }

    #[test]
    fn a_barrier_is_passed_when_nothing_below_it_is_in_progress() {
        for (text, barrier, passed) in [
            ("10:20:10", 10, true),
            ("10:20:10", 11, false),
            ("20:20:", 20, true),
            ("20:20:", 21, false),
        ] {
            assert_eq!(
                snapshot(text).has_passed(Xid(barrier)),
                passed,
                "{text} {barrier}"
            );
        }
    }

    #[test]
    fn text_goes_round() {
        for text in [
            "1:1:",
            "10:20:10,14,15",
            "18446744073709551614:18446744073709551615:18446744073709551614",
        ] {
            assert_eq!(snapshot(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in [
            "", "1", "1:2", "2:1:", "1:2:3", "1:5:3,2", "1:5:2,2", "1:2::", "a:b:c", "1:2:,",
            "-1:2:",
        ] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }
}
