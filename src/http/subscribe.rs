//! `POST /api/realtime`: a subscriber's complete new list of subscriptions (contract, section 2).

use std::net::IpAddr;

use axum::extract::{Request, State};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::time::timeout;

use super::address::ClientAddress;
use super::errors::ApiError;
use super::form::{Form, ValidForm};
use super::room::Room;
use crate::hub::{Resume, SetTopics};

/// Reads and checks the form, asks who sends it, and hands it to the hub: in this order, and the
/// first failure is the answer.
pub(super) async fn set_topics(
    State(room): State<Room>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let authorization = text_of(request.headers(), &AUTHORIZATION).map(str::to_owned);
    let form = Form::read(request, room.options.body_bytes_max);
    let form = timeout(room.options.request_timeout, form)
        .await
        .map_err(|_| ApiError::request_timeout())??
        .validate()?;
    apply(&room, address, authorization.as_deref(), form, Resume::Live).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks who sends a form, and hands it to the hub, within the time of one request.
pub(super) async fn apply(
    room: &Room,
    address: IpAddr,
    authorization: Option<&str>,
    form: ValidForm,
    resume: Resume,
) -> Result<(), ApiError> {
    let change = change(room, address, authorization, form, resume);
    let changed = timeout(room.options.request_timeout, change).await;
    changed.map_err(|_| ApiError::overloaded())?
}

async fn change(
    room: &Room,
    address: IpAddr,
    authorization: Option<&str>,
    form: ValidForm,
    resume: Resume,
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
        resume,
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

/// The text of a header, if there is one and it is text.
pub(super) fn text_of<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
