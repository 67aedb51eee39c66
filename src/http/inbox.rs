//! The frames of one stream, as far as hooks let them through.

use std::task::{Context, Poll, ready};

use super::connection::{Connection, Passed};
use super::direct::Shortcut;
use super::room::Room;
use crate::frame::Frame;
use crate::hooks::DisconnectReason;
use crate::hub::{Mailbox, Told};
use crate::telemetry::Metrics;

/// What a client makes of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It is one of PocketBase's.
    Sdk,
    /// It knows nothing but server-sent events, and remembers positions of its own accord.
    Plain,
    /// The same, and it shows data as it is.
    Html,
}

/// What a stream reads.
pub(super) struct Inbox {
    /// `None` once the subscriber has left.
    mailbox: Option<Mailbox>,
    connection: Connection,
    manner: Manner,
    /// Whether a hook has skipped something since this was asked last.
    has_skipped: bool,
}

impl Inbox {
    pub(super) fn new(mailbox: Mailbox, connection: Connection, manner: Manner) -> Self {
        Self {
            mailbox: Some(mailbox),
            connection,
            manner,
            has_skipped: false,
        }
    }

    /// PB_CONNECT; `None` if a hook wants it otherwise.
    pub(super) fn opening(&mut self) -> Option<Frame> {
        let client_id = &self.connection.client_id().0;
        let frame = match self.manner {
            Manner::Sdk => Frame::connect(client_id),
            Manner::Plain | Manner::Html => Frame::connect_plain(client_id),
        };
        self.pass(frame)
    }

    /// The next frame; `None` at the end.
    pub(super) fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        while let Some(mailbox) = &mut self.mailbox {
            let Some(frame) = ready!(mailbox.poll_recv(context)) else {
                // The hub has counted why.
                self.end(self.connection.reason_of_hub());
                break;
            };
            if let Some(frame) = self.pass(frame) {
                return Poll::Ready(Some(frame));
            }
        }
        Poll::Ready(None)
    }

    /// The next frame, if there is one already. For whoever has one that is not written yet.
    pub(super) fn try_recv(&mut self) -> Option<Frame> {
        while let Some(mailbox) = &mut self.mailbox {
            let frame = mailbox.try_recv()?;
            if let Some(frame) = self.pass(frame) {
                return Some(frame);
            }
        }
        None
    }

    /// Ready once nothing is written to the stream without this inbox; nothing is then before the next
    /// [`poll_recv`](Self::poll_recv).
    pub(super) fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.mailbox {
            Some(mailbox) => mailbox.poll_hold(context),
            None => Poll::Ready(()),
        }
    }

    /// When something was written without this inbox.
    pub(super) fn told(&self) -> Told {
        self.mailbox.as_ref().map(Mailbox::told).unwrap_or_default()
    }

    /// The way past this inbox, for frames that nobody here wants to see.
    pub(super) fn shortcut(&self) -> Option<Shortcut> {
        if self.manner == Manner::Html || self.connection.has_message_hooks() {
            return None;
        }
        let metrics = self.metrics().clone();
        let forwarding = self.mailbox.as_ref()?.forwarding();
        Some(Shortcut::new(forwarding, metrics))
    }

    /// Whether the subscriber is still there.
    pub(super) fn is_open(&self) -> bool {
        self.mailbox.is_some()
    }

    /// Whether a hook has skipped something since the last time.
    pub(super) fn take_skipped(&mut self) -> bool {
        std::mem::take(&mut self.has_skipped)
    }

    /// Leaves the hub of its own accord, and counts why.
    pub(super) fn leave(&mut self, reason: DisconnectReason) {
        Metrics::count(&self.metrics().disconnects, reason.as_str());
        self.end(reason);
    }

    pub(super) fn room(&self) -> &Room {
        self.connection.room()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.room().neighbours.metrics
    }

    fn end(&mut self, reason: DisconnectReason) {
        self.connection.end(reason);
        self.mailbox = None;
    }

    fn pass(&mut self, frame: Frame) -> Option<Frame> {
        match self.connection.pass(frame) {
            // Hooks see the same data on every stream.
            Passed::Frame(frame) if self.manner == Manner::Html => return Some(frame.spelt_out()),
            Passed::Frame(frame) => return Some(frame),
            Passed::Skipped => self.has_skipped = true,
            Passed::Dropped => {}
            Passed::Ended(reason) => self.leave(reason),
        }
        None
    }
}
