//! How much work one decision may make.

use std::cell::Cell;

/// The rule, the row and the values of the request make more work than one decision may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted;

/// Steps that are left: about one per character looked at. A client chooses filters, and somebody
/// fills rows, so somebody must end what they make together.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    /// For a rule, which the owner of the collection wrote: some tens of milliseconds.
    const STEPS_RULE: usize = 8_000_000;
    /// For a filter, which anybody may write, and a thousand of them: a few milliseconds at most.
    const STEPS_FILTER: usize = 500_000;

    /// What a rule may spend.
    pub(super) fn of_rule() -> Self {
        Self(Cell::new(Self::STEPS_RULE))
    }

    /// What a subscriber's filter may spend.
    pub(super) fn of_filter() -> Self {
        Self(Cell::new(Self::STEPS_FILTER))
    }

    pub(super) fn spend(&self, steps: usize) -> Result<(), Exhausted> {
        let left = self.0.get().checked_sub(steps).ok_or(Exhausted)?;
        self.0.set(left);
        Ok(())
    }
}
