//! The hub's end of a mailbox: where frames are put in. Dropping the last one ends the stream.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::time::Instant;

use super::desk::Desk;
use crate::frame::Frame;

/// Puts frames into one mailbox; never waits.
#[derive(Debug)]
pub(in crate::hub) struct Slot(Arc<Desk>);

/// Why a frame was not put in.
#[derive(Debug)]
pub(in crate::hub) enum Refused {
    /// As many frames wait as may.
    Full(Frame),
    /// The stream has ended.
    Closed,
}

/// A mailbox whose frames are to be carried out: whoever has it sees to that.
#[derive(Debug)]
#[must_use = "nobody else carries the frames"]
pub(in crate::hub) struct Errand(Option<Arc<Desk>>);

impl Slot {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        desk.add_slot();
        Self(desk)
    }

    /// Puts a frame in, which counts as sent then. Where nobody sees to the mailbox just now, the caller must.
    ///
    /// # Errors
    /// If there is no room, or nobody to read it.
    pub(in crate::hub) fn put(&self, frame: Frame) -> Result<Option<Errand>, Refused> {
        let is_caller = self.0.put(frame)?;
        Ok(is_caller.then(|| Errand(Some(Arc::clone(&self.0)))))
    }

    /// Frames that may wait.
    pub(in crate::hub) fn room_max(&self) -> usize {
        self.0.frames_max()
    }

    /// Frames that wait.
    pub(in crate::hub) fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// Whether the stream has ended.
    pub(in crate::hub) fn is_closed(&self) -> bool {
        self.0.is_left()
    }

    /// How many frames were put in, and how many of them were taken out.
    pub(in crate::hub) fn sent_and_taken(&self) -> (u64, u64) {
        self.0.sent_and_taken()
    }
}

impl Clone for Slot {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.remove_slot();
    }
}

impl Errand {
    /// Writes what waits, as far as the client takes it at once. An outlet that panics ends its own stream, nobody's round.
    pub(in crate::hub) fn run(mut self, now: Instant) {
        let Some(desk) = self.0.take() else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| desk.carry(now))).is_err() {
            desk.cut();
        }
    }
}

/// An errand that nobody ran, as when the process ends, is left to the stream's task.
impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(desk) = self.0.take() {
            desk.pass_on();
        }
    }
}
