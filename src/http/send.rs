//! `POST /api/realtime/send`: a message of the application, from a superuser or whoever the policy lets send.

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::errors::ApiError;
use super::json_form::JsonForm;
use super::not_found;
use super::room::Room;
use super::subscribe::text_of;
use crate::auth::Principal;
use crate::event::PrincipalName;
use crate::messages::NewMessage;

const FIELDS: [&str; 8] = [
    "topic",
    "data",
    "template",
    "context",
    "clientId",
    "principal",
    "filter",
    "everyone",
];

pub(super) fn routes() -> Router<Room> {
    Router::new().route("/api/realtime/send", any(not_found).post(send))
}

/// Asks who sends, then whether they may, and writes the message to the log.
async fn send(State(room): State<Room>, request: Request) -> Result<StatusCode, ApiError> {
    let authorization = text_of(request.headers(), &AUTHORIZATION).map(str::to_owned);
    let form = JsonForm::read(&room, request, &FIELDS).await?;
    let sending = apply(&room, authorization.as_deref(), form);
    let sent = timeout(room.options.request_timeout, sending).await;
    sent.map_err(|_| ApiError::overloaded())??;
    Ok(StatusCode::NO_CONTENT)
}

async fn apply(
    room: &Room,
    authorization: Option<&str>,
    mut form: JsonForm,
) -> Result<(), ApiError> {
    let topic = form.required_text("topic");
    let data = form.member::<Value>("data", "Must be JSON.");
    let template = form.text("template");
    let context = form.raw("context");
    let client = form.text("clientId");
    let principal = form.text("principal");
    let principal = principal.map(|text| PrincipalName::parse(&text));
    let filter = form.text("filter");
    let everyone = form.flag("everyone").unwrap_or_default();
    match &template {
        None if data.as_ref().is_none_or(Value::is_null) => {
            form.refuse("data", "Must be an object, an array or a text.");
        }
        Some(_) if data.is_some() => {
            form.refuse("template", "Must not stand beside data: it makes the data.");
        }
        _ => {}
    }
    let is_object = |context: &RawValue| context.get().starts_with('{');
    if context
        .as_deref()
        .is_some_and(|context| template.is_none() || !is_object(context))
    {
        form.refuse("context", "Must be an object, beside a template.");
    }
    if principal == Some(None) {
        form.refuse("principal", "Must be COLLECTION/ID, such as members/42.");
    }
    if everyone && (client.is_some() || principal.is_some()) {
        form.refuse(
            "everyone",
            "Must not stand beside clientId or principal: it says that there is neither.",
        );
    }
    form.end()?;
    let proof = room.neighbours.authenticator.authenticate(authorization);
    let proof = proof.await;
    if proof.is_unchecked {
        return Err(ApiError::unchecked());
    }
    // Before the first catalog nobody knows what the policy says.
    let mut health = room.neighbours.health.clone();
    timeout(room.options.placed_timeout, health.placed())
        .await
        .map_err(|_| ApiError::starting())?;
    let sender = proof.principal;
    let hub = &room.neighbours.hub;
    if !hub.may_send(&sender, &topic, filter.is_some()) {
        return Err(match sender.is_guest() {
            true => ApiError::unauthorized(),
            false if filter.is_some() && hub.may_send(&sender, &topic, false) => {
                ApiError::forbidden("You are not allowed to send to this topic by a filter.")
            }
            false => ApiError::forbidden("You are not allowed to send to this topic."),
        });
    }
    let data = match template {
        None => data.unwrap_or_default(),
        Some(template) => {
            let context = context.as_deref().map_or("{}", RawValue::get);
            let rendered = room.neighbours.templates.render(&template, context);
            Value::String(rendered.map_err(|error| ApiError::failing_template(&error))?)
        }
    };
    let mut message = NewMessage::new(topic, data);
    if let Some(client) = &client {
        message = message.to_client(client);
    }
    if let Some(principal) = principal.flatten() {
        message = message.to_principal(principal);
    } else if let (false, None, None, Principal::Record(record)) =
        (everyone, &client, &filter, &sender)
    {
        // As in PocketPages: somebody's own message is for their own streams, unless they say otherwise.
        message = message.to_principal(PrincipalName {
            collection: std::sync::Arc::clone(&record.collection_id),
            id: std::sync::Arc::clone(&record.id),
        });
    }
    if let Some(filter) = &filter {
        message = message.to_those(filter);
    }
    Ok(room.neighbours.messenger.send(&message).await?)
}
