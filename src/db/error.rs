//! What can be wrong with a database's address, and with the way to it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// Why a connection string or what it names cannot be used. Never shows a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseConfigError {
    /// The text follows neither form.
    #[error(
        "the connection string cannot be understood: {problem}; write it like \
         postgres://user:password@host:5432/name?sslmode=verify-full"
    )]
    Syntax {
        /// What is wrong.
        problem: String,
    },
    /// An option has a value that is not allowed.
    #[error("the connection string's option {option} {problem}")]
    Option {
        /// Which option.
        option: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A certificate or key file cannot be used.
    #[error("{option} names {}, which {problem}", path.display())]
    File {
        /// The option that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: &'static str,
        /// Why, if there is more to say.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The machine trusts nobody, so nothing can be verified.
    #[error(
        "this machine has no trusted certificates to verify the server with; install \
         ca-certificates, or name the server's own authority with sslrootcert=FILE"
    )]
    NoTrustedRoots,
    /// The certificates do not fit together.
    #[error("the TLS settings cannot be used")]
    Tls(#[from] rustls::Error),
}

/// Why there is no connection, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("could not connect to {address}: {}", fault.advice())]
pub struct ConnectError {
    /// Where to, as `host:port/name`.
    pub address: String,
    /// What kind of failure it is.
    pub fault: ConnectFault,
    /// What the driver said; nothing if it ran out of time.
    pub source: Option<tokio_postgres::Error>,
}

/// What kind of failure kept a connection from being opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFault {
    /// Nobody answered in time.
    Timeout(Duration),
    /// The host is unknown, refuses, or broke off.
    Unreachable,
    /// TLS was asked for and failed.
    Tls,
    /// The user or the password is wrong, or this user may not come from here.
    Denied,
    /// There is no such database.
    NoSuchDatabase,
    /// The server takes no more connections now.
    TooMany,
    /// The server is starting or stopping.
    NotReady,
    /// Something else; the source says it.
    Other,
}

impl ConnectFault {
    fn advice(self) -> String {
        let advice = match self {
            Self::Timeout(after) => return timeout_advice(after),
            Self::Unreachable => "is Postgres running there, and is the port right?",
            Self::Tls => {
                "TLS failed; check sslmode and sslrootcert (a server without TLS needs \
                 sslmode=disable; a certificate whose subjectAltName is not the host's name needs \
                 sslmode=verify-ca)"
            }
            Self::Denied => {
                "the login was refused; check user and password, and that pg_hba.conf lets this \
                 user in from here"
            }
            Self::NoSuchDatabase => "no such database; check the name after the last slash",
            Self::TooMany => {
                "the server takes no more connections; lower pool_size_max or raise max_connections"
            }
            Self::NotReady => "the server is starting or stopping; try again shortly",
            Self::Other => "the server refused",
        };
        advice.to_owned()
    }

    fn of(error: &tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) => Self::of_code(code),
            // The driver's kinds are private; its texts are what tells TLS from the rest.
            None if error
                .to_string()
                .starts_with("error performing TLS handshake") =>
            {
                Self::Tls
            }
            None if error.to_string().starts_with("authentication error")
                || error.to_string().starts_with("invalid configuration") =>
            {
                Self::Denied
            }
            None => Self::Unreachable,
        }
    }

    fn of_code(code: &SqlState) -> Self {
        match code.code() {
            "28000" | "28P01" | "42501" => Self::Denied,
            "3D000" => Self::NoSuchDatabase,
            "53300" => Self::TooMany,
            "57P01" | "57P02" | "57P03" => Self::NotReady,
            _ => Self::Other,
        }
    }
}

fn timeout_advice(after: Duration) -> String {
    format!(
        "no answer within {}; is there a firewall in between?",
        humantime::format_duration(after)
    )
}

impl ConnectError {
    pub(super) fn new(address: String, source: tokio_postgres::Error) -> Self {
        Self {
            address,
            fault: ConnectFault::of(&source),
            source: Some(source),
        }
    }

    pub(super) fn timeout(address: String, after: Duration) -> Self {
        Self {
            address,
            fault: ConnectFault::Timeout(after),
            source: None,
        }
    }

    /// Whether trying again later cannot help before somebody changes something.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.fault,
            ConnectFault::Tls | ConnectFault::Denied | ConnectFault::NoSuchDatabase
        )
    }
}

/// Whether an error's text is only that its cause is the database's, which speaks for itself.
pub fn defers_to_cause(error: &(dyn Error + 'static)) -> bool {
    let driver = error.downcast_ref::<tokio_postgres::Error>();
    let migration = error.downcast_ref::<refinery::Error>();
    driver.is_some_and(|error| error.as_db_error().is_some())
        || migration
            .is_some_and(|error| matches!(error.kind(), refinery::error::Kind::Connection(..)))
}
