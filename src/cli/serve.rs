//! `rowcast serve`: the service, for a database of one's own.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::terminal;
use crate::app::{App, AppOptions, listen};
use crate::config::{Config, Flag, Need};
use crate::db::{AppliedMigration, Database, DatabaseOptions, MigrateError, migrate};
use crate::shutdown::Shutdown;
use crate::telemetry::{LogControl, init_logging};

/// How long a database that is not there yet is waited for at the start.
const START_PATIENCE: Duration = Duration::from_secs(60);
const RETRY_DELAY: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  rowcast serve --database-url postgres://owner@localhost/shop
  rowcast serve --config /etc/rowcast.toml --listen 0.0.0.0:8090
  ROWCAST_LOG=rowcast=debug rowcast serve
  rowcast serve --print-config > rowcast.toml      # all settings, secrets masked

SIGTERM or Ctrl-C lets streams end and drains; a second one ends at once. /api/health says that
the process lives, /api/ready that changes flow, /metrics counts.";

/// Serve the realtime API for a database
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Address and port to listen on [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Print all settings and where they come from, secrets masked, and end
    #[arg(long)]
    print_config: bool,
}

impl Serve {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let listen = self.listen.map(|value| Flag {
            flag: "--listen".to_owned(),
            name: "listen".to_owned(),
            value,
        });
        let own = listen.into_iter().collect();
        if self.print_config {
            let config = options.load_with(Need::Nothing, own)?;
            terminal::result(config.to_toml().trim_end());
            return Ok(());
        }
        let config = options.load_with(Need::Database, own)?;
        let log = start_logging(&config)?;
        #[cfg(unix)]
        super::open_files::raise_limit();
        let database = Database::new(&config.database).map_err(|error| Failure::usage(&error))?;
        // Before anything slow, so that a port that is taken is known at once.
        let listener = bind(config.listen)?;
        prepare(&database, &config).await?;
        let options = AppOptions {
            log: Some(log),
            ..app_options(&config, config.database.clone())
        };
        Box::pin(run(options, listener, Shutdown::new())).await
    }
}

/// Starts logging, with what the configuration has to remark.
pub(super) fn start_logging(config: &Config) -> Result<LogControl, Failure> {
    let log = init_logging(&config.log);
    let log = log.map_err(|error| Failure::internal("could not log", error))?;
    for notice in config.notices() {
        tracing::warn!("{notice}");
    }
    Ok(log)
}

/// What the app needs of the settings, for this database.
pub(super) fn app_options(config: &Config, database: DatabaseOptions) -> AppOptions {
    AppOptions {
        capture: config.capture.clone(),
        hub: config.hub.clone(),
        points: config.points.clone(),
        http: config.http.clone(),
        foreign_tokens: config.foreign_tokens.clone(),
        webhooks: config.webhooks.clone(),
        templates: config.templates.clone(),
        ..AppOptions::new(database)
    }
}

/// Runs the service until a signal or `shutdown` ends it.
pub(super) async fn run(
    options: AppOptions,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    let app = App::new(options).map_err(|error| Failure::usage(&error))?;
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::internal("could not listen", error))?;
    // From here on a signal drains; until here it simply ends the process.
    tokio::spawn(watch_signals(shutdown.clone()));
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
    let ended = Box::pin(app.run(listener, shutdown)).await;
    ended.map_err(|error| Failure::new(failure::INTERNAL, failure::explain(&error)))?;
    tracing::info!("stopped");
    Ok(())
}

async fn watch_signals(shutdown: Shutdown) {
    if let Err(error) = shutdown.on_signals().await {
        tracing::error!(error = &error as &dyn Error, "cannot drain on signals");
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    listen(address).map_err(|error| {
        let text = format!(
            "could not listen on {address}: {error}\n  choose another address with --listen"
        );
        Failure::new(failure::USAGE, text)
    })
}

/// Brings the schema up to date, waiting a while for a database that is still starting.
async fn prepare(database: &Database, config: &Config) -> Result<(), Failure> {
    if !config.migrate {
        return Ok(());
    }
    let applied = migrate_patiently(database).await?;
    for migration in applied {
        tracing::info!(
            migration.version,
            migration.name,
            "brought the schema rowcast up to date"
        );
    }
    Ok(())
}

async fn migrate_patiently(database: &Database) -> Result<Vec<AppliedMigration>, MigrateError> {
    let start = Instant::now();
    loop {
        match migrate(database).await {
            Err(error) if error.is_transient() && start.elapsed() < START_PATIENCE => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "the database is not there yet; trying again"
                );
                sleep(RETRY_DELAY).await;
            }
            outcome => return outcome,
        }
    }
}
