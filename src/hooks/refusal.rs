//! How a hook says no: as an error answer of the API.

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};

/// An error answer in PocketBase's form: `{"data":{…},"message":"…","status":403}`.
///
/// Any error becomes one by `?`: status 400 without details, its causes in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) data: Map<String, Value>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    const GENERIC: &str = "Something went wrong while processing your request.";

    /// An answer with this status and message. The message begins with a capital and ends as a
    /// sentence does, as all of PocketBase's do. What is no error's status becomes 400.
    pub fn new(status: StatusCode, message: &str) -> Self {
        let is_error = status.is_client_error() || status.is_server_error();
        Self {
            status: if is_error {
                status
            } else {
                StatusCode::BAD_REQUEST
            },
            message: sentence(message),
            data: Map::new(),
            retry_after: None,
        }
    }

    /// 400 without details.
    pub fn bad_request() -> Self {
        Self::new(StatusCode::BAD_REQUEST, Self::GENERIC)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Missing or invalid authentication.",
        )
    }

    /// 403.
    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "You are not allowed to perform this request.",
        )
    }

    /// 429.
    pub fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests.")
    }

    /// 500: a hook that panicked.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Self::GENERIC)
    }

    /// The same with one more member of `data`.
    #[must_use]
    pub fn with_data(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a `Retry-After`, in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl<E: Error + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        // Not louder: clients may cause as many as they like.
        tracing::debug!(error = &error as &dyn Error, "a hook refused with an error");
        Self::bad_request()
    }
}

/// A message as PocketBase writes them: trimmed, with a capital, and ended.
fn sentence(message: &str) -> String {
    let message = message.trim();
    let mut letters = message.chars();
    let first = letters.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(letters).collect();
    if !sentence.is_empty() && !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_sentences_and_errors_400() {
        for (said, told) in [
            ("no", "No."),
            (" full up! ", "Full up!"),
            ("really?", "Really?"),
            ("ärger", "Ärger."),
            ("", ""),
        ] {
            let refusal = Refusal::new(StatusCode::FORBIDDEN, said);
            assert_eq!(refusal.message, told, "{said:?}");
        }
        assert_eq!(
            Refusal::new(StatusCode::OK, "fine").status(),
            StatusCode::BAD_REQUEST
        );
        let no_number = "x".parse::<u8>().expect_err("a letter");
        assert_eq!(Refusal::from(no_number), Refusal::bad_request());
    }
}
