//! Error answers in PocketBase's form (contract, appendix B).

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::LoginError;
use crate::hooks::Refusal;
use crate::hub::{DirectError, JoinError, SetTopicsError, StoreError, Unfit, Unfitting};
use crate::messages::SendError;
use crate::templates::TemplateError;

/// Seconds after which a client that was turned away for lack of room may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// What went wrong, as the client is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    data: Data,
    retry_after: Option<HeaderValue>,
}

/// What is said beside the message.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Data {
    Fields(Invalid),
    /// What a hook says.
    Own(Map<String, Value>),
}

/// What is wrong with each field of a form.
pub(super) type Invalid = BTreeMap<&'static str, FieldError>;

/// What is wrong with one field: itself, or some of its items by index.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum FieldError {
    Value(Violation),
    Items(BTreeMap<String, Violation>),
}

/// One broken rule of validation.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Violation {
    code: &'static str,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<LengthParams>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct LengthParams {
    max: usize,
    min: usize,
}

impl Violation {
    pub(super) fn required() -> Self {
        Self {
            code: "validation_required",
            message: "Cannot be blank.".into(),
            params: None,
        }
    }

    pub(super) fn length_out_of_range(min: usize, max: usize) -> Self {
        Self {
            code: "validation_length_out_of_range",
            message: format!("The length must be between {min} and {max}.").into(),
            params: Some(LengthParams { max, min }),
        }
    }

    pub(super) fn not_allowed() -> Self {
        Self {
            code: "validation_in_invalid",
            message: "Must be a valid value.".into(),
            params: None,
        }
    }

    /// A value that is not what it must be, as the message says.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: "validation_invalid_value",
            message: message.into(),
            params: None,
        }
    }

    pub(super) fn unfit(why: &Unfit) -> Self {
        Self {
            code: why.code(),
            message: why.to_string().into(),
            params: None,
        }
    }

    pub(super) fn length_too_long(max: usize) -> Self {
        Self {
            code: "validation_length_too_long",
            message: format!("The length must be no more than {max}.").into(),
            params: Some(LengthParams { max, min: 0 }),
        }
    }
}

impl ApiError {
    const GENERIC: &str = "Something went wrong while processing your request.";

    fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
            data: Data::Fields(Invalid::new()),
            retry_after: None,
        }
    }

    fn retry_later(self) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..self
        }
    }

    /// 400 without details: a body that cannot be read.
    pub(super) fn bad_request() -> Self {
        Self::new(StatusCode::BAD_REQUEST, Self::GENERIC)
    }

    /// 403 for those who may not.
    pub(super) fn forbidden(why: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, why)
    }

    /// 400 that names the fields.
    pub(super) fn invalid(data: Invalid) -> Self {
        Self {
            data: Data::Fields(data),
            ..Self::bad_request()
        }
    }

    /// 400 for a login whose body is of no kind we read.
    pub(super) fn unsupported_content_type() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Unsupported Content-Type.")
    }

    /// 400 for a login whose body cannot be read.
    pub(super) fn unloadable() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "An error occurred while loading the submitted data.",
        )
    }

    /// 400 for a login that names the fields at fault.
    pub(super) fn invalid_login(data: Invalid) -> Self {
        Self {
            data: Data::Fields(data),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "An error occurred while validating the submitted data.",
            )
        }
    }

    /// 400 for a body that is not what it must be.
    pub(super) fn unreadable(problem: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            format!("The request body {problem}."),
        )
    }

    /// 400 for a stream that wants its data as nobody knows how.
    pub(super) fn unknown_format() -> Self {
        let message = "The parameter format must be json or html.";
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400 for a message whose template fails.
    pub(super) fn failing_template(error: &TemplateError) -> Self {
        let mut message = error.to_string();
        message.replace_range(..1, "T");
        message.push('.');
        let violation = Violation::invalid(message);
        Self::invalid([("template", FieldError::Value(violation))].into())
    }

    /// 400 for a name in the query that means nothing.
    pub(super) fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let name: String = name.chars().take(50).collect();
        let known = known.join(", ");
        let message = format!("The query has no parameter {name:?}; there are {known}.");
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: only superusers may ask this, and nobody was proved to ask.
    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "The request requires valid record authorization token.",
        )
    }

    /// 403: only superusers may ask this.
    pub(super) fn not_for_records() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "The authorized record is not allowed to perform this action.",
        )
    }

    /// 404: no stream has this client id.
    pub(super) fn unknown_client() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Missing or invalid client id.")
    }

    /// Why a message was not sent to one stream.
    pub(super) fn of_direct(error: DirectError) -> Self {
        match error {
            DirectError::UnknownClient => Self::unknown_client(),
            DirectError::TooSlow => Self::new(
                StatusCode::NOT_FOUND,
                "The client reads too slowly and was let go.",
            ),
            DirectError::Stopped => Self::stopping(),
        }
    }

    /// 429 for whoever asks too often.
    pub(super) fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests.").retry_later()
    }

    /// 404 for paths and methods that do not exist.
    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "The requested resource wasn't found.",
        )
    }

    /// 408 for a body that does not arrive.
    pub(super) fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "The request body took too long to arrive.",
        )
    }

    /// 413 for a body beyond the limit.
    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request entity too large.")
    }

    /// 500 for a bug of ours.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Self::GENERIC)
    }

    /// 503 for a request that took too long here.
    pub(super) fn overloaded() -> Self {
        Self::unavailable("The server is too busy to answer in time. Try again later.")
    }

    fn unavailable(message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_later()
    }

    /// 503: capture has not reached the database yet.
    pub(super) fn starting() -> Self {
        Self::unavailable("The change feed has not reached its database yet. Try again later.")
    }

    /// 503: whose token it is cannot be known now.
    pub(super) fn unchecked() -> Self {
        Self::unavailable(
            "The token could not be checked, because the database does not answer. Try again later.",
        )
    }

    /// Why subscriptions were not replaced; `places` says where each of them stood in the form.
    pub(super) fn of_topics(error: SetTopicsError, places: &[usize]) -> Self {
        match error {
            SetTopicsError::Unfit(unfit) => {
                let items = unfit.into_iter().map(|Unfitting { at, why }| {
                    let place = places.get(at).copied().unwrap_or(at);
                    (place.to_string(), Violation::unfit(&why))
                });
                let items = FieldError::Items(items.collect());
                Self::invalid(Invalid::from([("subscriptions", items)]))
            }
            SetTopicsError::UnknownClient => Self::unknown_client(),
            SetTopicsError::ForeignAddress => {
                Self::new(StatusCode::BAD_REQUEST, "Invalid realtime client.")
            }
            SetTopicsError::OtherPrincipal => Self::new(
                StatusCode::FORBIDDEN,
                "The current and the previous request authorization don't match.",
            ),
            SetTopicsError::Stopped => Self::stopping(),
        }
    }

    pub(super) fn stopping() -> Self {
        Self::unavailable("The server is stopping. Try again later.")
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let seconds = refusal.retry_after.map(|pause| pause.as_secs().max(1));
        Self {
            data: Data::Own(refusal.data),
            retry_after: seconds.map(HeaderValue::from),
            ..Self::new(refusal.status, refusal.message)
        }
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::TooMany => Self::unavailable("Too many subscribers. Try again later."),
            JoinError::TooManyFromAddress => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests.").retry_later()
            }
            JoinError::Stopped => Self::stopping(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownClient => Self::of_topics(SetTopicsError::UnknownClient, &[]),
            StoreError::ForeignAddress => Self::of_topics(SetTopicsError::ForeignAddress, &[]),
            StoreError::OtherPrincipal => Self::of_topics(SetTopicsError::OtherPrincipal, &[]),
            StoreError::Stopped => Self::stopping(),
            error @ StoreError::TooMuch => {
                let violation = Violation::invalid(format!("Too much: {error}."));
                Self::invalid(Invalid::from([("values", FieldError::Value(violation))]))
            }
            StoreError::Keys(keys) => {
                let items = keys
                    .into_iter()
                    .map(|(key, why)| (key, Violation::invalid(why.to_string())));
                let items = FieldError::Items(items.collect());
                Self::invalid(Invalid::from([("values", items)]))
            }
        }
    }
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        let of = |field, why: String| {
            let violation = FieldError::Value(Violation::invalid(why));
            Self::invalid(Invalid::from([(field, violation)]))
        };
        match error {
            SendError::Invalid {
                argument,
                problem,
                remedy,
            } => {
                let field = match &*argument {
                    "topic" => "topic",
                    "to_client" => "clientId",
                    "to_principal" => "principal",
                    "filter" => "filter",
                    _ => "data",
                };
                of(field, format!("{problem}. {remedy}").trim_end().to_owned())
            }
            SendError::Filter(error) => of("filter", error.to_string()),
            error @ (SendError::Pool(_) | SendError::Query(_)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a message could not be sent"
                );
                Self::unavailable("The message could not be sent. Try again later.")
            }
        }
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        let new = |status, message: &'static str| Self::new(status, message);
        match error {
            LoginError::UnknownCollection => new(
                StatusCode::NOT_FOUND,
                "Missing or invalid collection context.",
            ),
            LoginError::NotAuthCollection => new(
                StatusCode::NOT_FOUND,
                "Missing or invalid auth collection context.",
            ),
            LoginError::PasswordDisabled => new(
                StatusCode::FORBIDDEN,
                "The collection is not configured to allow password authentication.",
            ),
            LoginError::Failed => new(StatusCode::BAD_REQUEST, "Failed to authenticate."),
            LoginError::Denied => new(
                StatusCode::FORBIDDEN,
                "The request doesn't satisfy the collection requirements to authenticate.",
            ),
            LoginError::NoToken => Self::unauthorized(),
            LoginError::OtherCollection(name) => Self::new(
                StatusCode::FORBIDDEN,
                format!("The request requires auth record from {name} collection."),
            ),
            LoginError::Busy => Self::overloaded(),
            error @ (LoginError::Record(_) | LoginError::Token(_)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a login could not be decided"
                );
                Self::unavailable("The login could not be decided. Try again later.")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            data: &'a Data,
            message: &'a str,
            status: u16,
        }
        let body = Body {
            data: &self.data,
            message: &self.message,
            status: self.status.as_u16(),
        };
        let mut response = (self.status, JsonLine(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// One line of JSON, ended by a line feed as PocketBase's are.
pub(super) struct JsonLine<T>(pub(super) T);

impl<T: Serialize> IntoResponse for JsonLine<T> {
    fn into_response(self) -> Response {
        let mut json =
            serde_json::to_vec(&self.0).expect("structs and maps with string keys always encode");
        json.push(b'\n');
        ([(header::CONTENT_TYPE, "application/json")], json).into_response()
    }
}
