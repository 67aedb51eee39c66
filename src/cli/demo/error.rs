//! What can keep the demo from running.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use crate::auth::IssueError;
use crate::db::{ConnectError, DatabaseConfigError, MigrateError};
use crate::embedded::{ClusterError, FindError};

/// The demo cannot run, or ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Somebody serves there already.
    #[error(
        "{0} is taken, perhaps by another rowcast; stop that one, or choose another port: \
         rowcast demo --port {next}", next = .0.port().checked_add(1).unwrap_or(8090)
    )]
    PortTaken(SocketAddr),
    /// The address cannot be served on.
    #[error("cannot serve on {address}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no Postgres to run.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The private Postgres does not start.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Its address cannot be used.
    #[error(transparent)]
    Address(#[from] DatabaseConfigError),
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Our schema cannot be made.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The collections cannot be made.
    #[error("could not set up the demo's database")]
    Sql(#[source] tokio_postgres::Error),
    /// The superuser's token cannot be made.
    #[error(transparent)]
    Token(#[from] IssueError),
    /// The service ended with an error.
    #[error("the service ended")]
    Serve(#[source] Box<dyn Error + Send + Sync>),
}
