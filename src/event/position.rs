//! A place in the change log, understood by every node: the set of transactions delivered so far.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::snapshot::{Snapshot, Xid};

/// Which transaction did something, and where it stands among those of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Transaction {
    /// Where the write-ahead log stood when its last statement ended: transactions that are read
    /// together are handed on in this order.
    pub end: u64,
    /// Its id, with epoch (`xid8`).
    pub xid: u64,
}

/// A set of transactions of one epoch of the log: all that a snapshot contains, and perhaps some of
/// those that a later one contains.
///
/// Its text is opaque for clients: `<epoch>:<snapshot>` or `<epoch>:<snapshot>:<snapshot>:<end>.<xid>`, where
/// a snapshot is Postgres' own text, `xmin:xmax:xip,…`. The epoch names one incarnation of the
/// log on one timeline of one cluster, and after a dot the life of Postgres if it has ever crashed; positions of
/// different epochs are not comparable. Of one from an earlier life of the same log something can still be believed
/// ([`below`](Self::below)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    epoch: Arc<str>,
    before: Arc<Snapshot>,
    within: Option<Within>,
}

/// How far a read had come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Within {
    after: Arc<Snapshot>,
    last: Transaction,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no position in the change log")]
pub struct NotAPosition;

impl Position {
    /// Bytes of a text that are looked at; a snapshot with hundreds of transactions in progress is shorter.
    const TEXT_BYTES_MAX: usize = 16 * 1024;

    /// Everything that the snapshot contains.
    pub fn new(epoch: Arc<str>, before: Arc<Snapshot>) -> Self {
        Self {
            epoch,
            before,
            within: None,
        }
    }

    /// The same, and those that `after` contains beside, as far as they stand no later than `last`.
    #[must_use]
    pub fn and_until(&self, after: &Arc<Snapshot>, last: Transaction) -> Self {
        let within = Some(Within {
            after: Arc::clone(after),
            last,
        });
        Self {
            within,
            ..self.clone()
        }
    }

    /// The same for somebody who has seen what `seen` contains for certain, too.
    #[must_use]
    pub fn beside(&self, seen: &Self) -> Self {
        let adds = self.within.is_some()
            && self.epoch == seen.epoch
            && self.before.is_within(&seen.before);
        let before = if adds { &seen.before } else { &self.before };
        Self {
            before: Arc::clone(before),
            ..self.clone()
        }
    }

    /// The epoch in which it means something.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The log in which it means something, whatever life of Postgres it is from.
    pub fn log(&self) -> &str {
        log_of(&self.epoch)
    }

    /// The life of Postgres it is from; empty before the first crash.
    pub fn life(&self) -> &str {
        self.epoch.split_once('.').map_or("", |(_, life)| life)
    }

    /// What may be believed of it in another life of Postgres, where no id below `xid` was given again.
    #[must_use]
    pub fn below(&self, xid: Xid, epoch: Arc<str>) -> Self {
        Self::new(epoch, Arc::new(self.before.below(xid)))
    }

    /// What it contains for certain: reading from here leaves out nothing that it does not contain.
    pub fn floor(&self) -> &Arc<Snapshot> {
        &self.before
    }

    /// Whether everything that `other` contains is in here, for certain: where it cannot be told from
    /// the two alone, the answer is no.
    pub fn includes(&self, other: &Self) -> bool {
        if self.epoch != other.epoch || !other.before.is_within(&self.before) {
            return false;
        }
        let Some(theirs) = &other.within else {
            return true;
        };
        theirs.after.is_within(&self.before)
            || self
                .within
                .as_ref()
                .is_some_and(|ours| theirs.last <= ours.last && theirs.after.is_within(&ours.after))
    }

    /// Whether what a transaction did has been delivered.
    pub fn contains(&self, transaction: Transaction) -> bool {
        let xid = Xid(transaction.xid);
        self.before.contains(xid)
            || self
                .within
                .as_ref()
                .is_some_and(|within| within.after.contains(xid) && transaction <= within.last)
    }
}

/// The part of an epoch that a crash does not change.
pub fn log_of(epoch: &str) -> &str {
    epoch.split_once('.').map_or(epoch, |(log, _)| log)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.before)?;
        if let Some(Within { after, last }) = &self.within {
            write!(f, ":{after}:{:x}.{}", last.end, last.xid)?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or(NotAPosition)
    }
}

