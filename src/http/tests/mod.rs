//! The wire, as seen from outside: whole requests against the router, and bytes on a socket.

mod bodies;
mod hooks;
mod routes;
mod socket;
mod streams;
mod subscriptions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::{HttpOptions, Neighbours, router};
use crate::auth::{Authenticate, Login, Principal, Proof};
use crate::hooks::Hooks;
use crate::hub::fake::FakeHub;
use crate::messages::Messenger;
use crate::telemetry::{HealthReporter, Metrics, health};

const NOT_FOUND: &str =
    "{\"data\":{},\"message\":\"The requested resource wasn't found.\",\"status\":404}\n";
const GENERIC: &str = "{\"data\":{},\"message\":\"Something went wrong while processing your request.\",\"status\":400}\n";

/// The HTTP side between a fake hub and a fake authenticator.
struct Edge {
    hub: FakeHub,
    hooks: Hooks,
    metrics: Metrics,
    reporter: HealthReporter,
    router: Router,
}

/// A whole answer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Edge {
    fn new() -> Self {
        Self::with(HttpOptions::default())
    }

    fn with(options: HttpOptions) -> Self {
        let hub = FakeHub::start();
        let hooks = Hooks::new();
        let metrics = Metrics::new();
        let (reporter, monitor) = health();
        reporter.placed();
        let neighbours = Neighbours {
            hub: hub.handle.clone(),
            hooks: hooks.clone(),
            authenticator: Arc::new(RootOnly),
            login: Login::of_nobody(),
            health: monitor,
            metrics: metrics.clone(),
            log: None,
            messenger: Messenger::of_nobody(),
            templates: crate::templates::Templates::default(),
        };
        Self {
            hub,
            hooks,
            metrics,
            reporter,
            router: router(neighbours, options),
        }
    }

    /// Sends a request as from 10.0.0.9 and returns as soon as the head is answered.
    async fn open(&self, mut request: Request<Body>) -> Response<Body> {
        let peer = SocketAddr::from(([10, 0, 0, 9], 4711));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = self.router.clone().oneshot(request).await;
        answer.expect("the router never fails")
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.open(request).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("UTF-8"),
        }
    }
}

impl Answer {
    /// All lines of one header.
    fn lines(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.get_all(name).iter();
        lines.map(|line| line.to_str().expect("ASCII")).collect()
    }
}

fn get(path: &str) -> Request<Body> {
    request("GET", path, &[], "")
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let body = Body::from(body.to_owned());
    builder.body(body).expect("a request")
}

/// Knows one token, `root`.
struct RootOnly;

impl Authenticate for RootOnly {
    fn authenticate<'a>(&'a self, authorization: Option<&'a str>) -> BoxFuture<'a, Proof> {
        let principal = match authorization {
            Some("root") => root(),
            Some("panic") => panic!("asked to"),
            Some("unchecked") => return std::future::ready(Proof::unchecked()).boxed(),
            _ => Principal::Guest,
        };
        std::future::ready(principal.into()).boxed()
    }
}

fn root() -> Principal {
    Principal::Superuser { id: "root".into() }
}

/// Waits until `seen` is something, and fails with `what` after ten seconds.
async fn eventually<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(seen) = seen() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(10), wait).await;
    outcome.unwrap_or_else(|_| panic!("not seen within ten seconds: {what}"))
}
