//! Fetches a key set over HTTP: one small answer, within limits, redirected nowhere.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::db::{DatabaseConfigError, public_tls};

/// No answer is larger.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// From the first packet to the last byte.
const DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// What an issuer answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The key set; `None` if it is the one from before.
    pub(super) body: Option<Bytes>,
    /// By what to ask whether it has changed.
    pub(super) etag: Option<HeaderValue>,
    /// For how long the issuer says it is good.
    pub(super) max_age: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("there was no answer in time")]
    Timeout,
    #[error("no secure connection can be made")]
    Tls(#[source] Box<DatabaseConfigError>),
    #[error("the request failed")]
    Request(#[source] ClientError),
    #[error(
        "it answered {0}, which leads elsewhere; give the address of the key set itself as jwt_jwks_url"
    )]
    Redirect(StatusCode),
    #[error("it answered {0}; a key set comes with 200")]
    Status(StatusCode),
    #[error("its answer has more than 256 KiB, which is no set of keys")]
    TooLarge,
    #[error("its answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("its answer is no JSON Web Key Set: {{\"keys\": […]}}")]
    NoSet(#[source] serde_json::Error),
}

/// Whoever has the newest key set.
pub(super) trait Source {
    /// Asks for the set, unless it is still the one of this tag.
    fn get(
        &mut self,
        etag: Option<HeaderValue>,
    ) -> impl Future<Output = Result<Answer, FetchError>> + Send;
}

/// An address to fetch from.
pub(super) struct Address {
    uri: Uri,
    /// Made when first used: reading the machine's certificates takes a while.
    http: Option<Http>,
}

#[derive(Clone)]
pub(super) enum Http {
    Plain(Client<HttpConnector, Empty<Bytes>>),
    Secure(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>),
}

impl Address {
    pub(super) fn new(uri: Uri) -> Self {
        Self { uri, http: None }
    }

    /// The same through a client that trusts other authorities.
    #[cfg(test)]
    pub(super) fn through(self, http: Http) -> Self {
        Self {
            http: Some(http),
            ..self
        }
    }

    async fn http(&mut self) -> Result<Http, FetchError> {
        if let Some(http) = &self.http {
            return Ok(http.clone());
        }
        let http = match self.uri.scheme_str() {
            Some("https") => {
                let tls = spawn_blocking(public_tls).await;
                let tls = tls.expect("reading certificates does not panic");
                let tls = tls.map_err(|error| FetchError::Tls(Box::new(error)))?;
                let https = HttpsConnectorBuilder::new().with_tls_config(tls);
                let https = https.https_only().enable_http1();
                Http::secure(https.wrap_connector(tcp()))
            }
            _ => Http::Plain(Client::builder(TokioExecutor::new()).build(tcp())),
        };
        self.http = Some(http.clone());
        Ok(http)
    }
}

impl Http {
    pub(super) fn secure(connector: HttpsConnector<HttpConnector>) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        // The next request comes in minutes.
        builder.pool_max_idle_per_host(0);
        Self::Secure(builder.build(connector))
    }

    fn request(&self, request: Request<Empty<Bytes>>) -> ResponseFuture {
        match self {
            Self::Plain(client) => client.request(request),
            Self::Secure(client) => client.request(request),
        }
    }
}

/// Connects to hosts, for whichever protocol.
pub(super) fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_DEADLINE));
    connector
}

impl Source for Address {
    async fn get(&mut self, etag: Option<HeaderValue>) -> Result<Answer, FetchError> {
        let http = self.http().await?;
        let mut request = Request::get(&self.uri)
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .header(USER_AGENT, concat!("rowcast/", env!("CARGO_PKG_VERSION")));
        if let Some(etag) = &etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = request
            .body(Empty::new())
            .expect("an address and good headers make a request");
        let answer = async { read(http.request(request).await, etag).await };
        timeout(DEADLINE, answer)
            .await
            .unwrap_or(Err(FetchError::Timeout))
    }
}

async fn read(
    response: Result<Response<hyper::body::Incoming>, ClientError>,
    etag: Option<HeaderValue>,
) -> Result<Answer, FetchError> {
    let (parts, body) = response.map_err(FetchError::Request)?.into_parts();
    let max_age = max_age(&parts.headers);
    match parts.status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if etag.is_some() => {
            return Ok(Answer {
                body: None,
                etag,
                max_age,
            });
        }
        status if status.is_redirection() => return Err(FetchError::Redirect(status)),
        status => return Err(FetchError::Status(status)),
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => FetchError::TooLarge,
        false => FetchError::Body(error),
    })?;
    Ok(Answer {
        body: Some(body.to_bytes()),
        etag: parts.headers.get(ETAG).cloned(),
        max_age,
    })
}

/// For how long an answer says it is good: not at all where it is not to be kept.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let text: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let text = text.join(",").to_ascii_lowercase();
    let mut directives = text.split(',').map(str::trim);
    if directives
        .clone()
        .any(|it| it == "no-store" || it == "no-cache")
    {
        return Some(Duration::ZERO);
    }
    let seconds = directives.find_map(|it| it.strip_prefix("max-age="))?;
    Some(Duration::from_secs(seconds.trim_matches('"').parse().ok()?))
}
