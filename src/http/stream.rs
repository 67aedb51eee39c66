//! One SSE stream: PB_CONNECT, then whatever the hub puts into the mailbox (contract, section 1).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame as BodyFrame;
use tokio::time::{Instant, sleep};

use super::address::ClientAddress;
use super::connection::{Connection, Terms};
use super::errors::ApiError;
use super::inbox::{Inbox, Manner};
use super::plain::PlainRequest;
use super::pulse::Pulse;
use super::room::Room;
use super::timers::{Due, Timers};
use crate::frame::{Frame, gather};
use crate::hooks::DisconnectReason;
use crate::hub::JoinError;
use crate::telemetry::Metrics;

/// `GET /api/realtime`: registers a subscriber and streams to it. Subscriptions may stand in the
/// query, for clients that know nothing but server-sent events.
pub(super) async fn open(
    State(room): State<Room>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<Response, ApiError> {
    let plain = PlainRequest::of(&request)?;
    let (request, _) = request.into_parts();
    let mut connection = Connection::new(room.clone(), address);
    let terms = match connection.ask(&request).await {
        Ok(Some(terms)) => terms,
        Ok(None) => {
            turned_away(&room, "swallowed").await;
            return Ok(stream_response(Unwritten));
        }
        Err(error) => {
            connection.end(DisconnectReason::Refused);
            turned_away(&room, "hook").await;
            return Err(error);
        }
    };
    let mailbox = match room
        .neighbours
        .hub
        .join_as(connection.client_id(), address)
        .await
    {
        Ok(mailbox) => mailbox,
        Err(error) => {
            connection.end(DisconnectReason::Refused);
            return Ok(refuse(&room, error).await);
        }
    };
    connection.joined(&mailbox);
    let manner = match &plain {
        None => Manner::Sdk,
        Some(plain) if plain.takes_html => Manner::Html,
        Some(_) => Manner::Plain,
    };
    if manner == Manner::Html {
        mailbox.line().take_html();
    }
    if let Some(plain) = plain
        && let Err(error) = plain
            .subscribe(&room, address, mailbox.id(), &request.headers)
            .await
    {
        connection.end(DisconnectReason::Refused);
        return Err(error);
    }
    let inbox = Inbox::new(mailbox, connection, manner);
    let shortcut = inbox.shortcut();
    let mut response = stream_response(EventStream::new(inbox, &terms));
    if let Some(shortcut) = shortcut {
        response.extensions_mut().insert(shortcut);
    }
    replace_headers(response.headers_mut(), terms.headers);
    Ok(response)
}

/// `HEAD /api/realtime`: the same head, and no subscriber.
pub(super) async fn head() -> Response {
    // Not `Body::empty`, whose known length would be announced as the stream's.
    stream_response(Unwritten)
}

/// Some clients ask again at once, in a loop, whatever the answer; so they wait for theirs.
async fn refuse(room: &Room, error: JoinError) -> Response {
    let reason = match error {
        JoinError::TooMany => "too_many",
        JoinError::TooManyFromAddress => "too_many_from_address",
        JoinError::Stopped => "stopping",
    };
    turned_away(room, reason).await;
    ApiError::from(error).into_response()
}

async fn turned_away(room: &Room, reason: &'static str) {
    Metrics::count(&room.neighbours.metrics.rejections, reason);
    sleep(room.options.reconnect_delay_min).await;
}

/// Lets some headers stand instead of those of their names.
fn replace_headers(headers: &mut HeaderMap, own: HeaderMap) {
    for name in own.keys() {
        headers.remove(name);
    }
    let mut last = None;
    for (name, value) in own {
        // Further lines of a header come without its name.
        last = name.or(last);
        if let Some(name) = &last {
            headers.append(name, value);
        }
    }
}

fn stream_response<B>(body: B) -> Response
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    const HEADERS: [(HeaderName, HeaderValue); 3] = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Without a charset: some servers in between do not know the type with one.
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (HEADERS, Body::new(body)).into_response()
}

/// The body of a stream. Dropping it is how the subscriber leaves.
struct EventStream {
    /// Whether PB_CONNECT is still to come.
    is_new: bool,
    inbox: Inbox,
    timers: Timers,
    /// Before this the stream does not end, even if nothing more comes.
    end_not_before: Instant,
    pulse: Pulse,
}

impl EventStream {
    fn new(inbox: Inbox, terms: &Terms) -> Self {
        let options = &inbox.room().options;
        Self {
            timers: Timers::start(terms.idle_timeout, terms.lifetime, options.heartbeat),
            end_not_before: Instant::now() + options.reconnect_delay_min.min(MINUTE),
            is_new: true,
            inbox,
            pulse: Pulse::own(),
        }
    }

    /// The next bytes to write; `None` at the end.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if std::mem::take(&mut self.is_new)
            && let Some(frame) = self.inbox.opening()
        {
            self.timers.delivered();
            return Poll::Ready(Some(frame.into_bytes()));
        }
        if !self.inbox.is_open() {
            return self.poll_end(context);
        }
        let due = self.timers.poll_due(context, || self.inbox.told());
        if due == Poll::Ready(Due::Lifetime) {
            ready!(self.inbox.poll_hold(context));
            return self.leave(DisconnectReason::Lifetime, context);
        }
        match self.inbox.poll_recv(context) {
            Poll::Ready(Some(frame)) => {
                let (chunk, has_events) = gather(frame, || self.inbox.try_recv());
                match has_events {
                    true => self.timers.delivered(),
                    // A mark keeps a stream from being silent, but nothing has happened.
                    false => self.timers.beaten(),
                }
                Poll::Ready(Some(chunk))
            }
            Poll::Ready(None) => self.poll_end(context),
            Poll::Pending if self.inbox.take_skipped() => {
                self.timers.skipped();
                self.poll_chunk(context)
            }
            Poll::Pending => {
                let due = ready!(due);
                ready!(self.inbox.poll_hold(context));
                self.poll_idle(due, context)
            }
        }
    }

    fn poll_idle(&mut self, due: Due, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match due {
            Due::Lifetime => self.leave(DisconnectReason::Lifetime, context),
            Due::Idle => self.leave(DisconnectReason::Idle, context),
            Due::Heartbeat => {
                self.timers.beaten();
                Poll::Ready(Some(Frame::heartbeat().into_bytes()))
            }
        }
    }

    fn leave(
        &mut self,
        reason: DisconnectReason,
        context: &mut Context<'_>,
    ) -> Poll<Option<Bytes>> {
        self.inbox.leave(reason);
        self.poll_end(context)
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        ready!(self.timers.poll_at(self.end_not_before, context));
        Poll::Ready(None)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.pulse.beat();
        let chunk = ready!(self.poll_chunk(context));
        if let Some(chunk) = &chunk {
            self.inbox.metrics().stream_bytes.inc_by(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| Ok(BodyFrame::data(chunk))))
    }
}

/// A body that nobody reads, of unknown length.
struct Unwritten;

impl http_body::Body for Unwritten {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}
