//! Our own schema: created and brought up to date by whichever process starts first.

use std::error::Error;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{ConnectError, Database};

mod embedded {
    #![allow(missing_docs)]
    refinery::embed_migrations!("migrations");
}

const SESSION: &str = include_str!("../../sql/db/migrate_session.sql");
const SERVER_VERSION: &str = include_str!("../../sql/db/server_version.sql");
const LOCK: &str = include_str!("../../sql/db/migrate_lock.sql");
const SCHEMA_EXISTS: &str = include_str!("../../sql/db/schema_exists.sql");
const LOST_HISTORY: &str = include_str!("../../sql/db/lost_history.sql");
const CREATE_SCHEMA: &str = include_str!("../../sql/db/create_schema.sql");

/// Where refinery notes what it has applied.
const HISTORY_TABLE: &str = "rowcast.schema_history";

/// The oldest server whose functions our SQL uses, as `server_version_num`.
pub const SERVER_VERSION_MIN: i32 = 140_000;

/// A migration that was applied just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
}

/// Why the schema is not up to date, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server is too old.
    #[error("Postgres {found} is too old; rowcast needs Postgres 14 or newer")]
    ServerTooOld {
        /// The version it says it has.
        found: String,
    },
    /// Another process does not finish.
    #[error(
        "another process has been migrating this database for a minute; look at pg_locks for \
         the advisory lock, or try again"
    )]
    Busy(#[source] tokio_postgres::Error),
    /// The role may not do it.
    #[error(
        "this role may not create or change the schema rowcast; let an owner of the database run: \
         create schema if not exists rowcast authorization \"{role}\""
    )]
    Denied {
        /// Who we are to the database.
        role: String,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The history does not fit this binary.
    #[error(
        "the schema rowcast was made by another version of this program; use a binary at least as \
         new as the one that migrated last"
    )]
    OtherVersion(#[source] Box<refinery::Error>),
    /// Our schema is there and what was applied to it is not noted.
    #[error(
        "the schema rowcast came here without its data, so nobody knows its version or what was attached; \
         run drop schema rowcast cascade, which removes it and its triggers, then migrate and attach again"
    )]
    WithoutHistory,
    /// A migration failed; it was rolled back.
    #[error("a migration of the schema rowcast failed and was rolled back")]
    Migration(#[source] Box<refinery::Error>),
    /// A statement around the migrations failed.
    #[error("could not {doing}")]
    Query {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: tokio_postgres::Error,
    },
}

