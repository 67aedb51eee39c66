//! JSON bodies of those endpoints that are ours: read strictly, with errors that name the mistake.

use axum::extract::Request;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use tokio::time::timeout;

use super::body::{self, Refusals, Sent};
use super::errors::ApiError;
use super::room::Room;

const REFUSALS: Refusals = Refusals {
    unsupported: no_json,
    unreadable: no_json,
};

fn no_json() -> ApiError {
    ApiError::unreadable("must be JSON, with the header Content-Type: application/json")
}

/// Reads an object.
///
/// # Errors
/// 400 for what is no such object, 408 if it does not arrive, 413 if it is too large.
pub(super) async fn read<T: DeserializeOwned>(
    room: &Room,
    request: Request,
) -> Result<T, ApiError> {
    let sent = body::read(request, room.options.body_bytes_max, REFUSALS);
    let sent = timeout(room.options.request_timeout, sent).await;
    let Sent::Json(bytes) = sent.map_err(|_| ApiError::request_timeout())?? else {
        return Err(no_json());
    };
    // A list would do for serde.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::unreadable("must be a JSON object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| ApiError::unreadable(&error.to_string()))
}

/// Reads a member that may be left out and, if it is there, is a value: `null` is none.
///
/// # Errors
/// If it is another kind of value.
pub(super) fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
