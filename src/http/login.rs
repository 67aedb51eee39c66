//! Logging in, and the token that comes of it (contract, sections 6.3 and 6.4).

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::address::ClientAddress;
use super::errors::ApiError;
use super::login_form::LoginForm;
use super::paths::PathText;
use super::room::Room;
use crate::auth::{LoggedIn, LoginRecord, LoginRequest};
use crate::record::{Picker, Visibility, encode_record};

/// `POST /api/collections/{nameOrId}/auth-with-password`.
pub(super) async fn with_password(
    State(room): State<Room>,
    PathText(collection): PathText,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<Response, ApiError> {
    if !room.login_limit.admits(address) {
        return Err(ApiError::too_many_requests());
    }
    let answer = log_in(&room, &collection, request);
    let answer = timeout(room.options.request_timeout, answer).await;
    answer.map_err(|_| ApiError::overloaded())?
}

async fn log_in(room: &Room, collection: &str, request: Request) -> Result<Response, ApiError> {
    let login = &room.neighbours.login;
    let door = login.door(collection).await?;
    let fields = door.identity_fields();
    if fields.is_empty() {
        return Err(crate::auth::LoginError::PasswordDisabled.into());
    }
    let picker = picker_of(request.uri().query());
    let seen = as_rules_see_it(request.uri().query(), request.headers());
    let form = LoginForm::read(request, room.options.body_bytes_max).await?;
    form.validate(fields)?;
    let only = Some(&*form.identity_field).filter(|field| !field.is_empty());
    let logged_in = login.with_password(&door, &form.identity, &form.password, only, &seen);
    Ok(answer(logged_in.await?, picker.as_ref()))
}

/// `POST /api/collections/{nameOrId}/auth-refresh`.
pub(super) async fn refresh(
    State(room): State<Room>,
    PathText(collection): PathText,
    parts: Parts,
) -> Result<Response, ApiError> {
    let authorization = parts.headers.get(AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let login = &room.neighbours.login;
    let seen = as_rules_see_it(parts.uri.query(), &parts.headers);
    let refreshed = async {
        let door = login.door(&collection).await?;
        login.refresh(&door, authorization, &seen).await
    };
    let refreshed = timeout(room.options.request_timeout, refreshed).await;
    let refreshed = refreshed.map_err(|_| ApiError::overloaded())??;
    Ok(answer(refreshed, picker_of(parts.uri.query()).as_ref()))
}

/// `GET /api/collections/{nameOrId}/auth-methods`: what may be logged in with. Of PocketBase's
/// ways there is the password.
pub(super) async fn methods(
    State(room): State<Room>,
    PathText(collection): PathText,
    parts: Parts,
) -> Result<Response, ApiError> {
    let door = room.neighbours.login.door(&collection);
    let door = timeout(room.options.request_timeout, door).await;
    let door = door.map_err(|_| ApiError::overloaded())??;
    let fields: Vec<&str> = door.identity_fields().iter().map(|name| &**name).collect();
    let methods = json!({
        "authProviders": [],
        "emailPassword": fields.contains(&"email"),
        "mfa": { "duration": 0, "enabled": false },
        "oauth2": { "enabled": false, "providers": [] },
        "otp": { "duration": 0, "enabled": false },
        "password": { "enabled": !fields.is_empty(), "identityFields": fields },
        "usernamePassword": fields.contains(&"username"),
    });
    let json = methods.to_string();
    Ok(json_line(&json, picker_of(parts.uri.query()).as_ref()))
}

/// A request as `@request.query` and `@request.headers` show it.
fn as_rules_see_it(query: Option<&str>, headers: &HeaderMap) -> LoginRequest {
    let mut request = LoginRequest::default();
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    for (name, value) in pairs {
        let query = request.query.entry(name.into_owned());
        query.or_insert_with(|| value.into_owned());
    }
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let name = name.as_str().replace('-', "_");
        request.headers.entry(name).or_insert(value);
    }
    request
}

fn answer(logged_in: LoggedIn, picker: Option<&Picker>) -> Response {
    let record = match logged_in.record {
        LoginRecord::Superuser(json) => json.into_bytes(),
        LoginRecord::Row {
            collection,
            id,
            image,
        } => encode_record(&collection, &id, &image, Visibility::Own),
    };
    let mut json = br#"{"record":"#.to_vec();
    json.extend_from_slice(&record);
    json.extend_from_slice(br#","token":"#);
    json.extend_from_slice(Value::from(logged_in.token).to_string().as_bytes());
    json.extend_from_slice(b"}");
    let json = String::from_utf8(json).expect("JSON is text");
    json_line(&json, picker)
}

/// What is wanted of an answer; a list of fields that cannot be read asks for everything.
fn picker_of(query: Option<&str>) -> Option<Picker> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    let (_, fields) = pairs.find(|(key, _)| key == "fields")?;
    Picker::parse(&fields).ok().flatten()
}

/// One line of JSON, ended by a line feed as PocketBase's are.
fn json_line(json: &str, picker: Option<&Picker>) -> Response {
    let mut line = Vec::with_capacity(json.len() + 1);
    match picker {
        Some(picker) => picker.pick(json, &mut line),
        None => line.extend_from_slice(json.as_bytes()),
    }
    line.push(b'\n');
    ([(CONTENT_TYPE, "application/json")], line).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_query_are_picked_from_the_top_of_the_answer() {
        let whole = r#"{"record":{"id":"a","name":"b","tags":[{"x":1,"y":2}]},"token":"t"}"#;
        for (query, picked) in [
            (
                "fields=token,record.id",
                r#"{"record":{"id":"a"},"token":"t"}"#,
            ),
            (
                "fields=token,%20record.id",
                r#"{"record":{"id":"a"},"token":"t"}"#,
            ),
            ("fields=id", "{}"),
            ("fields=*", whole),
            ("fields=record.tags.x", r#"{"record":{"tags":[{"x":1}]}}"#),
            ("fields=token&fields=record", r#"{"token":"t"}"#),
            ("fields=record.name:excerpt(0)", whole),
            ("fields=", whole),
            ("fields=,", whole),
            ("other=a", whole),
            ("", whole),
        ] {
            let mut out = Vec::new();
            match picker_of(Some(query)) {
                Some(picker) => picker.pick(whole, &mut out),
                None => out.extend_from_slice(whole.as_bytes()),
            }
            assert_eq!(String::from_utf8_lossy(&out), picked, "{query}");
        }
        assert_eq!(picker_of(None), None);
    }
}
