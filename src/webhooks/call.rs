//! One signed request, within limits, redirected nowhere.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rand::RngExt;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::{Decision, Said, refusal};
use super::count;
use super::options::{Failure, WebhookOptions};
use super::sign::signature;
use crate::db::{DatabaseConfigError, public_tls};
use crate::hooks::Refusal;
use crate::telemetry::Metrics;

/// No answer is larger: a thousand subscriptions fit in.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Only this machine is asked without TLS, and then nobody needs to be trusted.
enum Http {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Secure(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Http {
    fn request(&self, request: Request<Full<Bytes>>) -> ResponseFuture {
        match self {
            Self::Plain(client) => client.request(request),
            Self::Secure(client) => client.request(request),
        }
    }
}

/// Sends the requests of one webhook; cloning shares its connections and its turns.
#[derive(Clone)]
pub(super) struct Caller(Arc<Inner>);

struct Inner {
    options: Arc<WebhookOptions>,
    /// Made when first used: reading the machine's certificates takes a while.
    http: OnceCell<Http>,
    turns: Semaphore,
    /// Whether the last request came to nothing; only the first of a series is worth a warning.
    is_failing: AtomicBool,
}

/// Why there is no answer to go by.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("there was no answer in time")]
    Timeout,
    #[error("no secure connection can be made")]
    Tls(#[source] Box<DatabaseConfigError>),
    #[error("the request failed")]
    Request(#[source] ClientError),
    #[error("it answered {0}, which means nothing here")]
    Status(StatusCode),
    #[error("its answer broke off, or has more than 4 MiB")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("its answer is not understood")]
    Nonsense,
}

impl CallError {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls(_) | Self::Request(_) => "unreachable",
            Self::Status(_) => "status",
            Self::Body(_) | Self::Nonsense => "answer",
        }
    }
}

impl Caller {
    pub(super) fn new(options: Arc<WebhookOptions>) -> Self {
        Self(Arc::new(Inner {
            turns: Semaphore::new(options.concurrency),
            options,
            http: OnceCell::new(),
            is_failing: AtomicBool::new(false),
        }))
    }

    pub(super) fn options(&self) -> &WebhookOptions {
        &self.0.options
    }

    /// Asks, once: whoever waits for the answer would rather come again than wait longer.
    ///
    /// # Errors
    /// If the answer is a refusal, or there is none and that counts as one.
    pub(super) async fn ask(
        &self,
        stage: &'static str,
        payload: &Value,
        metrics: &Metrics,
    ) -> Result<Decision, Refusal> {
        let asked = self.send(&message_id(), payload).await;
        let (status, body) = match asked {
            Ok(answer) => answer,
            Err(error) => return self.without_answer(stage, &error, metrics),
        };
        if let Some(refusal) = refusal(status, &body) {
            self.succeeded();
            return Err(refusal);
        }
        if !status.is_success() {
            return self.without_answer(stage, &CallError::Status(status), metrics);
        }
        match Said::read(&body) {
            Some(said) => {
                self.succeeded();
                Ok(Decision::Said(said))
            }
            None => self.without_answer(stage, &CallError::Nonsense, metrics),
        }
    }

    /// Tells; a good answer is any that says so by its status.
    ///
    /// # Errors
    /// If there was none. It is counted and logged.
    pub(super) async fn tell(
        &self,
        id: &str,
        stage: &'static str,
        payload: &Value,
        metrics: &Metrics,
    ) -> Result<(), CallError> {
        let told = match self.send(id, payload).await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, _)) => Err(CallError::Status(status)),
            Err(error) => Err(error),
        };
        match &told {
            Ok(()) => self.succeeded(),
            Err(error) => self.note(stage, error, metrics),
        }
        told
    }

    fn without_answer(
        &self,
        stage: &'static str,
        error: &CallError,
        metrics: &Metrics,
    ) -> Result<Decision, Refusal> {
        self.note(stage, error, metrics);
        match self.options().failure {
            Failure::Open => Ok(Decision::Open),
            Failure::Closed => {
                let message = "The application behind this feed does not answer. Try again later.";
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message);
                Err(refusal.retry_after(Duration::from_secs(5)))
            }
        }
    }

    fn note(&self, stage: &'static str, error: &CallError, metrics: &Metrics) {
        count(metrics, stage, error.as_str());
        let (error, url) = (error as &dyn Error, &self.options().url);
        match self.0.is_failing.swap(true, Ordering::Relaxed) {
            false => tracing::warn!(
                error,
                webhook.url = %url,
                stage,
                "a webhook did not do what it was asked; further failures are counted only"
            ),
            true => tracing::debug!(
                error,
                webhook.url = %url,
                stage,
                "a webhook did not do what it was asked"
            ),
        }
    }

    fn succeeded(&self) {
        if self.0.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!(webhook.url = %self.options().url, "a webhook answers again");
        }
    }

    async fn send(&self, id: &str, payload: &Value) -> Result<(StatusCode, Bytes), CallError> {
        let sent = async {
            let turn = self.0.turns.acquire().await;
            let answer = self.send_now(id, payload).await;
            drop(turn);
            answer
        };
        let sent = timeout(self.options().timeout, sent).await;
        sent.unwrap_or(Err(CallError::Timeout))
    }

    async fn send_now(&self, id: &str, payload: &Value) -> Result<(StatusCode, Bytes), CallError> {
        let http = self
            .0
            .http
            .get_or_try_init(|| client(&self.options().url.0));
        let http = http.await?;
        let response = http.request(self.request(id, payload)).await;
        let (parts, body) = response.map_err(CallError::Request)?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        Ok((parts.status, body.map_err(CallError::Body)?.to_bytes()))
    }

    fn request(&self, id: &str, payload: &Value) -> Request<Full<Bytes>> {
        let WebhookOptions { url, secret, .. } = self.options();
        let body = payload.to_string();
        // Of now, also for what is tried again: whoever checks it refuses old ones.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs();
        Request::post(&url.0)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("rowcast/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header(
                "webhook-signature",
                signature(secret, id, seconds, body.as_bytes()),
            )
            .body(Full::from(body))
            .expect("an address and good headers make a request")
    }
}

/// The name of one event, the same each time it is told.
pub(super) fn message_id() -> String {
    let mut rng = rand::rng();
    format!("msg_{:032x}", rng.random::<u128>())
}

async fn client(url: &Uri) -> Result<Http, CallError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE_MAX);
    builder.pool_timer(TokioTimer::new());
    if url.scheme_str() == Some("http") {
        return Ok(Http::Plain(builder.build(tcp)));
    }
    let tls = spawn_blocking(public_tls).await;
    let tls = tls.expect("reading certificates does not panic");
    let tls = tls.map_err(|error| CallError::Tls(Box::new(error)))?;
    let https = HttpsConnectorBuilder::new().with_tls_config(tls);
    let https = https.https_only().enable_http1().wrap_connector(tcp);
    Ok(Http::Secure(builder.build(https)))
}
