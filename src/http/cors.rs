//! Which pages of other origins may call (contract, section 1.6).

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::room::Room;

const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");

/// Answers preflight requests itself and marks every other answer.
pub(super) async fn apply(State(room): State<Room>, request: Request, next: Next) -> Response {
    let allowed = room.origins.allow(request.headers());
    if request.method() == Method::OPTIONS {
        return preflight(request.headers(), allowed);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

fn preflight(request: &HeaderMap, allowed: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed else {
        return response;
    };
    for name in [
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
    ] {
        headers.append(VARY, HeaderValue::from_static(name));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

/// The origins that are allowed.
#[derive(Debug)]
pub(super) struct Origins(Vec<String>);

impl Origins {
    /// No origin is longer than scheme, longest host name and port; a longer one is not compared.
    const ORIGIN_BYTES_MAX: usize = 264;

    pub(super) fn new(allowed: Vec<String>) -> Self {
        Self(allowed)
    }

    /// What `Access-Control-Allow-Origin` shall say to a request with these headers, if anything.
    fn allow(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let asked = request.get(ORIGIN).filter(|origin| !origin.is_empty())?;
        if self.0.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = asked.to_str().ok()?;
        let known = origin.len() <= Self::ORIGIN_BYTES_MAX
            && self.0.iter().any(|allowed| matches(allowed, origin));
        known.then(|| asked.clone())
    }
}

/// Whether `text` is what `pattern` says, where `*` stands for any text and `?` for one character.
///
/// Goes back only to the last `*`, so that the work is bounded by the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut last_star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut last_star {
                Some((star, from)) => {
                    *from += 1;
                    (p, t) = (*star + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_allowed_by_star_by_name_or_by_pattern() {
        let star = || vec!["*".to_owned()];
        let some = || {
            vec![
                "https://a.example".to_owned(),
                "https://*.b.example".to_owned(),
                "http://localhost:300?".to_owned(),
            ]
        };
        for (allowed, origin, answer) in [
            (star(), Some("https://x.example"), Some("*")),
            (star(), Some("null"), Some("*")),
            (star(), Some(""), None),
            (star(), None, None),
            (some(), Some("https://a.example"), Some("https://a.example")),
            (some(), Some("http://a.example"), None),
            (some(), Some("https://a.example:8443"), None),
            (
                some(),
                Some("https://x.y.b.example"),
                Some("https://x.y.b.example"),
            ),
            (some(), Some("https://b.example"), None),
            (some(), Some("https://x.b.example.evil"), None),
            (
                some(),
                Some("http://localhost:3001"),
                Some("http://localhost:3001"),
            ),
            (some(), Some("http://localhost:30011"), None),
            (Vec::new(), Some("https://a.example"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            let seen = Origins::new(allowed.clone()).allow(&headers);
            let seen = seen.as_ref().map(|value| value.to_str().expect("ASCII"));
            assert_eq!(seen, answer, "{origin:?} of {allowed:?}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_one() {
        let pattern = "*a".repeat(100) + "b";
        assert!(!matches(&pattern, &"a".repeat(264)));
        assert!(matches(&pattern, &("a".repeat(163) + "b")));
    }
}
