//! What only superusers may ask.

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tokio::time::timeout;

use super::errors::ApiError;
use super::room::Room;
use super::subscribe::text_of;
use crate::auth::Principal;

/// Proof that a superuser asks; a handler that takes it, first, answers nobody else.
#[derive(Debug)]
pub(super) struct Superuser;

impl FromRequestParts<Room> for Superuser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, room: &Room) -> Result<Self, ApiError> {
        let authorization = text_of(&parts.headers, &AUTHORIZATION);
        let proof = room.neighbours.authenticator.authenticate(authorization);
        let proof = timeout(room.options.request_timeout, proof).await;
        let proof = proof.map_err(|_| ApiError::overloaded())?;
        match proof.principal {
            _ if proof.is_unchecked => Err(ApiError::unchecked()),
            Principal::Guest => Err(ApiError::unauthorized()),
            Principal::Record(_) => Err(ApiError::not_for_records()),
            Principal::Superuser { .. } => Ok(Self),
        }
    }
}
