//! How far the hub has come: everything that was delivered, as far as positions can say it.

use crate::event::Position;

/// A set of transactions, as a union of positions. Mostly that is one. After the reader of the log
/// has begun anew it may be two for a moment, neither of which includes the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Extent(Vec<Position>);

impl From<Position> for Extent {
    fn from(position: Position) -> Self {
        Self(vec![position])
    }
}

impl Extent {
    /// Takes in what a position contains.
    pub(super) fn reach(&mut self, position: &Position) {
        // Of another epoch nothing can be said any more.
        self.0
            .retain(|old| !position.includes(old) && old.epoch() == position.epoch());
        if !self.includes(position) {
            self.0.push(position.clone());
        }
    }

    /// Whether everything that a position contains is in here, for certain.
    pub(super) fn includes(&self, position: &Position) -> bool {
        self.0.iter().any(|own| own.includes(position))
    }

    /// Whether everything in here is contained in a position, for certain.
    pub(super) fn is_within(&self, position: &Position) -> bool {
        !self.0.is_empty() && self.0.iter().all(|own| position.includes(own))
    }

    /// The newest position; whoever goes on from there misses nothing. `None` before the first.
    pub(super) fn newest(&self) -> Option<&Position> {
        self.0.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        text.parse().expect("a position")
    }

    #[test]
    fn it_grows_and_forgets_what_is_included() {
        let mut extent = Extent::default();
        assert!(extent.newest().is_none() && !extent.is_within(&position("e:9:9:")));
        extent.reach(&position("e:5:5:"));
        extent.reach(&position("e:5:5::5:9::a0.6"));
        assert_eq!(extent.0.len(), 1);
        assert!(extent.includes(&position("e:5:5:")));
        assert!(!extent.includes(&position("e:9:9:")));
        extent.reach(&position("e:4:4:"));
        assert_eq!(extent.newest(), Some(&position("e:5:5::5:9::a0.6")));
    }

    #[test]
    fn what_neither_of_two_includes_is_kept_of_both() {
        let mut extent = Extent::default();
        extent.reach(&position("e:20:20:"));
        // Read again from an older place: the transaction 12 stands before others delivered earlier.
        extent.reach(&position("e:10:10::10:21::a0.12"));
        assert!(!extent.is_within(&position("e:20:20:")));
        assert!(!extent.is_within(&position("e:10:10::10:21::a0.12")));
        assert!(extent.is_within(&position("e:21:21:")));
        extent.reach(&position("e:21:21:"));
        assert_eq!(extent.0.len(), 1);
    }

    #[test]
    fn another_epoch_begins_anew() {
        let mut extent = Extent::default();
        extent.reach(&position("e:20:20:"));
        extent.reach(&position("f:3:3:"));
        assert!(extent.is_within(&position("f:3:3:")));
        assert!(!extent.includes(&position("e:20:20:")));
    }
}
