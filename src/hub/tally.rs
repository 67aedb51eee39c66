//! What is counted while an item is decided about: it counts once, however often that is done.

use std::cell::{Cell, RefCell};

use crate::telemetry::Metrics;

/// Counts that do not stand yet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By reason; the reasons are few.
    rule_errors: RefCell<Vec<(&'static str, u64)>>,
    expand_missing: RefCell<Vec<(&'static str, u64)>>,
    unwritable_frames: Cell<u64>,
    decisions: Cell<u64>,
}

impl Tally {
    /// A rule could not be decided.
    pub(super) fn rule_error(&self, reason: &'static str) {
        count(&mut self.rule_errors.borrow_mut(), reason);
    }

    /// Related records were left out.
    pub(super) fn expand_missing(&self, reason: &'static str) {
        count(&mut self.expand_missing.borrow_mut(), reason);
    }

    /// A frame would have broken a stream.
    pub(super) fn unwritable_frame(&self) {
        self.unwritable_frames.set(self.unwritable_frames.get() + 1);
    }

    /// Rules and filters were asked about a row, for one subscriber or several.
    pub(super) fn decision(&self) {
        self.decisions.set(self.decisions.get() + 1);
    }

    /// Forgets what was counted.
    pub(super) fn clear(&self) {
        self.rule_errors.borrow_mut().clear();
        self.expand_missing.borrow_mut().clear();
        self.unwritable_frames.set(0);
        self.decisions.set(0);
    }

    /// Hands over what was counted, and begins anew.
    pub(super) fn commit(&self, metrics: &Metrics) {
        for (reason, count) in self.rule_errors.borrow_mut().drain(..) {
            Metrics::count_by(&metrics.rule_errors, reason, count);
        }
        for (reason, count) in self.expand_missing.borrow_mut().drain(..) {
            Metrics::count_by(&metrics.expand_missing, reason, count);
        }
        metrics
            .unwritable_frames
            .inc_by(self.unwritable_frames.take());
        metrics.decisions.inc_by(self.decisions.take());
    }
}

fn count(counts: &mut Vec<(&'static str, u64)>, reason: &'static str) {
    match counts.iter_mut().find(|(counted, _)| *counted == reason) {
        Some((_, count)) => *count += 1,
        None => counts.push((reason, 1)),
    }
}
