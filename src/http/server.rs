//! The server: accepts connections, answers over them, and drains them at the end.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::direct::{self, Opening, opening};
use super::options::{HttpOptions, ServerOptions};
use super::pulse::Watched;
use super::stall::Guarded;
use crate::shutdown::Shutdown;

/// How much of one connection may wait to be written before its streams are asked for no more.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// How often an HTTP/2 connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a client may acknowledge nothing that was written to it. Less than what those who come back
/// by key are told again, so that nothing counts as told that was written to nobody.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// How long accepting pauses when the process has run out of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Connections that may wait until they are taken up. Where there are more, a client is ignored for a second before it
/// tries again; so many come at once after a restart. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// Takes a port. Must be called in a runtime.
///
/// # Errors
/// If somebody else has it, or it may not be taken.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // On Windows that would let others take it, too.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `router` on `listener` until told to stop; then lets connections finish for as long as
/// `options.server.drain`, and closes what is left.
///
/// A soft stop takes no new connections and ends idle ones. Streams end when the hub lets their
/// subscribers go, which is for the hub to do at the same signal.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: HttpOptions,
    shutdown: Shutdown,
) {
    let server = Arc::new(Server::new(router, options, shutdown.soft.clone()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.soft.cancelled() => break,
            (stream, peer, slot) = server.accept(&listener) => {
                connections.spawn(Arc::clone(&server).converse(stream, peer, slot));
            }
            // Only taken out here, so that the set does not grow with connections long gone.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drain(connections, server.options.drain, &shutdown.hard).await;
}

struct Server {
    router: Router,
    protocol: auto::Builder<Watched>,
    slots: Arc<Semaphore>,
    options: ServerOptions,
    soft: CancellationToken,
}

impl Server {
    fn new(router: Router, options: HttpOptions, soft: CancellationToken) -> Self {
        let slots = options
            .server
            .connections_max
            .clamp(1, Semaphore::MAX_PERMITS);
        Self {
            router,
            protocol: protocol(&options),
            slots: Arc::new(Semaphore::new(slots)),
            options: options.server,
            soft,
        }
    }

    /// The next connection and the right to keep it open. Safe to drop half-way.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, slot),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn Error,
                        "cannot accept connections; is `ulimit -n` too low?"
                    );
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Answers what is asked over one connection until it ends.
    async fn converse(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        _slot: OwnedSemaphorePermit,
    ) {
        // Events are small and shall leave at once.
        let _ = stream.set_nodelay(true);
        notice_death(&stream);
        loop {
            let opening = match self.opening(&mut stream).await {
                Ok(opening) => opening,
                Err(error) => return ended_early(&error),
            };
            let request = match opening {
                Opening::Stream(request) => *request,
                // Boxed, so that streams need no room for what only others do.
                Opening::Other => return Box::pin(self.converse_at_length(stream, peer)).await,
            };
            let response = Box::pin(self.respond(request, peer)).await;
            let write_stall_max = self.options.write_stall_max;
            stream = match direct::answer(stream, write_stall_max, response).await {
                Ok(stream) => stream,
                Err(error) => return ended_early(&error),
            };
        }
    }

    /// What a connection begins with, or goes on with; an error if it says nothing for too long, or is
    /// not to begin anything any more.
    async fn opening(&self, stream: &mut TcpStream) -> io::Result<Opening> {
        tokio::select! {
            opening = timeout(self.options.header_read_timeout, opening(stream)) => opening?,
            () = self.soft.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn respond(&self, mut request: Request<Body>, peer: SocketAddr) -> Response<Body> {
        request.extensions_mut().insert(ConnectInfo(peer));
        let Ok(response) = self.router.clone().call(request).await;
        response
    }

    /// Leaves a connection to hyper, which speaks all of HTTP/1 and HTTP/2.
    async fn converse_at_length(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let greeting_max = self.options.header_read_timeout;
        let stream = Guarded::new(stream, greeting_max, self.options.write_stall_max);
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.respond(request.map(Body::new), peer).await) }
        });
        let connection = self
            .protocol
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.soft.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            ended_early(&*error);
        }
    }
}

fn ended_early(error: &(dyn Error + 'static)) {
    tracing::debug!(error, "a connection ended early");
}

fn protocol(options: &HttpOptions) -> auto::Builder<Watched> {
    let mut protocol = auto::Builder::new(Watched::new(options));
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.server.header_read_timeout)
        .max_buf_size(WRITE_BUFFER_BYTES);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_send_buf_size(WRITE_BUFFER_BYTES);
    protocol
}

/// Lets the kernel end a connection whose peer acknowledges nothing. Without it, what is written to a
/// peer that has vanished counts as told for a quarter of an hour.
fn notice_death(stream: &TcpStream) {
    // Elsewhere such peers are noticed later, and whoever comes back may lack what was told meanwhile.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    if let Err(error) =
        socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
    {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a dead client may be noticed late"
        );
    }
    #[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
    let _ = stream;
}

/// Whether the error concerns only the connection that was about to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn drain(mut connections: JoinSet<()>, patience: Duration, hard: &CancellationToken) {
    let finished = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        _ = timeout(patience, finished) => {}
        () = hard.cancelled() => {}
    }
    if !connections.is_empty() {
        tracing::warn!(
            connections = connections.len(),
            "connections did not finish in time; closing them"
        );
    }
    connections.shutdown().await;
}
