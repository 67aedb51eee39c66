//! What can be set about the HTTP side.

use std::fmt;
use std::num::{NonZeroU32, ParseIntError};
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;

/// Timers, limits and trust of the HTTP side.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How long a stream may go without an event before it is closed.
    pub idle_timeout: Duration,
    /// How long a stream may live at most.
    pub lifetime_max: Duration,
    /// The share by which a stream's lifetime may be shortened at random, so that streams opened
    /// together do not end together; between 0 (exact) and 1.
    pub lifetime_jitter: f64,
    /// How long a stream may be silent before a comment is sent to keep proxies from closing it;
    /// `None` sends none.
    pub heartbeat: Option<Duration>,
    /// How long a refused stream request waits for its answer, and how old a stream must be before
    /// it is closed: some clients come back at once, without any pause of their own.
    pub reconnect_delay_min: Duration,
    /// The largest request body.
    pub body_bytes_max: usize,
    /// How long one request other than a stream may take, its body included.
    pub request_timeout: Duration,
    /// How long a subscription may wait, after the process has started, for capture to reach the
    /// database.
    pub placed_timeout: Duration,
    /// Origins that browsers may call from: `*`, exact ones, or patterns with `*` and `?`.
    pub allowed_origins: Vec<String>,
    /// Headers, in order, that a trusted proxy sets to the client's address; none are trusted by
    /// default.
    pub trusted_proxy_headers: Vec<HeaderName>,
    /// Which address of a trusted header's list counts.
    pub trusted_proxy_position: ProxyPosition,
    /// How many logins a second one address may try; `None` does not count them.
    pub login_rate: Option<LoginRate>,
    /// How long capture may be behind before the service is not ready.
    pub ready_behind_max: Duration,
    /// How long the database may be silent before the service is not ready.
    pub ready_silence_max: Duration,
    /// The server's own limits.
    pub server: ServerOptions,
}

/// Logins per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRate(pub NonZeroU32);

impl Default for LoginRate {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).expect("five is not zero");
        Self(FIVE)
    }
}

impl fmt::Display for LoginRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl FromStr for LoginRate {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        number.parse().map(Self)
    }
}

/// Which valid address of a list in a trusted proxy header counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyPosition {
    /// The first; only safe where the proxy replaces what the client sent.
    Leftmost,
    /// The last, which the proxy itself has added.
    #[default]
    Rightmost,
}

/// Limits of connections, whatever is asked over them.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Connections at one time; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long a client may take to send a request's head.
    pub header_read_timeout: Duration,
    /// How long a client may accept no bytes while some wait for it.
    pub write_stall_max: Duration,
    /// How long connections may take to finish after the process was told to stop.
    pub drain: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(300),
            lifetime_max: Duration::from_secs(1_800),
            lifetime_jitter: 0.2,
            heartbeat: Some(Duration::from_secs(25)),
            reconnect_delay_min: Duration::from_secs(1),
            body_bytes_max: 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            placed_timeout: Duration::from_secs(10),
            allowed_origins: vec!["*".to_owned()],
            trusted_proxy_headers: Vec::new(),
            trusted_proxy_position: ProxyPosition::default(),
            login_rate: Some(LoginRate::default()),
            ready_behind_max: Duration::from_secs(10),
            ready_silence_max: Duration::from_secs(60),
            server: ServerOptions::default(),
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 120_000,
            header_read_timeout: Duration::from_secs(60),
            write_stall_max: Duration::from_secs(60),
            drain: Duration::from_secs(20),
        }
    }
}
