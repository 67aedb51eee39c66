//! What is logged, changed for a while by superusers.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;
use serde::{Deserialize, Serialize};

use super::clients::date;
use super::errors::{ApiError, FieldError, Invalid, JsonLine, Violation};
use super::room::Room;
use super::superuser::Superuser;
use super::{json_body, not_found};
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeForm {
    filter: String,
    #[serde(rename = "for", default, deserialize_with = "json_body::given")]
    lasting: Option<String>,
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
    let form: ChangeForm = json_body::read(&room, request).await?;
    let mut invalid = Invalid::new();
    let mut fault = |field, violation| invalid.insert(field, FieldError::Value(violation));
    let filter = match form.filter.parse::<LogFilter>() {
        _ if form.filter.len() > FILTER_BYTES_MAX => {
            fault("filter", Violation::length_too_long(FILTER_BYTES_MAX));
            None
        }
        Ok(filter) => Some(filter),
        Err(error) => {
            fault("filter", Violation::invalid(error.to_string()));
            None
        }
    };
    let lasting = match form.lasting.as_deref().map(humantime::parse_duration) {
        None => LASTING,
        Some(Ok(lasting)) if (Duration::from_secs(1)..=LASTING_MAX).contains(&lasting) => lasting,
        Some(_) => {
            let problem = "Must be a span of time from 1s to 1day, such as 10m.";
            fault("for", Violation::invalid(problem));
            LASTING
        }
    };
    match filter {
        Some(filter) if invalid.is_empty() => control.set(filter, lasting),
        _ => return Err(ApiError::invalid(invalid)),
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
