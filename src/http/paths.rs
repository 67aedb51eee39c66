//! Paths: those that are not written in their shortest form are sent to where they lead.

use axum::extract::{FromRequestParts, Path, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Uri};

use super::errors::ApiError;
use super::room::Room;

/// The only variable part of a path, decoded. What cannot be is a path that does not exist.
pub(super) struct PathText(pub(super) String);

impl FromRequestParts<Room> for PathText {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, room: &Room) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, room).await;
        let Path(text) = path.map_err(|_| ApiError::not_found())?;
        Ok(Self(text))
    }
}

/// Redirects `//api/realtime` to `/api/realtime`, and likewise any path with empty, `.` or `..`
/// segments.
pub(super) async fn redirect_to_clean(request: Request, next: Next) -> Response {
    match clean_location(request.uri()) {
        Some(location) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response(),
        None => next.run(request).await,
    }
}

fn clean_location(uri: &Uri) -> Option<HeaderValue> {
    let clean = clean(uri.path())?;
    let location = match uri.query() {
        Some(query) => format!("{clean}?{query}"),
        None => clean,
    };
    HeaderValue::try_from(location).ok()
}

/// The path's shortest form, or `None` where it is that already.
fn clean(path: &str) -> Option<String> {
    let mut kept = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    if path.ends_with('/') && !kept.is_empty() {
        clean.push('/');
    }
    // Browsers take `/\host` for another server's address.
    (clean != path).then(|| clean.replace('\\', "%5C"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_led_to_its_shortest_form() {
        for (uri, location) in [
            ("/", None),
            ("/api/realtime", None),
            ("/api/realtime/", None),
            ("/api/realtime?x=//", None),
            ("//api/realtime", Some("/api/realtime")),
            ("/api//realtime?a=b", Some("/api/realtime?a=b")),
            ("/api/./realtime", Some("/api/realtime")),
            ("/api/x/../realtime", Some("/api/realtime")),
            ("/../..", Some("/")),
            ("//api/realtime//", Some("/api/realtime/")),
            ("//evil.example/x", Some("/evil.example/x")),
            ("//\\evil.example/x", Some("/%5Cevil.example/x")),
        ] {
            let request = Request::builder().uri(uri).body(()).expect("a request");
            let seen = clean_location(request.uri());
            let seen = seen.as_ref().map(|value| value.to_str().expect("ASCII"));
            assert_eq!(seen, location, "{uri}");
        }
    }
}
