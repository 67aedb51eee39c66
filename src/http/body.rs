//! The body of a request as PocketBase reads it, before it is known what its fields mean (contract, section 2.2).

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::errors::ApiError;

/// What was sent.
pub(super) enum Sent {
    /// No body.
    Nothing,
    /// JSON as it came.
    Json(Bytes),
    /// The pairs of a form and of the query, of which the first counts.
    Pairs(Vec<(String, String)>),
}

/// How a body that cannot be read is refused: it depends on who was to read it.
#[derive(Clone, Copy)]
pub(super) struct Refusals {
    /// For a content type that is not known.
    pub(super) unsupported: fn() -> ApiError,
    /// For a body that is not what its content type says.
    pub(super) unreadable: fn() -> ApiError,
}

/// Reads the body of a request.
///
/// # Errors
/// 413 for a body beyond `bytes_max`, what `refusals` say for one that cannot be read.
pub(super) async fn read(
    request: Request,
    bytes_max: usize,
    refusals: Refusals,
) -> Result<Sent, ApiError> {
    let (parts, body) = request.into_parts();
    match body.size_hint().exact() {
        Some(0) => return Ok(Sent::Nothing),
        Some(length) if length > bytes_max as u64 => return Err(ApiError::too_large()),
        _ => {}
    }
    let kind = BodyKind::of(&parts).ok_or_else(refusals.unsupported)?;
    let bytes = collect(body, bytes_max).await?;
    let pairs = match kind {
        BodyKind::Json => return Ok(Sent::Json(bytes)),
        BodyKind::UrlEncoded => url_encoded_pairs(&parts, &bytes),
        BodyKind::Multipart => multipart_pairs(parts, bytes).await,
    };
    pairs.map(Sent::Pairs).ok_or_else(refusals.unreadable)
}

/// How a body is to be read.
#[derive(Debug, Clone, Copy)]
enum BodyKind {
    Json,
    Multipart,
    UrlEncoded,
}

impl BodyKind {
    /// By the beginning of the content type, letter by letter, as PocketBase does it. (It reads XML
    /// as well, which no client sends.)
    fn of(parts: &Parts) -> Option<Self> {
        let content_type = parts.headers.get(CONTENT_TYPE)?.as_bytes();
        [
            ("application/json", Self::Json),
            ("multipart/form-data", Self::Multipart),
            ("application/x-www-form-urlencoded", Self::UrlEncoded),
        ]
        .into_iter()
        .find(|(prefix, _)| content_type.starts_with(prefix.as_bytes()))
        .map(|(_, kind)| kind)
    }
}

async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large()),
        Err(_) => Err(ApiError::bad_request()),
    }
}

fn query_of(parts: &Parts) -> &[u8] {
    parts.uri.query().unwrap_or_default().as_bytes()
}

/// The pairs of a form, and of the query behind them.
fn url_encoded_pairs(parts: &Parts, bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut pairs = pairs_of(bytes)?;
    pairs.extend(pairs_of(query_of(parts))?);
    Some(pairs)
}

/// The pairs of a query, and of the form behind them.
async fn multipart_pairs(parts: Parts, bytes: Bytes) -> Option<Vec<(String, String)>> {
    let mut pairs = pairs_of(query_of(&parts))?;
    let request = Request::from_parts(parts, Body::from(bytes));
    let mut multipart = Multipart::from_request(request, &()).await.ok()?;
    while let Some(field) = multipart.next_field().await.ok()? {
        // A part with a file name is an upload and no value.
        let name = match (field.name(), field.file_name()) {
            (Some(name), None) => name.to_owned(),
            _ => continue,
        };
        let value = field.bytes().await.ok()?;
        pairs.push((name, String::from_utf8_lossy(&value).into_owned()));
    }
    Some(pairs)
}

/// The pairs of a form or query, or `None` where Go refuses it: for a bad escape or a semicolon.
pub(super) fn pairs_of(encoded: &[u8]) -> Option<Vec<(String, String)>> {
    if encoded.contains(&b';') || !crate::topic::has_whole_escapes(encoded) {
        return None;
    }
    Some(form_urlencoded::parse(encoded).into_owned().collect())
}
