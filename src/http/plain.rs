//! A client that knows nothing but server-sent events: what it wants stands in the request for the
//! stream, and when it comes back it says the last id that it has received.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::body::pairs_of;
use super::errors::ApiError;
use super::form::{Form, ValidForm};
use super::room::Room;
use super::subscribe::{Asking, apply, text_of};
use crate::hub::{ClientId, Resume};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The same in the query, for the first request of a client that has an id from elsewhere.
const LAST_EVENT_ID_PARAMETER: &str = "lastEventId";

/// How such a client wants its data; `json` if it does not say.
const FORMAT: &str = "format";

/// What such a client asks for.
pub(super) struct PlainRequest {
    form: ValidForm,
    /// Whether texts are written as they are, and records as HTML.
    pub(super) takes_html: bool,
    authorization: Option<String>,
    resume: Resume,
}

impl PlainRequest {
    /// Reads a request for a stream; `None` if it names no subscriptions.
    ///
    /// # Errors
    /// 400 if it does, and they are not valid.
    pub(super) fn of(request: &Request) -> Result<Option<Self>, ApiError> {
        let query = request.uri().query().unwrap_or_default();
        // Whatever else stands in the query of a stream is none of our business, as with PocketBase.
        if !query.contains(Form::SUBSCRIPTIONS) {
            return Ok(None);
        }
        let form = Form::of_query(query)?;
        if !form.is_subscribing() {
            return Ok(None);
        }
        let form = form.validate()?;
        let takes_html = match parameter(query, FORMAT).as_deref() {
            None | Some("json") => false,
            Some("html") => true,
            Some(_) => return Err(ApiError::unknown_format()),
        };
        let headers = request.headers();
        let id = text_of(headers, &LAST_EVENT_ID).filter(|id| !id.is_empty());
        let id = id.map(str::to_owned);
        let id = id.or_else(|| parameter(query, LAST_EVENT_ID_PARAMETER));
        Ok(Some(Self {
            form,
            takes_html,
            authorization: text_of(headers, &AUTHORIZATION).map(str::to_owned),
            resume: Resume::stream(id.as_deref()),
        }))
    }

    /// Sets the subscriptions of the stream with this id.
    ///
    /// # Errors
    /// As a request that sets subscriptions.
    pub(super) async fn subscribe(
        self,
        room: &Room,
        address: IpAddr,
        id: &ClientId,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let asking = Asking {
            address,
            authorization: self.authorization.as_deref(),
            headers,
        };
        // A hook that leaves it without subscriptions has its reasons.
        apply(room, asking, self.form.of_client(id), self.resume)
            .await
            .map(drop)
    }
}

/// The first value of a parameter.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = pairs_of(query.as_bytes())?;
    let found = pairs.into_iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value)
}
