//! What can be set about one webhook.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, Uri};

/// One webhook.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// What it is asked about or told.
    pub on: BTreeSet<Stage>,
    /// Where it is.
    pub url: WebhookUrl,
    /// What its requests are signed with.
    pub secret: WebhookSecret,
    /// How long one request may take, waiting for its turn included.
    pub timeout: Duration,
    /// What happens to whoever asks when there is no answer.
    pub failure: Failure,
    /// Requests at one time.
    pub concurrency: usize,
    /// What may wait to be told; further notices are left out and counted.
    pub queue: usize,
    /// How often a notice is tried again.
    pub retries: usize,
    /// Headers of the client's request that are passed on.
    pub forward_headers: Vec<HeaderName>,
    /// The topics whose messages it is told of.
    pub topics: Vec<String>,
}

/// What a webhook is asked about or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Asked before a stream is opened.
    Connect,
    /// Asked before subscriptions are replaced.
    Subscribe,
    /// Told of messages, many at a time.
    Message,
    /// Told of the end of streams.
    Disconnect,
}

/// What happens when a webhook that is asked does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failure {
    /// The request is refused.
    #[default]
    Closed,
    /// The request goes on as if it had agreed.
    Open,
}

impl WebhookOptions {
    /// The defaults.
    pub fn new(on: BTreeSet<Stage>, url: WebhookUrl, secret: WebhookSecret) -> Self {
        Self {
            on,
            url,
            secret,
            timeout: Duration::from_secs(5),
            failure: Failure::default(),
            concurrency: 64,
            queue: 10_000,
            retries: 8,
            forward_headers: Vec::new(),
            topics: Vec::new(),
        }
    }
}

/// Where a webhook is.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(pub(super) Uri);

/// Why requests cannot be sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It cannot be read.
    #[error("is no URL; write it like https://app.example/rowcast")]
    Unreadable,
    /// Its text would be shown with the password in it.
    #[error("holds a user name or a password; leave them out, requests are signed")]
    Password,
    /// Anybody on the way could answer.
    #[error(
        "is not encrypted, so that anybody on the way could answer; use https, which only addresses of this machine can do without"
    )]
    Plain,
    /// Another scheme.
    #[error("begins neither with https:// nor with http://")]
    Scheme,
}

impl FromStr for WebhookUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Unreadable)?;
        let authority = uri.authority().ok_or(UrlError::Unreadable)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::Password);
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if is_this_machine(authority.host()) => Ok(Self(uri)),
            Some("http") => Err(UrlError::Plain),
            _ => Err(UrlError::Scheme),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Without its query, which may hold a secret.
impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let (shown, query) = text
            .split_once('?')
            .map_or((&*text, ""), |(url, _)| (url, "?***"));
        write!(f, "{shown}{query}")
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What requests are signed with, written as `whsec_` and base64.
#[derive(Clone)]
pub struct WebhookSecret(pub(super) hmac::Key);

/// Why a secret is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no secret: whsec_ and 24 to 64 random bytes as base64; make one with `echo whsec_$(openssl rand -base64 32)`"
)]
pub struct SecretError;

impl FromStr for WebhookSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix("whsec_").ok_or(SecretError)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError)?;
        match bytes.len() {
            24..=64 => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            _ => Err(SecretError),
        }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
