//! A subscriber's mailbox: where its frames wait, who hands them out, and whose dropping makes it leave.

mod desk;
mod outlet;
mod rounds;
mod slot;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use rand::RngExt;
use tokio::sync::mpsc;

use super::line::Line;
use crate::frame::Frame;
use desk::Desk;

pub use desk::Told;
pub use outlet::{Forwarding, Outlet, Written};
pub(super) use rounds::Rounds;
pub(super) use slot::{Refused, Slot};

/// A subscriber's public name: 40 random letters and digits, unguessable (section 1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientId(pub Arc<str>);

impl ClientId {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const LEN: usize = 40;

    /// Draws a new id from the thread's cryptographic generator.
    pub fn random() -> Self {
        let mut rng = rand::rng();
        let id: String = (0..Self::LEN)
            .map(|_| char::from(Self::ALPHABET[rng.random_range(0..Self::ALPHABET.len())]))
            .collect();
        Self(id.into())
    }
}

/// Ids are looked up by the text that a request carries.
impl Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The receiving end of one subscriber. Dropping it is how a subscriber leaves.
#[derive(Debug)]
pub struct Mailbox {
    id: ClientId,
    desk: Arc<Desk>,
    line: Arc<Line>,
    departures: mpsc::UnboundedSender<ClientId>,
}

impl Mailbox {
    /// A mailbox in which so many frames may wait, and the hub's end of it.
    pub(super) fn new(
        id: ClientId,
        frames_max: usize,
        departures: mpsc::UnboundedSender<ClientId>,
    ) -> (Self, Slot) {
        let desk = Arc::new(Desk::new(frames_max));
        let slot = Slot::new(Arc::clone(&desk));
        let mailbox = Self {
            id,
            desk,
            line: Arc::default(),
            departures,
        };
        (mailbox, slot)
    }

    /// What the hub and the stream know of each other.
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// The subscriber's public name.
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// The right to have frames written without this end.
    pub fn forwarding(&self) -> Forwarding {
        Forwarding(Arc::clone(&self.desk))
    }

    /// The next frame; `None` once the hub has let this subscriber go and all frames were taken. Whoever asks has
    /// written all that it has taken: while it waits, frames may go to the outlet.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        self.desk.poll_take(context)
    }

    /// The next frame, if there is one already, for somebody who has one that is not written yet.
    pub fn try_recv(&mut self) -> Option<Frame> {
        self.desk.take_another()
    }

    /// Ready once nothing is written to the outlet; nothing is until the next [`poll_recv`](Self::poll_recv).
    pub fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.desk.poll_hold(context)
    }

    /// When something was written to the outlet.
    pub fn told(&self) -> Told {
        self.desk.told()
    }

    /// The next frame, as [`poll_recv`](Self::poll_recv). Safe to drop half-way.
    pub async fn recv(&mut self) -> Option<Frame> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }
}

/// The hub's end of a mailbox for whom nobody reads.
#[cfg(test)]
pub(super) fn unread(id: &str) -> (ClientId, Slot) {
    let id = ClientId(id.into());
    let (_, slot) = Mailbox::new(id.clone(), 1, mpsc::unbounded_channel().0);
    (id, slot)
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.desk.leave();
        // Fails only when the hub is gone, and with it everything there is to leave. The channel is
        // unbounded but never holds more entries than there were subscribers.
        let _ = self.departures.send(self.id.clone());
    }
}

#[cfg(test)]
mod tests;
