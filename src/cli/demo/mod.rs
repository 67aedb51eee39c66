//! `rowcast demo`: a private Postgres, collections defined in SQL, a small stream of changes.

mod changes;
mod error;
mod welcome;

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::app::listen;
use crate::auth::{SUPERUSER_TOKEN_LIFETIME, issue_superuser_token};
use crate::db::{Database, DatabaseOptions, migrate};
use crate::embedded::{Binaries, Cluster, ClusterOptions, Search, Storage, Tcp};
use crate::shutdown::Shutdown;

use changes::Changes;
pub use error::DemoError;
use welcome::Welcome;

const CREATE_DATABASE: &str = include_str!("../../../sql/cli/demo_database.sql");

/// What the demo offers, in the order in which tables refer to each other.
const COLLECTIONS: [&str; 3] = [
    include_str!("../../../sql/demo/posts.sql"),
    include_str!("../../../sql/demo/comments.sql"),
    include_str!("../../../sql/demo/drafts.sql"),
];

const DEFAULT_PORT: u16 = 8090;
const DATABASE: &str = "demo";
const SUPERUSER: &str = "demo@example.com";

/// The flags of `rowcast demo`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rowcast demo                       everything temporary, gone at Ctrl-C\n  \
    rowcast demo --port 9000 --rate 20 another port, more changes\n  \
    rowcast demo --keep ./demo-data    the same data again next time")]
pub struct DemoArgs {
    /// Serve on this port of 127.0.0.1 [default: 8090]
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    pub port: Option<u16>,
    /// Serve on this address, such as 0.0.0.0:8090
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Changes to make per second; 0 makes none
    #[arg(long, value_name = "N", default_value = "1", value_parser = rate)]
    pub rate: f64,
    /// Keep the database in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Fetch nothing, even if no Postgres is installed
    #[arg(long)]
    pub offline: bool,
    /// Use the Postgres programs of this folder
    #[arg(long, value_name = "DIR", env = "PG_BIN")]
    pub pg_bin: Option<PathBuf>,
}

/// What the demo has made ready for the service itself.
#[derive(Debug)]
pub struct Stage {
    /// The demo's database, migrated, with its collections.
    pub database: DatabaseOptions,
    /// The address that was announced.
    pub listener: TcpListener,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Prepares everything, says what to try, and lets `serve` run the service until it returns, which
/// it should do once `shutdown` says so. Database and server are gone when this returns.
///
/// # Errors
/// If something cannot be prepared, or with the error of `serve`.
pub async fn run<S, Running, E>(
    args: DemoArgs,
    shutdown: Shutdown,
    serve: S,
) -> Result<(), DemoError>
where
    S: FnOnce(Stage) -> Running,
    Running: Future<Output = Result<(), E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = take_port(args.address())?;
    let address = listener.local_addr().map_err(|source| DemoError::Listen {
        address: args.address(),
        source,
    })?;
    let (binaries, cluster) = start_postgres(&args).await?;
    let options = DatabaseOptions::new(cluster.url(DATABASE));
    let database = prepare(&cluster, &options).await?;
    let token = superuser_token(&database).await?;
    let changes = tokio::spawn(Changes::new(database, args.rate).run(shutdown.soft.clone()));
    Welcome {
        address,
        database_url: cluster
            .tcp_url(DATABASE)
            .unwrap_or_else(|| cluster.url(DATABASE)),
        psql: psql(&binaries),
        token,
        kept: args.keep.clone(),
    }
    .print();
    let outcome = serve(Stage {
        database: options,
        listener,
        shutdown,
    })
    .await;
    changes.abort();
    // Stopping the server blocks for a moment. Without a runtime to do it, the guard does it anyway.
    let _ = spawn_blocking(move || drop(cluster)).await;
    outcome.map_err(|error| DemoError::Serve(error.into()))
}

impl DemoArgs {
    fn address(&self) -> SocketAddr {
        let port = self.port.unwrap_or(DEFAULT_PORT);
        self.listen
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, port).into())
    }

    fn search(&self) -> Search {
        // Where programs lie is known to the machine's environment, not to our configuration.
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Search {
            pg_bin: self.pg_bin.clone(),
            path: env::var_os("PATH"),
            cache: cache.or_else(|| env::home_dir().map(|home| home.join(".cache"))),
            offline: self.offline,
        }
    }

    fn cluster(&self, binaries: Binaries) -> ClusterOptions {
        let mut options = ClusterOptions::new(binaries);
        // So that psql and any other client can join in.
        options.tcp = Tcp::Free;
        if let Some(folder) = &self.keep {
            options.storage = Storage::Kept(folder.clone());
            options.fsync = true;
        }
        options
    }
}

/// Takes the port before anything slow happens, so that a taken one is known at once.
fn take_port(address: SocketAddr) -> Result<TcpListener, DemoError> {
    listen(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => DemoError::PortTaken(address),
        _ => DemoError::Listen { address, source },
    })
}

async fn start_postgres(args: &DemoArgs) -> Result<(Binaries, Cluster), DemoError> {
    let args = args.clone();
    let start = move || {
        let binaries = Binaries::find(&args.search())?;
        let cluster = Cluster::start(&args.cluster(binaries.clone()))?;
        Ok((binaries, cluster))
    };
    spawn_blocking(start)
        .await
        .expect("starting the server does not panic")
}

/// Creates the database, our schema, and the collections; all of it may be there already.
async fn prepare(cluster: &Cluster, options: &DatabaseOptions) -> Result<Database, DemoError> {
    let maintenance = Database::new(&DatabaseOptions::new(cluster.url("postgres")))?;
    match connect(&maintenance)
        .await?
        .batch_execute(CREATE_DATABASE)
        .await
    {
        Err(error) if error.code() != Some(&SqlState::DUPLICATE_DATABASE) => {
            return Err(DemoError::Sql(error));
        }
        _ => {}
    }
    let database = Database::new(options)?;
    migrate(&database).await?;
    let client = connect(&database).await?;
    for collection in COLLECTIONS {
        client
            .batch_execute(collection)
            .await
            .map_err(DemoError::Sql)?;
    }
    Ok(database)
}

async fn superuser_token(database: &Database) -> Result<String, DemoError> {
    let client = connect(database).await?;
    let issued = issue_superuser_token(&client, SUPERUSER, SUPERUSER_TOKEN_LIFETIME).await?;
    Ok(issued.token)
}

async fn connect(database: &Database) -> Result<Client, DemoError> {
    let (client, connection) = database.connect("rowcast demo").await?;
    // Ends when the client is dropped.
    tokio::spawn(connection);
    Ok(client)
}

/// How to call psql, or `None` if it is not on this machine.
fn psql(binaries: &Binaries) -> Option<String> {
    let path = env::var_os("PATH")?;
    let is_on_path = env::split_paths(&path).any(|folder| folder.join("psql").is_file());
    if is_on_path {
        return Some("psql".to_owned());
    }
    let beside = binaries.directory().join("psql");
    binaries.has("psql").then(|| beside.display().to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    const MAX: f64 = 1_000.0;
    text.parse()
        .ok()
        .filter(|rate| (0.0..=MAX).contains(rate))
        .ok_or_else(|| format!("not a number from 0 to {MAX}"))
}
