//! What is kept about a stream: its own client sets what the policy opens, superusers read and set all.

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::address::ClientAddress;
use super::errors::{ApiError, JsonLine};
use super::json_form::JsonForm;
use super::room::Room;
use super::subscribe::text_of;
use super::superuser::Superuser;
use super::{not_found, paths::PathText};
use crate::auth::Principal;
use crate::hub::{StoreChange, StoreOwner};

pub(super) fn routes() -> Router<Room> {
    Router::new()
        .route("/api/realtime/store", any(not_found).post(change_own))
        .route(
            "/api/realtime/clients/{id}/store",
            any(not_found).get(show).patch(change),
        )
}

/// What is kept.
#[derive(Serialize)]
struct Kept {
    values: Map<String, Value>,
}

/// `POST /api/realtime/store`: a client changes what is kept about its own stream.
async fn change_own(
    State(room): State<Room>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let authorization = text_of(request.headers(), &AUTHORIZATION).map(str::to_owned);
    let mut form = JsonForm::read(&room, request, &["clientId", "values"]).await?;
    let client_id = form.required_text("clientId");
    let values = form.required_object("values");
    form.end()?;
    let principal = authenticate(&room, authorization.as_deref()).await?;
    let owner = StoreOwner { address, principal };
    let changing = room
        .neighbours
        .hub
        .change_own_store(&client_id, values, owner);
    let changed = timeout(room.options.request_timeout, changing).await;
    changed.map_err(|_| ApiError::overloaded())??;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/realtime/clients/{id}/store`: what is kept about a stream, for superusers.
async fn show(
    _: Superuser,
    State(room): State<Room>,
    PathText(client_id): PathText,
) -> Result<JsonLine<Kept>, ApiError> {
    answer(&room, &client_id, StoreChange::new()).await
}

/// `PATCH /api/realtime/clients/{id}/store`: changes it; null forgets a key.
async fn change(
    _: Superuser,
    State(room): State<Room>,
    PathText(client_id): PathText,
    request: Request,
) -> Result<JsonLine<Kept>, ApiError> {
    let mut form = JsonForm::read(&room, request, &["values"]).await?;
    let values = form.required_object("values");
    form.end()?;
    answer(&room, &client_id, values).await
}

async fn answer(
    room: &Room,
    client_id: &str,
    change: StoreChange,
) -> Result<JsonLine<Kept>, ApiError> {
    let changing = room.neighbours.hub.change_store(client_id, change);
    let changed = timeout(room.options.request_timeout, changing).await;
    let values = changed.map_err(|_| ApiError::overloaded())??;
    Ok(JsonLine(Kept { values }))
}

async fn authenticate(room: &Room, authorization: Option<&str>) -> Result<Principal, ApiError> {
    let proving = room.neighbours.authenticator.authenticate(authorization);
    let proof = timeout(room.options.request_timeout, proving).await;
    let proof = proof.map_err(|_| ApiError::overloaded())?;
    match proof.is_unchecked {
        true => Err(ApiError::unchecked()),
        false => Ok(proof.principal),
    }
}
