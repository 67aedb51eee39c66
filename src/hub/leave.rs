//! View-exact streams: what an update means to those who asked to be told when a record leaves.

use super::encoded::Shown;
use super::verdict::{Passing, Seen};

/// What somebody is told of an update, given whether it may see the row before (`None` if nobody knows
/// that row) and the row after.
///
/// A record whose old row is unknown may have been seen or not. To say that it left would give away its
/// id, and to say nothing would leave it standing: whoever may see anything at all loads afresh.
pub(super) fn seen_of_update(
    before: Option<Passing>,
    after: Passing,
    shown: impl FnOnce() -> Shown,
    may_ever_pass: impl FnOnce() -> bool,
) -> Seen {
    match (before, after) {
        (Some(Passing::Unknown(before)), Passing::Unknown(after)) => {
            Seen::Perhaps(before.max(after))
        }
        (Some(Passing::Unknown(until)), _) | (_, Passing::Unknown(until)) => Seen::Perhaps(until),
        (Some(Passing::No), Passing::Yes) => Seen::Entering(shown()),
        (Some(Passing::Yes) | None, Passing::Yes) => Seen::Record(shown()),
        (Some(Passing::Yes), Passing::No) => Seen::Leaving,
        (Some(Passing::No), Passing::No) => Seen::Nothing,
        (None, Passing::No) if may_ever_pass() => Seen::Unpaired,
        (None, Passing::No) => Seen::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::record::Visibility;

    const SHOWN: Shown = Shown {
        visibility: Visibility::Plain,
        expansion: None,
    };

    #[test]
    fn an_update_is_told_by_what_was_seen_and_what_is_seen() {
        use Passing::{No, Yes};
        let unknown = Passing::Unknown(Instant::now());
        for (before, after, may_ever, told) in [
            (Some(Yes), Yes, true, "update"),
            (Some(No), Yes, true, "create"),
            (Some(Yes), No, true, "leave"),
            (Some(No), No, true, "nothing"),
            (Some(unknown), Yes, true, "perhaps"),
            (Some(unknown), No, true, "perhaps"),
            (Some(unknown), unknown, true, "perhaps"),
            (Some(Yes), unknown, true, "perhaps"),
            (Some(No), unknown, true, "perhaps"),
            (None, unknown, true, "perhaps"),
            (None, Yes, true, "update"),
            (None, No, true, "resync"),
            (None, No, false, "nothing"),
        ] {
            let seen = seen_of_update(before, after, || SHOWN, || may_ever);
            let word = match seen {
                Seen::Record(_) => "update",
                Seen::Entering(_) => "create",
                Seen::Leaving => "leave",
                Seen::Nothing => "nothing",
                Seen::Unpaired => "resync",
                Seen::Perhaps(_) => "perhaps",
            };
            assert_eq!(word, told, "{before:?} {after:?} {may_ever}");
        }
    }
}
