//! A key set behind a URL, kept fresh by a task of its own.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fetch::{Address, Answer, FetchError, Source};
use super::key_set::{Key, KeySet};
use super::options::{ForeignAlgorithm, ForeignError, ForeignOptions};
use crate::telemetry::Metrics;

/// What an issuer says about how long its keys are good is followed within these bounds: so that
/// neither we ask all the time nor a key that was withdrawn is believed for long.
const AGE_MIN: Duration = Duration::from_secs(60);
const AGE_MAX: Duration = Duration::from_secs(60 * 60);
/// Pause after the first failure; doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long a token with an unknown key waits for a fetch.
const ASK_PATIENCE: Duration = Duration::from_secs(12);

/// The keys behind a URL; cloning shares them. Nothing is fetched unless a [`KeySetKeeper`] runs.
#[derive(Clone)]
pub(super) struct KeyUrl(Arc<Shared>);

struct Shared {
    uri: Uri,
    only: Option<ForeignAlgorithm>,
    refresh: Duration,
    refetch: Duration,
    published: watch::Sender<Published>,
    /// Somebody has shown a token whose key is unknown.
    asked: Notify,
}

/// What is known of the set.
#[derive(Clone, Default)]
struct Published {
    /// What the issuer said last; kept while it does not answer.
    set: Arc<KeySet>,
    /// How often it was asked, and when the last time.
    attempts: u64,
    tried: Option<Instant>,
}

impl KeyUrl {
    /// Looks at the URL.
    pub(super) fn new(url: &str, options: &ForeignOptions) -> Result<Self, ForeignError> {
        Ok(Self(Arc::new(Shared {
            uri: checked(url, options.jwks_http)?,
            only: options.algorithm,
            refresh: options.jwks_refresh,
            refetch: options.jwks_refetch,
            published: watch::Sender::default(),
            asked: Notify::new(),
        })))
    }

    /// The key of this name; an unknown one is asked for, but not too often. Safe to drop half-way.
    pub(super) async fn find(&self, id: Option<&str>) -> Option<Arc<Key>> {
        let shared = &*self.0;
        let mut published = shared.published.subscribe();
        let Published {
            set,
            attempts,
            tried,
        } = published.borrow_and_update().clone();
        if let Some(key) = set.find(id) {
            return Some(key);
        }
        // Without a name there is nothing new to look for, unless nothing is known yet.
        let hopeless = id.is_none() && !set.is_empty();
        if hopeless || tried.is_some_and(|at| at.elapsed() < shared.refetch) {
            return None;
        }
        shared.asked.notify_one();
        let answered = published.wait_for(|now| now.attempts > attempts);
        let answered = timeout(ASK_PATIENCE, answered).await.ok()?.ok()?;
        answered.set.find(id)
    }

    pub(super) fn keeper(&self, metrics: Metrics) -> KeySetKeeper {
        KeySetKeeper {
            shared: Arc::clone(&self.0),
            metrics,
            etag: None,
            failures: 0,
        }
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.uri.fmt(f)
    }
}

/// Only over TLS, except from this machine.
fn checked(url: &str, http_anywhere: bool) -> Result<Uri, ForeignError> {
    let refused = |problem: &'static str| ForeignError::Url {
        url: url.to_owned(),
        problem,
    };
    let uri: Uri = url.parse().map_err(|_| {
        refused("is no URL; write it like https://issuer.example/.well-known/jwks.json")
    })?;
    let host = uri.host().unwrap_or_default();
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        // Not even its text is repeated: it holds a password.
        return Err(ForeignError::UrlWithPassword);
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if http_anywhere || is_this_machine(host) => Ok(uri),
        Some("http") => Err(refused(
            "is not encrypted, so anybody on the way could put in keys of their own; use https, or set \
             jwt_jwks_http = true if the network is yours alone",
        )),
        _ => Err(refused("begins neither with https:// nor with http://")),
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|it| it.is_loopback())
}

/// Fetches a key set again and again; a task as long-lived as the server.
pub struct KeySetKeeper {
    shared: Arc<Shared>,
    metrics: Metrics,
    etag: Option<HeaderValue>,
    /// How often it failed since it last succeeded.
    failures: u32,
}

impl KeySetKeeper {
    /// Fetches until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let source = Address::new(self.shared.uri.clone());
        // What is under way may be dropped: nothing is half done.
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep(source) => {}
        }
    }

    pub(super) async fn keep(mut self, mut source: impl Source) {
        loop {
            let answer = source.get(self.etag.clone()).await;
            let pause = self.take(answer);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.asked() => {}
            }
        }
    }

    /// Waits until somebody asks for a key and it may be looked for.
    async fn asked(&self) {
        loop {
            self.shared.asked.notified().await;
            // Who asked while the last answer was under way has been served by it.
            let tried = self.shared.published.borrow().tried;
            if tried.is_none_or(|at| at.elapsed() >= self.shared.refetch) {
                return;
            }
        }
    }

    /// Publishes what came of a request, and says how long to wait for the next.
    fn take(&mut self, answer: Result<Answer, FetchError>) -> Duration {
        let set = answer.and_then(|answer| {
            let set = answer.body.map(|body| self.read(&body)).transpose()?;
            self.etag = answer.etag;
            Ok((set, answer.max_age))
        });
        match set {
            Ok((set, max_age)) => {
                let outcome = if set.is_some() { "new" } else { "unchanged" };
                self.succeeded(outcome);
                self.publish(set);
                let age = max_age.map_or(self.shared.refresh, |it| it.clamp(AGE_MIN, AGE_MAX));
                // A little earlier at random, so that many servers do not ask together.
                age.mul_f64(1.0 - rand::random::<f64>() / 10.0)
            }
            Err(error) => {
                self.publish(None);
                self.failed(&error)
            }
        }
    }

    fn read(&self, body: &[u8]) -> Result<KeySet, FetchError> {
        let source = self.shared.uri.to_string();
        KeySet::read(body, self.shared.only, &source).map_err(FetchError::NoSet)
    }

    fn publish(&self, set: Option<KeySet>) {
        self.shared.published.send_modify(|published| {
            if let Some(set) = set {
                published.set = set.into();
            }
            published.attempts += 1;
            published.tried = Some(Instant::now());
        });
    }

    fn succeeded(&mut self, outcome: &'static str) {
        Metrics::count(&self.metrics.key_set_fetches, outcome);
        let first = self.shared.published.borrow().attempts == 0;
        if first || self.failures > 0 {
            tracing::info!(url = %self.shared.uri, "fetched the key set");
        }
        self.failures = 0;
    }

    fn failed(&mut self, error: &FetchError) -> Duration {
        Metrics::count(&self.metrics.key_set_fetches, "failed");
        let pause = RETRY_MIN * 2_u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let consequence = match self.shared.published.borrow().set.is_empty() {
            true => "tokens of the other issuer are refused until it is there",
            false => "the keys from before stay in use",
        };
        tracing::warn!(
            url = %self.shared.uri,
            error = error as &dyn Error,
            failures = self.failures,
            "could not fetch the key set; {consequence}"
        );
        pause.min(RETRY_MAX).min(self.shared.refresh)
    }
}
