//! `POST /api/realtime`: a subscriber's complete new list of subscriptions (contract, section 2).

use axum::extract::{Request, State};
use http::StatusCode;
use http::header::AUTHORIZATION;
use tokio::time::timeout;

use super::address::ClientAddress;
use super::errors::ApiError;
use super::form::{Form, ValidForm};
use super::room::Room;
use crate::hub::SetTopics;

/// Reads and checks the form, asks who sends it, and hands it to the hub: in this order, and the
/// first failure is the answer.
pub(super) async fn set_topics(
    State(room): State<Room>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let authorization = request.headers().get(AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let authorization = authorization.map(str::to_owned);
    let form = Form::read(request, room.options.body_bytes_max);
    let form = timeout(room.options.request_timeout, form)
        .await
        .map_err(|_| ApiError::request_timeout())??
        .validate()?;
    let change = apply(&room, address, authorization.as_deref(), form);
    timeout(room.options.request_timeout, change)
        .await
        .map_err(|_| ApiError::overloaded())??;
    Ok(StatusCode::NO_CONTENT)
}

async fn apply(
    room: &Room,
    address: std::net::IpAddr,
    authorization: Option<&str>,
    form: ValidForm,
) -> Result<(), ApiError> {
    // Before capture has its place in the log, "subscribed" would promise changes that it may miss.
    let mut health = room.neighbours.health.clone();
    timeout(room.options.placed_timeout, health.placed())
        .await
        .map_err(|_| ApiError::starting())?;
    let authenticator = &room.neighbours.authenticator;
    let proof = authenticator.authenticate(authorization).await;
    // As a guest it would hear less than it may, for as long as its stream lasts, and never know.
    if proof.is_unchecked {
        return Err(ApiError::unchecked());
    }
    let (client_id, principal) = (form.client_id.clone(), proof.principal.clone());
    let request = SetTopics {
        client_id: form.client_id,
        address,
        principal: proof.principal,
        expires_at: proof.expires_at,
        subscriptions: form.subscriptions,
    };
    let set = room.neighbours.hub.set_topics(request).await;
    set.map_err(|error| ApiError::of_topics(error, &form.places))?;
    if !principal.is_guest() {
        // What changed between the proof and the hub's beginning to watch is seen by looking again.
        let proof = authenticator.authenticate(authorization).await;
        let is_unchecked = proof.is_unchecked;
        room.neighbours
            .hub
            .confirm(client_id, principal, proof)
            .await;
        if is_unchecked {
            return Err(ApiError::unchecked());
        }
    }
    Ok(())
}
