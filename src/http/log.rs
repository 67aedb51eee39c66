//! What is logged, changed for a while by superusers.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;
use serde::Serialize;

use super::clients::date;
use super::errors::{ApiError, JsonLine, Violation};
use super::json_form::JsonForm;
use super::not_found;
use super::room::Room;
use super::superuser::Superuser;
use crate::telemetry::{LogControl, LogFilter};

const LASTING: Duration = Duration::from_secs(10 * 60);
const LASTING_MAX: Duration = Duration::from_secs(24 * 3600);
const FILTER_BYTES_MAX: usize = 1_000;

pub(super) fn routes() -> Router<Room> {
    Router::new().route(
        "/api/realtime/log",
        any(not_found).get(show).put(change).delete(reset),
    )
}

#[derive(Serialize)]
struct Shown {
    filter: String,
    configured: String,
    until: Option<String>,
}

/// `GET /api/realtime/log`.
async fn show(_: Superuser, State(room): State<Room>) -> Result<JsonLine<Shown>, ApiError> {
    Ok(shown(control(&room)?))
}

/// `PUT /api/realtime/log`.
async fn change(
    _: Superuser,
    State(room): State<Room>,
    request: Request,
) -> Result<JsonLine<Shown>, ApiError> {
    let control = control(&room)?;
    let mut form = JsonForm::read(&room, request, &["filter", "for"]).await?;
    let filter = form.required_text("filter");
    let lasting = form.text("for");
    let filter = match filter.parse::<LogFilter>() {
        _ if filter.len() > FILTER_BYTES_MAX => {
            form.violated("filter", Violation::length_too_long(FILTER_BYTES_MAX));
            None
        }
        _ if filter.is_empty() => None,
        Ok(filter) => Some(filter),
        Err(error) => {
            form.refuse("filter", error.to_string());
            None
        }
    };
    let lasting = match lasting.as_deref().map(humantime::parse_duration) {
        None => LASTING,
        Some(Ok(lasting)) if (Duration::from_secs(1)..=LASTING_MAX).contains(&lasting) => lasting,
        Some(_) => {
            form.refuse(
                "for",
                "Must be a span of time from 1s to 1day, such as 10m.",
            );
            LASTING
        }
    };
    form.end()?;
    if let Some(filter) = filter {
        control.set(filter, lasting);
    }
    Ok(shown(control))
}

/// `DELETE /api/realtime/log`: as configured again.
async fn reset(_: Superuser, State(room): State<Room>) -> Result<JsonLine<Shown>, ApiError> {
    let control = control(&room)?;
    control.reset();
    Ok(shown(control))
}

/// Where the crate is part of another application, that one may log by means of its own.
fn control(room: &Room) -> Result<&LogControl, ApiError> {
    room.neighbours.log.as_ref().ok_or_else(ApiError::not_found)
}

fn shown(control: &LogControl) -> JsonLine<Shown> {
    let state = control.state();
    JsonLine(Shown {
        filter: state.filter.to_string(),
        configured: state.configured.to_string(),
        until: state.until.map(date),
    })
}
