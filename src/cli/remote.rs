//! A running server, asked over HTTP with a superuser's token.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

use super::failure::{self, Failure};
use super::health::reachable;
use super::options::ConfigOptions;
use super::session;
use crate::auth::issue_superuser_token;
use crate::config::Need;
use crate::db::public_tls;

/// How long the server may take to answer.
const DEADLINE: Duration = Duration::from_secs(60);
/// More than any answer of ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A token of our own is used at once.
const TOKEN_LIFETIME: Duration = Duration::from_secs(120);

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub struct RemoteOptions {
    /// The server [default: the one on this machine, by the setting listen]
    #[arg(long, value_name = "URL", global = true, help_heading = "Server")]
    url: Option<String>,
    /// A superuser's token, as rowcast token prints it; the variable keeps it out of the process list, and
    /// so does - for standard input
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ROWCAST_TOKEN",
        hide_env_values = true,
        global = true,
        help_heading = "Server"
    )]
    token: Option<String>,
    /// Instead of a token: get one for this superuser from the database
    #[arg(
        long,
        value_name = "EMAIL",
        global = true,
        conflicts_with = "token",
        help_heading = "Server"
    )]
    superuser: Option<String>,
}

/// A server that can be asked.
pub(super) struct Remote {
    base: String,
    authorization: HeaderValue,
}

impl RemoteOptions {
    /// The server, and a token for it.
    pub(super) async fn open(&self, options: &ConfigOptions) -> Result<Remote, Failure> {
        let base = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", reachable(options.load(Need::Nothing)?.listen)),
        };
        let token = match (&self.token, &self.superuser) {
            (Some(token), _) if token == "-" => {
                let mut line = String::new();
                let read = std::io::stdin().read_line(&mut line);
                read.map_err(|error| Failure::internal("could not read the token", error))?;
                line.trim().to_owned()
            }
            (Some(token), _) => token.trim().to_owned(),
            (None, Some(email)) => mint(options, email).await?,
            (None, None) => {
                let text = "who asks? give a superuser's token with --token or the variable ROWCAST_TOKEN,\n  \
                            or --superuser EMAIL to get one from the database";
                return Err(Failure::new(failure::USAGE, text.to_owned()));
            }
        };
        let authorization = HeaderValue::try_from(token);
        let mut authorization = authorization.map_err(|_| {
            let text = "the token has characters that no token has; see: rowcast token --help";
            Failure::new(failure::USAGE, text.to_owned())
        })?;
        authorization.set_sensitive(true);
        Ok(Remote {
            base,
            authorization,
        })
    }
}

/// A token for a superuser that there is.
async fn mint(options: &ConfigOptions, email: &str) -> Result<String, Failure> {
    let client = session::open(&options.database()?, "clients").await?;
    let issued = issue_superuser_token(&client, email, TOKEN_LIFETIME).await;
    let issued = issued.map_err(super::token::not_issued)?;
    if issued.created {
        super::terminal::note(format_args!("note: created the superuser {email}"));
    }
    Ok(issued.token)
}

impl Remote {
    /// Asks, with JSON if any, and returns the answer's JSON, `null` if it has none.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let uri: Uri = url.parse().map_err(|error| {
            let text = format!(
                "--url {}: {error}; it is like http://127.0.0.1:8090",
                self.base
            );
            Failure::new(failure::USAGE, text)
        })?;
        let mut request = Request::builder()
            .method(method)
            .uri(&uri)
            .header(AUTHORIZATION, &self.authorization);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Bytes::from(body.unwrap_or_default());
        let request = request.body(Full::new(body)).map_err(|error| {
            Failure::new(failure::USAGE, format!("--url {}: {error}", self.base))
        })?;
        let answer = async {
            match uri.scheme_str() {
                Some("https") => {
                    let tls = public_tls().map_err(|error| Failure::usage(&error))?;
                    let https = HttpsConnectorBuilder::new().with_tls_config(tls);
                    let https = https.https_only().enable_http1();
                    self.send(https.wrap_connector(tcp()), request).await
                }
                _ => self.send(tcp(), request).await,
            }
        };
        let answer = timeout(DEADLINE, answer).await;
        answer.unwrap_or_else(|_| Err(self.unavailable("no answer within a minute")))
    }

    async fn send<C>(&self, connector: C, request: Request<Full<Bytes>>) -> Result<Value, Failure>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let answer = client.request(request).await;
        let answer =
            answer.map_err(|error: ClientError| self.unavailable(&failure::explain(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await;
        let body = body.map_err(|error| self.unavailable(&error.to_string()))?;
        let body = body.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        match status.is_success() {
            true => Ok(json),
            false => Err(refused(status, &json)),
        }
    }

    fn unavailable(&self, why: &str) -> Failure {
        let text = format!(
            "{}: {why}\n  is it running there? another address is given with --url",
            self.base
        );
        Failure::new(failure::UNAVAILABLE, text)
    }
}

/// What the server said instead of doing it.
fn refused(status: StatusCode, answer: &Value) -> Failure {
    let code = match status.as_u16() {
        401 | 403 => failure::DENIED,
        400..=499 => failure::USAGE,
        502..=504 => failure::UNAVAILABLE,
        _ => failure::INTERNAL,
    };
    let mut text = format!("the server said {}", status.as_u16());
    if let Some(message) = answer["message"].as_str() {
        text = format!("{text}: {message}");
    }
    for (field, problem) in answer["data"].as_object().into_iter().flatten() {
        if let Some(message) = problem["message"].as_str() {
            text = format!("{text}\n  {field}: {message}");
        }
    }
    if code == failure::DENIED {
        text.push_str("\n  hint: a superuser's token is needed: rowcast token --superuser EMAIL");
    }
    Failure::new(code, text)
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector
}
