//! `POST /api/realtime`: a subscriber's complete new list of subscriptions (contract, section 2).

use std::net::IpAddr;

use axum::extract::{Request, State};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::time::timeout;

use super::address::ClientAddress;
use super::errors::ApiError;
use super::form::{Form, ValidForm};
use super::room::{Neighbours, Room};
use crate::hooks::{Flow, Subscribe, Subscriber};
use crate::hub::{Resume, SetTopics};

/// Reads and checks the form, asks who sends it, and hands it to the hub: in this order, and the
/// first failure is the answer.
pub(super) async fn set_topics(
    State(room): State<Room>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let authorization = text_of(request.headers(), &AUTHORIZATION).map(str::to_owned);
    let headers = match room.neighbours.hooks.subscribe.is_empty() {
        true => HeaderMap::new(),
        false => request.headers().clone(),
    };
    let form = Form::read(request, room.options.body_bytes_max);
    let form = timeout(room.options.request_timeout, form)
        .await
        .map_err(|_| ApiError::request_timeout())??
        .validate()?;
    let asking = Asking {
        address,
        authorization: authorization.as_deref(),
        headers: &headers,
    };
    apply(&room, asking, form, Resume::Live).await
}

/// Who asks, as the request says.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) address: IpAddr,
    pub(super) authorization: Option<&'a str>,
    /// For hooks; empty where there are none.
    pub(super) headers: &'a HeaderMap,
}

/// Asks who sends a form, and hands it to the hub, within the time of one request. Says with which
/// status it is done.
pub(super) async fn apply(
    room: &Room,
    asking: Asking<'_>,
    form: ValidForm,
    resume: Resume,
) -> Result<StatusCode, ApiError> {
    let change = Box::pin(change(room, asking, form, resume));
    let changed = timeout(room.options.request_timeout, change).await;
    changed.map_err(|_| ApiError::overloaded())?
}

async fn change(
    room: &Room,
    asking: Asking<'_>,
    form: ValidForm,
    resume: Resume,
) -> Result<StatusCode, ApiError> {
    let Asking {
        address,
        authorization,
        headers,
    } = asking;
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
    let mut places = form.places;
    let mut request = SetTopics {
        client_id: form.client_id,
        address,
        principal: proof.principal,
        expires_at: proof.expires_at,
        subscriptions: form.subscriptions,
        resume,
    };
    if !room.neighbours.hooks.subscribe.is_empty() {
        let checked = room.neighbours.hub.check_topics(request).await;
        request = checked.map_err(|error| ApiError::of_topics(error, &places))?;
        if ask_hooks(room, &mut request, headers).await? == Flow::Stop {
            return Ok(StatusCode::OK);
        }
        // The list may be another one; what is wrong with it is told by its own places.
        places.clear();
    }
    let set = room.neighbours.hub.set_topics(request).await;
    set.map_err(|error| ApiError::of_topics(error, &places))?;
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
    Ok(StatusCode::NO_CONTENT)
}

/// Lets the hooks change the list of subscriptions.
async fn ask_hooks(
    room: &Room,
    request: &mut SetTopics,
    headers: &HeaderMap,
) -> Result<Flow, ApiError> {
    let Neighbours { hooks, metrics, .. } = &room.neighbours;
    let subscriber = Subscriber {
        client_id: request.client_id.as_str().into(),
        address: request.address,
    };
    let mut subscribe = Subscribe::new(
        subscriber,
        request.principal.clone(),
        headers.clone(),
        std::mem::take(&mut request.subscriptions),
    );
    let flow = hooks.subscribe.run(&mut subscribe, metrics).await?;
    request.subscriptions = subscribe.subscriptions;
    Ok(flow)
}

/// The text of a header, if there is one and it is text.
pub(super) fn text_of<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