impl MigrateError {
    /// Whether trying again may help, because the connection could not be had or was lost.
    pub fn is_transient(&self) -> bool {
        if let Self::Connect(error) = self {
            return !error.is_permanent();
        }
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(is_lost) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Whether the database went away, or sent us away.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    const GOODBYES: [SqlState; 3] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    let code = error.code();
    error.is_closed() || code.is_some_and(|code| GOODBYES.contains(code))
}

/// Creates the schema `rowcast` or brings it up to date; any number of processes may do so at
/// once. Returns what this call applied. A role that may not create anything succeeds where there
/// is nothing to do. Dropping it half-way rolls back the migration under way.
///
/// # Errors
/// If the database cannot be reached, the role lacks rights, or a migration fails; the schema is
/// then as the last successful migration left it.
pub async fn migrate(database: &Database) -> Result<Vec<AppliedMigration>, MigrateError> {
    let (mut client, connection) = database.connect("rowcast migrate").await?;
    // Ends when the client is dropped, and the session's lock with it.
    tokio::spawn(connection);
    let role = check_server(&client).await?;
    client
        .batch_execute(SESSION)
        .await
        .map_err(query("prepare the session"))?;
    if is_current(&mut client).await? {
        return Ok(Vec::new());
    }
    lock(&client).await?;
    if has_lost_history(&client).await? {
        return Err(MigrateError::WithoutHistory);
    }
    create_schema(&client, &role).await?;
    match runner().run_async(&mut client).await {
        Ok(report) => Ok(report.applied_migrations().iter().map(applied).collect()),
        Err(error) => Err(classify(error, role)),
    }
}

fn runner() -> refinery::Runner {
    let runner = embedded::migrations::runner();
    let mut runner = runner.set_abort_missing(true).set_abort_divergent(true);
    runner.set_migration_table_name(HISTORY_TABLE);
    runner
}

/// Returns who we are to a server that is new enough.
async fn check_server(client: &Client) -> Result<String, MigrateError> {
    let doing = "ask the server for its version";
    let row = client.query_one(SERVER_VERSION, &[]).await;
    let row = row.map_err(query(doing))?;
    let number: i32 = row.try_get("version_num").map_err(query(doing))?;
    if number < SERVER_VERSION_MIN {
        let found = row.try_get("version").map_err(query(doing))?;
        return Err(MigrateError::ServerTooOld { found });
    }
    row.try_get("role").map_err(query(doing))
}

/// Whether exactly the migrations of this binary are applied.
async fn is_current(client: &mut Client) -> Result<bool, MigrateError> {
    let (_, history) = what_exists(client).await?;
    if !history {
        return Ok(false);
    }
    let runner = runner();
    // Whatever is wrong here is met again, and told, by the run itself.
    let Ok(applied) = runner.get_applied_migrations_async(client).await else {
        return Ok(false);
    };
    let known = runner.get_migrations();
    Ok(known.len() == applied.len() && known.iter().all(|one| applied.contains(one)))
}

/// Whether our tables are there and nothing says which migrations made them.
async fn has_lost_history(client: &Client) -> Result<bool, MigrateError> {
    let doing = "look for the history of the schema rowcast";
    let (_, history) = what_exists(client).await?;
    if !history {
        return Ok(false);
    }
    let row = client.query_one(LOST_HISTORY, &[]).await;
    let row = row.map_err(query(doing))?;
    row.try_get("lost").map_err(query(doing))
}

/// Whether the schema and the history table exist.
async fn what_exists(client: &Client) -> Result<(bool, bool), MigrateError> {
    let doing = "look for the schema rowcast";
    let row = client.query_one(SCHEMA_EXISTS, &[]).await;
    let row = row.map_err(query(doing))?;
    let schema = row.try_get("schema_exists").map_err(query(doing))?;
    let history = row.try_get("history_exists").map_err(query(doing))?;
    Ok((schema, history))
}

async fn lock(client: &Client) -> Result<(), MigrateError> {
    client.batch_execute(LOCK).await.map_err(|error| {
        if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            MigrateError::Busy(error)
        } else {
            query("wait for other processes that migrate")(error)
        }
    })
}

async fn create_schema(client: &Client, role: &str) -> Result<(), MigrateError> {
    let (exists, _) = what_exists(client).await?;
    if exists {
        return Ok(());
    }
    client.batch_execute(CREATE_SCHEMA).await.map_err(|error| {
        if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            denied(role.to_owned(), error)
        } else {
            query("create the schema rowcast")(error)
        }
    })
}

fn applied(migration: &refinery::Migration) -> AppliedMigration {
    AppliedMigration {
        version: i64::from(migration.version()),
        name: migration.name().to_owned(),
    }
}

/// What refinery's error means to an operator.
fn classify(error: refinery::Error, role: String) -> MigrateError {
    use refinery::error::Kind;
    match error.kind() {
        Kind::MissingVersion(_) | Kind::DivergentVersion(..) => {
            MigrateError::OtherVersion(Box::new(error))
        }
        _ if code(&error) == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => denied(role, error),
        _ => MigrateError::Migration(Box::new(error)),
    }
}

/// The database's own code somewhere among the causes.
fn code(error: &refinery::Error) -> Option<&SqlState> {
    let source = error.source()?;
    source.downcast_ref::<tokio_postgres::Error>()?.code()
}

fn denied(role: String, source: impl Error + Send + Sync + 'static) -> MigrateError {
    let source = Box::new(source);
    MigrateError::Denied { role, source }
}

fn query(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> MigrateError {
    move |source| MigrateError::Query { doing, source }
}
