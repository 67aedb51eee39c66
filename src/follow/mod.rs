//! A client of a running server: the events of a stream by URL, resumed where it broke off.
//!
//! *Owns* the client's half of the wire.
//! *Takes* a server's address, subscriptions, perhaps a token.
//! *Gives* events one by one; who asks for the next one after a break gets those that were missed.
//! *Never* retries what a server has refused.

mod event;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::db::{DatabaseConfigError, public_tls};
pub use event::Event;
use event::{Frames, TooLong};

/// How long a server may take to begin a stream.
const DEADLINE: Duration = Duration::from_secs(15);
/// Between attempts to come back: the first pause, which doubles, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How soon a connection that has died unnoticed is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// What is read of a refusal.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// A stream that comes back by itself.
pub struct Follower {
    http: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// As it was named.
    server: Box<str>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    /// The last position it was told; what comes after it is still to be told.
    position: Option<HeaderValue>,
    stream: Option<Stream>,
    pause: Duration,
}

struct Stream {
    body: Incoming,
    frames: Frames,
}

/// Why a stream cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No address of a server.
    #[error("{0:?} is no address of a server; write it as http://127.0.0.1:8090")]
    Address(String),
    /// Characters that no header may have.
    #[error("the token has characters that no token has")]
    Token,
    /// No certificates to trust.
    #[error("no secure connection can be made")]
    Tls(#[source] Box<DatabaseConfigError>),
    /// Nobody answers, or no longer.
    #[error("{server} cannot be reached; is the server running?")]
    Unreachable {
        /// The server.
        server: Box<str>,
        /// What is in the way.
        #[source]
        source: ClientError,
    },
    /// It took too long.
    #[error("{0} does not answer")]
    Silent(Box<str>),
    /// It has no room or no database at the moment.
    #[error("the server is busy or not ready ({status}): {message}")]
    Busy {
        /// Its status.
        status: StatusCode,
        /// What it says.
        message: String,
    },
    /// It refuses; asking again would not help.
    #[error("the server refuses ({status}): {message}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// What it says.
        message: String,
    },
    /// The answer is no stream.
    #[error("the server sends what is no event; is it a Rowcast, or a PocketBase?")]
    NoEvents(#[source] TooLong),
}

impl FollowError {
    /// Whether coming back later may help.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Silent(_) | Self::Busy { .. }
        )
    }
}

impl Follower {
    /// Prepares to follow these subscriptions at `server`, such as `http://127.0.0.1:8090`.
    ///
    /// # Errors
    /// If the address or the token cannot be one.
    pub fn new(server: &str, topics: &[String], token: Option<&str>) -> Result<Self, FollowError> {
        let topics = topics.iter().map(|topic| ("subscriptions", topic));
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(topics)
            .finish();
        let address = || FollowError::Address(server.to_owned());
        let uri = format!("{}/api/realtime?{query}", server.trim_end_matches('/'));
        let uri: Uri = uri.parse().map_err(|_| address())?;
        if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(address());
        }
        let authorization = token.map(HeaderValue::from_str).transpose();
        let mut authorization = authorization.map_err(|_| FollowError::Token)?;
        if let Some(token) = &mut authorization {
            token.set_sensitive(true);
        }
        let tls = public_tls().map_err(|error| FollowError::Tls(Box::new(error)));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls?);
        let connector = https.https_or_http().enable_http1();
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(connector.wrap_connector(tcp())),
            server: server.into(),
            uri,
            authorization,
            position: None,
            stream: None,
            pause: PAUSE_MIN,
        })
    }

    /// Begins the stream, and returns once the server has.
    ///
    /// # Errors
    /// If it does not.
    pub async fn connect(&mut self) -> Result<(), FollowError> {
        let mut request = Request::get(&self.uri)
            .header(ACCEPT, "text/event-stream")
            .header(USER_AGENT, concat!("rowcast/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.authorization {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(position) = &self.position {
            request = request.header("last-event-id", position);
        }
        let request = request
            .body(Empty::new())
            .expect("an address and good headers make a request");
        let response = timeout(DEADLINE, self.http.request(request)).await;
        let response = response.map_err(|_| FollowError::Silent(self.server.clone()))?;
        let response = response.map_err(|source| FollowError::Unreachable {
            server: self.server.clone(),
            source,
        })?;
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::OK {
            return Err(refusal(parts.status, body).await);
        }
        self.stream = Some(Stream {
            body,
            frames: Frames::default(),
        });
        Ok(())
    }

    /// The next event. Where the stream ends or breaks it comes back, as often as it takes, and is told
    /// what it has missed; `troubled` hears of attempts that failed.
    ///
    /// # Errors
    /// If the server refuses to go on.
    pub async fn next(
        &mut self,
        mut troubled: impl FnMut(&FollowError),
    ) -> Result<Event, FollowError> {
        loop {
            let Some(stream) = &mut self.stream else {
                match self.connect().await {
                    Ok(()) => self.pause = PAUSE_MIN,
                    Err(error) if error.may_pass() => {
                        troubled(&error);
                        sleep(self.pause).await;
                        self.pause = (self.pause * 2).min(PAUSE_MAX);
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            match stream.frames.next().map_err(FollowError::NoEvents)? {
                Some(event) => {
                    if let Some(position) = event.position() {
                        self.position = HeaderValue::from_str(position).ok();
                    }
                    if event.says_something() {
                        return Ok(event);
                    }
                }
                None => match stream.body.frame().await {
                    Some(Ok(frame)) => {
                        let bytes = frame.into_data().unwrap_or_default();
                        stream.frames.push(&bytes);
                    }
                    // Both are how streams end: that is what positions are for.
                    Some(Err(_)) | None => {
                        self.stream = None;
                        sleep(PAUSE_MIN).await;
                    }
                },
            }
        }
    }
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(DEADLINE));
    connector.set_keepalive(Some(KEEPALIVE));
    connector
}

/// What an answer says that is no stream.
async fn refusal(status: StatusCode, body: Incoming) -> FollowError {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let body = Limited::new(body, REFUSAL_BYTES_MAX).collect();
    let said = match timeout(DEADLINE, body).await {
        Ok(Ok(body)) => serde_json::from_slice::<Said>(&body.to_bytes()).ok(),
        _ => None,
    };
    let message = said.map_or_else(|| "it does not say why".to_owned(), |said| said.message);
    match status {
        StatusCode::TOO_MANY_REQUESTS => FollowError::Busy { status, message },
        status if status.is_server_error() => FollowError::Busy { status, message },
        status => FollowError::Refused { status, message },
    }
}