fn parse(text: &str) -> Option<Position> {
    if text.len() > Position::TEXT_BYTES_MAX {
        return None;
    }
    let parts: Vec<&str> = text.split(':').collect();
    let snapshot = |parts: &[&str]| parts.join(":").parse::<Snapshot>().ok().map(Arc::new);
    let (epoch, before, rest) = match &parts[..] {
        [epoch, rest @ ..] if !epoch.is_empty() && rest.len() >= 3 => {
            (*epoch, snapshot(&rest[..3])?, &rest[3..])
        }
        _ => return None,
    };
    let position = Position::new(epoch.into(), before);
    match rest {
        [] => Some(position),
        [after @ .., last] if after.len() == 3 => {
            let (end, xid) = last.split_once('.')?;
            let last = Transaction {
                end: u64::from_str_radix(end, 16).ok()?,
                xid: xid.parse().ok()?,
            };
            Some(position.and_until(&snapshot(after)?, last))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(end: u64, xid: u64) -> Transaction {
        Transaction { end, xid }
    }

    #[test]
    fn a_position_contains_what_was_delivered_and_nothing_else() {
        let position: Position = "e1:10:20:10,14:10:30:14,25:a0.22"
            .parse()
            .expect("a position");
        for (transaction, delivered) in [
            (at(1, 9), true),
            (at(1, 12), true),
            // In progress at first and ended within the read, before and after where it broke off.
            (at(0x90, 10), true),
            (at(0xa1, 10), false),
            (at(0x90, 14), false),
            (at(0x90, 21), true),
            (at(0xa0, 22), true),
            (at(0xa0, 23), false),
            (at(0xb0, 20), false),
            (at(0x10, 25), false),
            (at(0x10, 30), false),
        ] {
            assert_eq!(position.contains(transaction), delivered, "{transaction:?}");
        }
    }

    #[test]
    fn who_had_seen_more_has_that_beside_what_is_told() {
        for (told, seen, both) in [
            (
                "e:10:10::10:30::a0.22",
                "e:10:20:10",
                "e:10:20:10:10:30::a0.22",
            ),
            (
                "e:10:10::10:30::a0.22",
                "e:10:20:10:20:25::90.21",
                "e:10:20:10:10:30::a0.22",
            ),
            // Nothing that is not known for certain, nothing of elsewhere, and nothing where all is told already.
            (
                "e:10:15::10:30::a0.22",
                "e:10:20:10",
                "e:10:15::10:30::a0.22",
            ),
            (
                "e:10:10::10:30::a0.22",
                "f:10:20:10",
                "e:10:10::10:30::a0.22",
            ),
            ("e:30:30:", "e:10:20:10", "e:30:30:"),
        ] {
            let position = |text: &str| text.parse::<Position>().expect(text);
            assert_eq!(
                position(told).beside(&position(seen)).to_string(),
                both,
                "{told} beside {seen}"
            );
        }
    }

    #[test]
    fn a_position_includes_those_before_it() {
        let along = [
            "e1:10:20:10,14",
            "e1:10:20:10,14:10:30:14,25:90.22",
            "e1:10:20:10,14:10:30:14,25:a0.21",
            "e1:14:30:14,25",
            "e1:14:30:14,25:14:40:14:b0.35",
            "e1:40:40:",
        ];
        let along = along.map(|text| text.parse::<Position>().expect(text));
        for (one, earlier) in along.iter().enumerate() {
            for (other, later) in along.iter().enumerate() {
                assert_eq!(later.includes(earlier), one <= other, "{later} {earlier}");
            }
        }
        let elsewhere: Position = "e2:40:40:".parse().expect("a position");
        assert!(!elsewhere.includes(&along[0]));
    }

    #[test]
    fn after_a_crash_a_position_means_only_what_is_believed_of_it() {
        let position: Position = "e1.ab:10:20:10:10:30:14,25:a0.22".parse().expect("it");
        assert_eq!((position.log(), position.life()), ("e1", "ab"));
        let believed = position.below(Xid(15), "e1.cd".into());
        assert_eq!(believed.to_string(), "e1.cd:10:15:10");
        assert_eq!(believed.log(), position.log());
        let first: Position = "e1:10:20:10".parse().expect("it");
        assert_eq!((first.log(), first.life()), ("e1", ""));
    }

    #[test]
    fn text_goes_round() {
        for text in [
            "e1:10:20:10,14",
            "e1:20:20:",
            "e1:10:20:10,14:10:30:14,25:a0.22",
            "00000001abc:5:5::5:6::ffffffffffffffff.5",
        ] {
            let position: Position = text.parse().expect(text);
            assert_eq!(position.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_no_positions() {
        for text in [
            "",
            ":",
            "e1",
            "e1:",
            "e1:10:20",
            ":10:20:",
            "e1:20:10:",
            "e1:10:20::",
            "e1:10:20::10:30:",
            "e1:10:20::10:30::a0",
            "e1:10:20::10:30::xy.1",
            "e1:10:20::10:30::a0.1:",
            "vTnZ0jQY3Q9nKc0bHqXwE8sRrUeA1mWd5LzPgFoB",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition), "{text}");
        }
        assert!("1".repeat(20_000).parse::<Position>().is_err());
    }
}
