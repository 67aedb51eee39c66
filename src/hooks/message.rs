//! Before an event is written to one stream.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Chain, DisconnectReason, Subscriber};
use crate::auth::Principal;
use crate::telemetry::Metrics;

/// An event that is about to be written to one stream: PB_CONNECT too, heartbeats not.
#[non_exhaustive]
pub struct Message<'m> {
    /// To which stream.
    pub subscriber: &'m Subscriber,
    /// Who that is now.
    pub principal: &'m Principal,
    /// The event's name: the subscription, byte for byte. What is not one line without control
    /// characters is not written.
    pub name: String,
    /// The event's data, one line. The bytes are shared with all who receive the same: replace them.
    pub data: Bytes,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageFlow {
    /// The next hook is asked; after the last one it is written.
    #[default]
    Next,
    /// It is not written, and the stream goes on as if it had been: its idle time starts again.
    Skip,
    /// The stream ends here, in good order.
    Abort,
}

/// What is asked, in the stream's own task, which nobody else waits for. A hook that blocks keeps this
/// stream and its neighbours on the same thread from moving, so it must not wait.
pub type MessageHook = Arc<dyn for<'a> Fn(&'a mut Message<'_>) -> MessageFlow + Send + Sync>;

/// What the hooks make of a message together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is written as it is now.
    Written,
    /// It is not.
    Skipped,
    /// The stream ends.
    Ended(DisconnectReason),
}

impl<'m> Message<'m> {
    /// An event.
    pub fn new(
        subscriber: &'m Subscriber,
        principal: &'m Principal,
        name: String,
        data: Bytes,
    ) -> Self {
        Self {
            subscriber,
            principal,
            name,
            data,
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("subscriber", self.subscriber)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl Chain<MessageHook> {
    /// Binds a hook, or replaces the one with this id. It must not wait.
    pub fn bind<F>(&self, id: &str, priority: i32, hook: F)
    where
        F: for<'a> Fn(&'a mut Message<'_>) -> MessageFlow + Send + Sync + 'static,
    {
        self.insert(id, priority, Arc::new(hook));
    }

    /// Asks all, until one skips or ends.
    pub(crate) fn run(&self, message: &mut Message<'_>, metrics: &Metrics) -> Told {
        for bound in self.bound().iter() {
            match bound.call("message", metrics, |hook| hook(message)) {
                Ok(MessageFlow::Next) => {}
                Ok(MessageFlow::Skip) => return Told::Skipped,
                Ok(MessageFlow::Abort) => return Told::Ended(DisconnectReason::Aborted),
                Err(_) => return Told::Ended(DisconnectReason::HookPanicked),
            }
        }
        Told::Written
    }
}
