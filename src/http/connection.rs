//! One stream from the request for it to its end: what hooks are asked, and who is told of the end.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tokio::time::{Instant, timeout};

use super::errors::ApiError;
use super::room::{Neighbours, Room};
use super::subscribe::text_of;
use super::timers::lifetime;
use crate::frame::Frame;
use crate::hooks::{
    Connect, Disconnect, DisconnectReason, Flow, Message, StreamToken, Subscriber, Told,
};
use crate::hub::{ClientId, Line, Mailbox};

/// Dropping it is the end, and the disconnect hooks are told then: exactly once, whatever happens.
pub(super) struct Connection {
    room: Room,
    subscriber: Subscriber,
    since: Instant,
    line: Option<Arc<Line>>,
    reason: Option<DisconnectReason>,
    /// What connect hooks hold for as long as this lasts.
    held: Vec<Box<dyn Any + Send>>,
    /// Who waits for all streams to end waits for this one.
    _open: StreamToken,
}

/// On which terms a stream is opened.
pub(super) struct Terms {
    pub(super) idle_timeout: Duration,
    pub(super) lifetime: Duration,
    /// Headers beside the usual ones.
    pub(super) headers: HeaderMap,
}

/// What becomes of a frame.
pub(super) enum Passed {
    Frame(Frame),
    /// It is not written, by the will of a message hook.
    Skipped,
    /// It is not written, because nobody could say what it is.
    Dropped,
    Ended(DisconnectReason),
}

impl Connection {
    /// A request for a stream.
    pub(super) fn new(room: Room, address: IpAddr) -> Self {
        let ClientId(client_id) = ClientId::random();
        Self {
            _open: room.neighbours.hooks.farewells().open(),
            room,
            subscriber: Subscriber { client_id, address },
            since: Instant::now(),
            line: None,
            reason: None,
            held: Vec::new(),
        }
    }

    /// The name of the stream.
    pub(super) fn client_id(&self) -> ClientId {
        ClientId(Arc::clone(&self.subscriber.client_id))
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Asks the connect hooks; `None` if one of them answers instead.
    ///
    /// # Errors
    /// If one of them refuses, or nobody can say who asks, or they take too long.
    pub(super) async fn ask(&mut self, request: &Parts) -> Result<Option<Terms>, ApiError> {
        // What hooks hold need not be shared between threads, so nothing of this is borrowed below.
        let room = self.room.clone();
        let Neighbours { hooks, .. } = &room.neighbours;
        let options = &room.options;
        let subscriber = self.subscriber.clone();
        let mut connect = Connect::new(subscriber, options.idle_timeout, lifetime(options));
        if hooks.connect.is_empty() {
            return Ok(Some(Terms::of(connect)));
        }
        connect.uri = request.uri.clone();
        connect.headers = request.headers.clone();
        let asked = Box::pin(ask_hooks(&room, &mut connect));
        let asked = timeout(options.request_timeout, asked).await;
        let asked = asked.unwrap_or_else(|_| Err(ApiError::overloaded()));
        self.held = connect.take_held();
        match asked {
            Ok(Flow::Next) => Ok(Some(Terms::of(connect))),
            Ok(Flow::Stop) => {
                self.end(DisconnectReason::Swallowed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The hub has a mailbox for it.
    pub(super) fn joined(&mut self, mailbox: &Mailbox) {
        self.line = Some(Arc::clone(mailbox.line()));
    }

    /// Notes why it ends; the first reason holds.
    pub(super) fn end(&mut self, reason: DisconnectReason) {
        self.reason.get_or_insert(reason);
    }

    /// Why the hub has ended it, if it has; otherwise it has stopped.
    pub(super) fn reason_of_hub(&self) -> DisconnectReason {
        let ended = self.line.as_ref().and_then(|line| line.ended());
        ended.unwrap_or(DisconnectReason::Stopping)
    }

    /// Asks the hooks about a frame, where they are to be asked.
    pub(super) fn pass(&self, frame: Frame) -> Passed {
        let frame = match frame.finish() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Passed::Dropped,
            Err(_) => return Passed::Ended(DisconnectReason::HookPanicked),
        };
        match self.has_message_hooks() {
            true => self.ask_about(frame),
            false => Passed::Frame(frame),
        }
    }

    /// Whether anybody is to be asked about frames.
    pub(super) fn has_message_hooks(&self) -> bool {
        !self.room.neighbours.hooks.message.is_empty()
    }

    fn ask_about(&self, frame: Frame) -> Passed {
        let Neighbours { hooks, metrics, .. } = &self.room.neighbours;
        let Some((id, name, data)) = frame.parts() else {
            return Passed::Frame(frame);
        };
        let line = self.line.as_ref();
        let principal = line.map(|line| line.principal()).unwrap_or_default();
        let mut message = Message::new(&self.subscriber, &principal, name.to_owned(), data.clone());
        match hooks.message.run(&mut message, metrics) {
            Told::Skipped => Passed::Skipped,
            Told::Ended(reason) => Passed::Ended(reason),
            Told::Written if message.name == name && message.data == data => Passed::Frame(frame),
            Told::Written => match Frame::event(id, &message.name, &message.data) {
                Some(frame) => Passed::Frame(frame),
                None => {
                    metrics.unwritable_frames.inc();
                    Passed::Dropped
                }
            },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Neighbours { hooks, metrics, .. } = &self.room.neighbours;
        if hooks.disconnect.is_empty() {
            return;
        }
        let line = self.line.as_ref();
        let reason = self.reason.or_else(|| line?.ended());
        let disconnect = Disconnect::new(
            self.subscriber.clone(),
            line.map(|line| line.principal()).unwrap_or_default(),
            reason.unwrap_or(DisconnectReason::ClientGone),
            self.since.elapsed(),
        );
        hooks.tell_end(disconnect, metrics);
    }
}

async fn ask_hooks(room: &Room, connect: &mut Connect) -> Result<Flow, ApiError> {
    let Neighbours {
        hooks,
        metrics,
        authenticator,
        ..
    } = &room.neighbours;
    let authorization = text_of(&connect.headers, &AUTHORIZATION).map(str::to_owned);
    let proof = authenticator.authenticate(authorization.as_deref()).await;
    // A hook that lets in whom it knows must not be asked about somebody it cannot know.
    if proof.is_unchecked {
        return Err(ApiError::unchecked());
    }
    connect.principal = proof.principal;
    Ok(hooks.connect.run(connect, metrics).await?)
}

impl Terms {
    fn of(connect: Connect) -> Self {
        Self {
            idle_timeout: connect.idle_timeout,
            lifetime: connect.lifetime,
            headers: connect.response_headers,
        }
    }
}
