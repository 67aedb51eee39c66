//! The description of this API in OpenAPI's form, for tools. A test holds it against the routes, another
//! against what the server answers.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::not_found;
use super::room::Room;

const DESCRIPTION: &str = include_str!("../../docs/openapi.json");

pub(super) fn routes() -> Router<Room> {
    Router::new().route("/api/openapi.json", any(not_found).get(describe))
}

/// `GET /api/openapi.json`.
async fn describe() -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "max-age=300"),
    ];
    (headers, DESCRIPTION).into_response()
}
