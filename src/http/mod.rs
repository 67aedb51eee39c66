//! SSE out: the endpoints of the realtime API, and the server that carries them.
//!
//! *Owns* the wire of contract sections 1 and 2: statuses, headers, bodies, timers.
//! *Takes* requests, and frames from a [`Mailbox`](crate::hub::Mailbox).
//! *Gives* the hub subscribers and their topics, and clients their frames.
//! *Never* reads a row but the one that logs in, or decides who may see one.

mod address;
mod body;
mod clients;
mod connection;
mod cors;
mod direct;
mod errors;
mod form;
mod headers;
mod health;
mod inbox;
mod json_form;
mod log;
mod login;
mod login_form;
mod login_limit;
mod openapi;
mod options;
mod page;
mod panics;
mod paths;
mod plain;
mod pulse;
mod room;
mod send;
mod server;
mod stall;
mod store;
mod stream;
mod subscribe;
mod superuser;
mod timers;

#[cfg(test)]
mod tests;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, any};

use errors::ApiError;
use room::Room;

pub use axum::Router;
pub use options::{HttpOptions, LoginRate, ProxyPosition, ServerOptions};
pub use room::Neighbours;
pub use server::{listen, serve};

/// All endpoints, and 404 for all other paths. An application may merge them into its own router
/// (after `reset_fallback`, if it has a fallback of its own); it should serve them with
/// `ConnectInfo<SocketAddr>`, as [`serve`] does, so that clients can be told apart.
pub fn router(neighbours: Neighbours, options: HttpOptions) -> Router {
    let room = Room::new(neighbours, options);
    endpoints()
        // The form reader has its own limit, with its own answer.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(headers::secure))
        .layer(from_fn(panics::catch))
        .layer(from_fn(paths::redirect_to_clean))
        .layer(from_fn_with_state(room.clone(), cors::apply))
        .with_state(room)
}

fn endpoints() -> Router<Room> {
    Router::new()
        .route("/api/realtime", realtime())
        .route("/api/health", any(not_found).get(health::live))
        .route("/api/ready", any(not_found).get(health::ready))
        .route("/metrics", any(not_found).get(health::metrics))
        .route(
            "/api/collections/{collection}/auth-with-password",
            any(not_found).post(login::with_password),
        )
        .route(
            "/api/collections/{collection}/auth-refresh",
            any(not_found).post(login::refresh),
        )
        .route(
            "/api/collections/{collection}/auth-methods",
            any(not_found).get(login::methods),
        )
        .merge(clients::routes())
        .merge(log::routes())
        .merge(openapi::routes())
        .merge(page::routes())
        .merge(send::routes())
        .merge(store::routes())
        .method_not_allowed_fallback(not_found)
        .fallback(not_found)
}

fn realtime() -> MethodRouter<Room> {
    // Other methods are as unknown as other paths: 404, never 405.
    any(not_found)
        .get(stream::open)
        .head(stream::head)
        .post(subscribe::set_topics)
}

async fn not_found() -> ApiError {
    ApiError::not_found()
}
