//! What operators ask: is it alive, is it ready, what does it count.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::time::Instant;

use super::errors::JsonLine;
use super::room::Room;
use crate::telemetry::{BrokenRule, CaptureState, SlowLookup};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Serialize)]
struct Answer<T> {
    message: &'static str,
    code: u16,
    data: T,
}

#[derive(Serialize)]
struct Nothing {}

/// What `/api/ready` tells beside yes or no; times in whole seconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness<'r> {
    capture: &'static str,
    capture_since_seconds: u64,
    last_contact_seconds: Option<u64>,
    trouble: Option<&'static str>,
    rules: Rules<'r>,
    lookups: Vec<HeldBack<'r>>,
}

/// A collection whose records are not looked up for now, because the last lookup took too long. Who may miss
/// something for that is told to load afresh.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeldBack<'h> {
    collection: &'h str,
    retry_seconds: u64,
}

/// Which rules cannot be used, and deny. Anybody may ask, so neither their texts nor the names of
/// fields are told; `rowcast doctor` and the log tell them.
#[derive(Serialize)]
struct Rules<'r> {
    broken: Vec<Broken<'r>>,
    /// How many more there are.
    more: usize,
}

#[derive(Serialize)]
struct Broken<'b> {
    collection: &'b str,
    kind: &'b str,
    error: &'static str,
}

/// Broken rules, and lookups held back, that are named.
const BROKEN_MAX: usize = 20;

impl<'r> Rules<'r> {
    fn new(broken: &'r [BrokenRule]) -> Self {
        let shown = broken.iter().take(BROKEN_MAX).map(|rule| Broken {
            collection: &rule.collection,
            kind: &rule.kind,
            error: rule.error,
        });
        Self {
            broken: shown.collect(),
            more: broken.len().saturating_sub(BROKEN_MAX),
        }
    }
}

/// The process answers; says nothing about the database.
pub(super) async fn live() -> Response {
    let answer = Answer {
        message: "API is healthy.",
        code: 200,
        data: Nothing {},
    };
    JsonLine(answer).into_response()
}

/// Events can be relied on: capture is connected and not behind.
pub(super) async fn ready(State(room): State<Room>) -> Response {
    let options = &room.options;
    let monitor = &room.neighbours.health;
    let trouble = monitor.trouble(options.ready_behind_max, options.ready_silence_max);
    let broken = monitor.broken_rules();
    let slow = monitor.slow_lookups();
    let (status, message) = match trouble {
        None if !broken.is_empty() => (
            StatusCode::OK,
            "Events are flowing, but some rules are broken and deny.",
        ),
        None if !slow.is_empty() => (
            StatusCode::OK,
            "Events are flowing, but some rules read records that the database does not find in time.",
        ),
        None => (StatusCode::OK, "Events are flowing."),
        Some(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Events may be late or missing.",
        ),
    };
    let health = monitor.current();
    let answer = Answer {
        message,
        code: status.as_u16(),
        data: Readiness {
            capture: state_word(health.state),
            capture_since_seconds: health.since.elapsed().as_secs(),
            last_contact_seconds: health.last_contact.map(|at| at.elapsed().as_secs()),
            trouble,
            rules: Rules::new(&broken),
            lookups: held_back(&slow),
        },
    };
    (status, JsonLine(answer)).into_response()
}

fn held_back(slow: &[SlowLookup]) -> Vec<HeldBack<'_>> {
    let shown = slow.iter().take(BROKEN_MAX).map(|one| HeldBack {
        collection: &one.collection,
        retry_seconds: one
            .until
            .saturating_duration_since(Instant::now())
            .as_secs(),
    });
    shown.collect()
}

fn state_word(state: CaptureState) -> &'static str {
    match state {
        CaptureState::Disconnected => "disconnected",
        CaptureState::CatchingUp => "catching_up",
        CaptureState::Live => "live",
    }
}

/// All metrics for Prometheus.
pub(super) async fn metrics(State(room): State<Room>) -> Response {
    let text = room.neighbours.metrics.encode();
    ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()
}
