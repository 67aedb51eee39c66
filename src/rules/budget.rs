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
    /// Some tens of milliseconds.
    const STEPS: usize = 8_000_000;

    pub(super) fn new() -> Self {
        Self(Cell::new(Self::STEPS))
    }

    pub(super) fn spend(&self, steps: usize) -> Result<(), Exhausted> {
        let left = self.0.get().checked_sub(steps).ok_or(Exhausted)?;
        self.0.set(left);
        Ok(())
    }
}
