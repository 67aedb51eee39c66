//! How commands fail: a text that says what to do, and an exit code (sysexits).

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;

use tokio_postgres::error::DbError;

use super::terminal;
use crate::catalog;
use crate::db::{ConnectError, ConnectFault, MigrateError, defers_to_cause};

/// The answer to what was asked is no.
pub(super) const NO: u8 = 1;
/// A flag, a setting or an argument is wrong.
pub(super) const USAGE: u8 = 64;
/// The database cannot be reached.
pub(super) const UNAVAILABLE: u8 = 69;
/// Something went wrong inside.
pub(super) const INTERNAL: u8 = 70;
/// The database does not permit it.
pub(super) const DENIED: u8 = 77;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// The user has to say something else.
    pub fn usage(error: &(dyn Error + 'static)) -> Self {
        Self::new(USAGE, explain(error))
    }

    /// We could not do `what`.
    pub fn internal(what: &str, error: impl Error + 'static) -> Self {
        Self::new(INTERNAL, format!("{what}: {}", explain(&error)))
    }

    /// A failure with a text of its own.
    pub fn new(code: u8, text: String) -> Self {
        Self { code, text }
    }

    /// No failure, but the answer no, which the result tells already.
    pub fn no() -> Self {
        Self::new(NO, String::new())
    }

    /// The same with other words, `(instead of, say)`.
    pub fn reworded(mut self, words: &[(&str, &str)]) -> Self {
        for (old, new) in words {
            self.text = self.text.replace(old, new);
        }
        self
    }

    /// Tells the failure and returns the process's exit code.
    pub fn exit(self) -> ExitCode {
        if !self.text.is_empty() {
            terminal::note(format_args!("error: {}", self.text));
        }
        ExitCode::from(self.code)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::new(connect_code(&error), explain(&error))
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        let code = match &error {
            MigrateError::Connect(error) => connect_code(error),
            MigrateError::Busy(_) => UNAVAILABLE,
            MigrateError::Denied { .. } => DENIED,
            MigrateError::ServerTooOld { .. }
            | MigrateError::OtherVersion(_)
            | MigrateError::WithoutHistory => USAGE,
            MigrateError::Migration(_) => INTERNAL,
            MigrateError::Query { source, .. } => statement_code(source),
        };
        Self::new(code, explain(&error))
    }
}

#[cfg(feature = "embedded")]
impl From<super::demo::DemoError> for Failure {
    fn from(error: super::demo::DemoError) -> Self {
        use super::demo::DemoError;
        let code = match error {
            DemoError::Connect(error) => return error.into(),
            DemoError::Migrate(error) => return error.into(),
            DemoError::PortTaken(_) | DemoError::Listen { .. } => USAGE,
            // No Postgres to run: there is no database.
            DemoError::Find(_) => UNAVAILABLE,
            DemoError::Cluster(_)
            | DemoError::Address(_)
            | DemoError::Sql(_)
            | DemoError::Token(_)
            | DemoError::Serve(_) => INTERNAL,
        };
        Self::new(code, explain(&error))
    }
}

/// A statement that failed; what the database says is the text.
impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let mut text = explain(&error);
        // Undefined function, table or schema, where it is one of ours.
        let ours_is_missing = error.as_db_error().is_some_and(|db| {
            matches!(db.code().code(), "42883" | "42P01" | "3F000")
                && db.message().contains("rowcast")
        });
        if ours_is_missing {
            text.push_str("\n  hint: this database has no rowcast schema yet, or an old one; run: rowcast migrate");
        }
        Self::new(statement_code(&error), text)
    }
}

impl From<catalog::LoadError> for Failure {
    fn from(error: catalog::LoadError) -> Self {
        match error {
            catalog::LoadError::Query(error) => error.into(),
            catalog::LoadError::Pool(_) | catalog::LoadError::Deadline => {
                Self::new(UNAVAILABLE, explain(&error))
            }
            catalog::LoadError::Policy(_) => Self::usage(&error),
        }
    }
}

fn connect_code(error: &ConnectError) -> u8 {
    match error.fault {
        ConnectFault::Denied => DENIED,
        ConnectFault::NoSuchDatabase | ConnectFault::Tls => USAGE,
        _ => UNAVAILABLE,
    }
}

/// What a statement's failure means: the first two characters are the class of the code.
fn statement_code(error: &tokio_postgres::Error) -> u8 {
    let Some(db) = error.as_db_error() else {
        return if error.is_closed() {
            UNAVAILABLE
        } else {
            INTERNAL
        };
    };
    match db.code().code() {
        "42501" => DENIED,
        // A lock that was not free, a server that is stopping or full.
        "55P03" => UNAVAILABLE,
        code => match &code[..2] {
            "08" | "53" | "57" => UNAVAILABLE,
            "22" | "23" | "3D" | "3F" | "42" | "P0" => USAGE,
            _ => INTERNAL,
        },
    }
}

/// An error and its causes, one per line; what Postgres says in full, with DETAIL and HINT.
pub(super) fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let causes = std::iter::successors(Some(error), |&cause| cause.source());
    for cause in causes {
        let said = match cause.downcast_ref::<DbError>() {
            Some(db) => database_said(db),
            None if defers_to_cause(cause) => continue,
            None => cause.to_string(),
        };
        // Some errors repeat their cause.
        if !said.is_empty() && !text.contains(&said) {
            let separator = if text.is_empty() { "" } else { "\n  " };
            write!(text, "{separator}{said}").expect("writing to a string cannot fail");
        }
    }
    text
}

fn database_said(db: &DbError) -> String {
    let message = db.message();
    let mut text = message
        .strip_prefix("rowcast: ")
        .unwrap_or(message)
        .to_owned();
    for (name, more) in [("detail", db.detail()), ("hint", db.hint())] {
        if let Some(more) = more {
            let more = more.replace('\n', "\n    ");
            write!(text, "\n  {name}: {more}").expect("writing to a string cannot fail");
        }
    }
    text
}
