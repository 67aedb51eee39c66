//! What is kept about a stream: its own client sets what the policy opens, superusers read and set all.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::address::ClientAddress;
use super::errors::{ApiError, JsonLine};
use super::json::JsonForm;
use super::room::Room;
use super::subscribe::text_of;
use crate::auth::Principal;
use crate::hub::{StoreChange, StoreOwner};

/// `POST /api/realtime/store`: a client changes what is kept about its own stream.
pub(super) async fn change_own(
    State(room): State<Room>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let authorization = text_of(request.headers(), &AUTHORIZATION).map(str::to_owned);
    let mut form = read(&room, request, &["clientId", "values"]).await?;
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
pub(super) async fn show(
    State(room): State<Room>,
    Path(client_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    require_superuser(&room, &headers).await?;
    answer(&room, &client_id, StoreChange::new()).await
}

/// `PATCH /api/realtime/clients/{id}/store`: changes it; null forgets a key.
pub(super) async fn change(
    State(room): State<Room>,
    Path(client_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    require_superuser(&room, request.headers()).await?;
    let mut form = read(&room, request, &["values"]).await?;
    let values = form.required_object("values");
    form.end()?;
    answer(&room, &client_id, values).await
}

async fn answer(room: &Room, client_id: &str, change: StoreChange) -> Result<Response, ApiError> {
    let changing = room.neighbours.hub.change_store(client_id, change);
    let changed = timeout(room.options.request_timeout, changing).await;
    let values = changed.map_err(|_| ApiError::overloaded())??;
    Ok(JsonLine(json!({ "values": values })).into_response())
}

async fn read(room: &Room, request: Request, known: &[&str]) -> Result<JsonForm, ApiError> {
    let form = JsonForm::read(request, room.options.body_bytes_max, known);
    let form = timeout(room.options.request_timeout, form).await;
    form.map_err(|_| ApiError::request_timeout())?
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

/// Lets only superusers pass.
pub(super) async fn require_superuser(room: &Room, headers: &HeaderMap) -> Result<(), ApiError> {
    match authenticate(room, text_of(headers, &AUTHORIZATION)).await? {
        Principal::Superuser { .. } => Ok(()),
        Principal::Guest => Err(ApiError::unauthorized()),
        Principal::Record(_) => Err(ApiError::forbidden(
            "The authorized record is not allowed to perform this action.",
        )),
    }
}
