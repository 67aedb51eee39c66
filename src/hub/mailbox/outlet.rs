//! Where frames go without waking their stream's task.

use std::sync::Arc;

use bytes::Bytes;

use super::desk::Desk;

/// A client's socket, or what stands for it.
pub trait Outlet: Send + Sync {
    /// Writes as much of a chunk as is taken at once. What is left stays with the outlet.
    ///
    /// Never waits. Only ever called by one thread at a time, and not while the stream's task has something to write. If it
    /// panics, nobody knows what the client has received, and the stream ends.
    fn write(&self, chunk: Bytes) -> Written;
}

/// How much of a chunk was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// All of it.
    Whole,
    /// A part, or nothing. The stream's task is woken to write the rest.
    InPart,
}

/// The right to give a mailbox an outlet: its frames are then written by whoever puts them in, or by a task that does
/// so for many, and its stream's task is only woken for what they cannot do.
#[derive(Debug, Clone)]
pub struct Forwarding(pub(super) Arc<Desk>);

impl Forwarding {
    /// From the moment at which the stream's task waits for frames next, they go there.
    pub fn to(&self, outlet: Arc<dyn Outlet>) {
        self.0.set_outlet(outlet);
    }

    /// Whether the outlet has a rest, which the stream's task is to write now. Until then the mailbox gives it nothing.
    pub fn has_rest(&self) -> bool {
        self.0.has_rest()
    }

    /// The rest was written.
    pub fn rest_is_written(&self) {
        self.0.rest_is_written();
    }
}
