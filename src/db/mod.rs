//! Postgres: pooled and dedicated connections, TLS, and the migrations of our own schema.
//!
//! *Owns* how a connection is opened, and the schema `rowcast`.
//! *Takes* connection strings as libpq understands them.
//! *Gives* pooled connections for queries, dedicated ones for listening.
//! *Never* runs a statement of another room, and never shows a password.

mod error;
mod migrate;
mod tls;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use deadpool_postgres::{Client as PooledClient, PoolError, Transaction};
pub use error::{ConnectError, ConnectFault, DatabaseConfigError, defers_to_cause};
pub use migrate::{AppliedMigration, MigrateError, SERVER_VERSION_MIN, migrate};
pub use tls::{SslMode, UnknownSslMode, public_tls};
pub use url::masked;

/// The half of a dedicated connection that its caller drives with `poll_message`.
pub type DatabaseConnection =
    Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Where the database is and how long to wait for it.
#[derive(Clone)]
pub struct DatabaseOptions {
    /// A connection string as libpq reads it: `postgres://…` or `host=… user=…`.
    pub url: String,
    /// The same database without a pooler in between, for the connections that must keep their
    /// session (listening, migrations). `None`: `url` is that already.
    pub direct_url: Option<String>,
    /// The password where the connection string has none (libpq's `PGPASSWORD`).
    pub password: Option<String>,
    /// Connections the pool may open.
    pub pool_size_max: usize,
    /// How long opening a connection may take, TLS and login included.
    pub connect_timeout: Duration,
    /// How long a query for a request may take; whoever queries keeps to it.
    pub statement_deadline: Duration,
    /// How TLS is used where the connection string does not say (libpq's `PGSSLMODE`).
    pub sslmode: Option<SslMode>,
    /// Whose certificates are trusted where the connection string does not say (`PGSSLROOTCERT`).
    pub sslrootcert: Option<PathBuf>,
}

impl DatabaseOptions {
    /// The defaults, for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            direct_url: None,
            password: None,
            pool_size_max: 8,
            connect_timeout: Duration::from_secs(10),
            statement_deadline: Duration::from_secs(10),
            sslmode: None,
            sslrootcert: None,
        }
    }

    /// Whether the connection strings and the certificates they name can be used; opens no
    /// connection.
    ///
    /// # Errors
    /// The setting at fault, `database_url` or `database_direct_url`, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, DatabaseConfigError)> {
        Endpoint::new(&self.url, self).map_err(|error| ("database_url", error))?;
        if let Some(url) = &self.direct_url {
            Endpoint::new(url, self).map_err(|error| ("database_direct_url", error))?;
        }
        Ok(())
    }
}

/// Shows everything but the passwords.
impl fmt::Debug for DatabaseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseOptions")
            .field("url", &masked(&self.url))
            .field("direct_url", &self.direct_url.as_deref().map(masked))
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("pool_size_max", &self.pool_size_max)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_deadline", &self.statement_deadline)
            .field("sslmode", &self.sslmode)
            .field("sslrootcert", &self.sslrootcert)
            .finish()
    }
}

/// One database: a pool for queries, and the way to a connection of one's own.
///
/// Cloning is cheap and shares the pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    direct: Endpoint,
    connect_timeout: Duration,
    statement_deadline: Duration,
}

/// Where and how to connect, ready to use.
#[derive(Clone)]
struct Endpoint {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Database {
    /// Understands the options and reads the certificates they name; connects to nothing yet.
    ///
    /// # Errors
    /// If a connection string cannot be understood or a certificate cannot be used. The error
    /// says what to do and holds no password.
    pub fn new(options: &DatabaseOptions) -> Result<Self, DatabaseConfigError> {
        let pooled = Endpoint::new(&options.url, options)?;
        let direct = match &options.direct_url {
            Some(url) => Endpoint::new(url, options)?,
            None => pooled.clone(),
        };
        Ok(Self {
            pool: pool(pooled, options),
            direct,
            connect_timeout: options.connect_timeout,
            statement_deadline: options.statement_deadline,
        })
    }

    /// The pool, for queries. Its connections drive themselves and lose notifications.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How long a query for a request may take.
    pub fn statement_deadline(&self) -> Duration {
        self.statement_deadline
    }

    /// Opens a connection of the caller's own, around any pooler; the caller drives the second
    /// half. Dead peers are noticed by keepalives and unacknowledged data within about a minute.
    /// Safe to drop half-way.
    ///
    /// # Errors
    /// If the database cannot be reached, will not talk TLS as asked, or refuses the login.
    pub async fn connect(
        &self,
        application_name: &str,
    ) -> Result<(Client, DatabaseConnection), ConnectError> {
        let mut config = self.direct.config.clone();
        config.application_name(application_name);
        let address = url::address(&config);
        match timeout(
            self.connect_timeout,
            config.connect(self.direct.tls.clone()),
        )
        .await
        {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(source)) => Err(ConnectError::new(address, source)),
            Err(_) => Err(ConnectError::timeout(address, self.connect_timeout)),
        }
    }

    /// Where dedicated connections go, as `host:port/name`, for messages.
    pub fn address(&self) -> String {
        url::address(&self.direct.config)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    fn new(text: &str, options: &DatabaseOptions) -> Result<Self, DatabaseConfigError> {
        let parsed = url::parse(text)?;
        let settings = parsed.tls.or_defaults(options);
        let mut config = parsed.config;
        if let (None, Some(password)) = (config.get_password(), &options.password) {
            config.password(password);
        }
        let tls = tls::connector(&settings, &mut config)?;
        set_timeouts(&mut config, options.connect_timeout);
        Ok(Self { config, tls })
    }
}

/// Notices a dead peer within about a minute, where the connection string does not say otherwise.
fn set_timeouts(config: &mut Config, connect_timeout: Duration) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(connect_timeout);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(30));
    }
    if config.get_keepalives_interval().is_none() && config.get_keepalives_retries().is_none() {
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3);
    }
}

fn pool(endpoint: Endpoint, options: &DatabaseOptions) -> Pool {
    let mut config = endpoint.config;
    if config.get_application_name().is_none() {
        config.application_name("rowcast");
    }
    let recycling_method = RecyclingMethod::Fast;
    let manager = Manager::from_config(config, endpoint.tls, ManagerConfig { recycling_method });
    Pool::builder(manager)
        .runtime(Runtime::Tokio1)
        .max_size(options.pool_size_max)
        .wait_timeout(Some(options.statement_deadline))
        .create_timeout(Some(options.connect_timeout))
        .recycle_timeout(Some(options.connect_timeout))
        .build()
        .expect("a pool with timeouts has a runtime")
}

#[cfg(test)]
mod tests;
