//! A subscriber's mailbox: where its frames wait, and whose dropping makes it leave.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use rand::RngExt;
use tokio::sync::mpsc;

use super::line::Line;
use crate::frame::Frame;

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
    frames: mpsc::Receiver<Frame>,
    line: Arc<Line>,
    departures: mpsc::UnboundedSender<ClientId>,
}

impl Mailbox {
    pub(super) fn new(
        id: ClientId,
        frames: mpsc::Receiver<Frame>,
        departures: mpsc::UnboundedSender<ClientId>,
    ) -> Self {
        Self {
            id,
            frames,
            line: Arc::default(),
            departures,
        }
    }

    /// What the hub and the stream know of each other.
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// The subscriber's public name.
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// The next frame; `None` once the hub has let this subscriber go and all frames were taken.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let frame = self.frames.poll_recv(context);
        if let Poll::Ready(Some(_)) = frame {
            self.line.take();
        }
        frame
    }

    /// The next frame, as [`poll_recv`](Self::poll_recv). Safe to drop half-way.
    pub async fn recv(&mut self) -> Option<Frame> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // Fails only when the hub is gone, and with it everything there is to leave. The channel is
        // unbounded but never holds more entries than there were subscribers.
        let _ = self.departures.send(self.id.clone());
    }
}
