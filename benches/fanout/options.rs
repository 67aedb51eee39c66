//! What can be chosen on the command line, and the database's settings.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rowcast::embedded::{Binaries, ClusterOptions, Search};

use crate::Error;
use crate::baseline::Kind;

/// What is measured, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// A public collection: everybody receives every change.
    Open,
    /// The same under the rule `status = "public"`.
    Constant,
    /// The rule `owner = @request.auth.id`: one receiver among many subscriptions.
    Owner,
    /// The same by the clients' own filters.
    Filter,
    /// Each client watches one record.
    Record,
    /// Thousands of changes at once.
    Burst,
    /// A few clients that read nothing beside many that do.
    Slow,
    /// Nothing happens.
    Idle,
    /// What an idle client takes in memory.
    Memory,
    /// Clients come and go.
    Churn,
    /// All come back at once: after their connections were cut, and after `kill -9` of the server.
    Reconnect,
}

/// Measures what it costs to tell many clients what happens.
#[derive(Debug, Parser)]
pub struct Options {
    /// What to measure, with commas in between; everything if not given
    #[arg(long, value_delimiter = ',', value_enum)]
    scenario: Vec<Scenario>,
    /// Sizes to measure instead of the usual ones, with commas in between
    #[arg(long, value_delimiter = ',')]
    clients: Vec<usize>,
    /// How many principals the clients are; as many as there are clients if not given
    #[arg(long)]
    pub principals: Option<usize>,
    /// How often each line is measured
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds per line and round
    #[arg(long)]
    seconds: Option<f64>,
    /// Less than a minute: smaller sizes, one round
    #[arg(long)]
    pub small: bool,
    /// Fail if something went missing or out of order, or where cost grows with those who receive nothing
    #[arg(long)]
    pub check: bool,
    /// A PocketBase-compatible server to put beside us, with a public collection as `tables.sql` makes it
    #[arg(long, value_name = "URL")]
    pub peer: Option<reqwest::Url>,
    /// The token of a superuser of the peer's, to create records with
    #[arg(long, requires = "peer", default_value = "", hide_default_value = true)]
    pub peer_token: String,
    /// The peer's process, if it runs here: its processor time and memory are shown then
    #[arg(long, requires = "peer")]
    pub peer_pid: Option<u32>,
    /// The peer's collection
    #[arg(long, requires = "peer", default_value = "items")]
    pub peer_collection: String,
    /// Write every figure into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Put the tables between the marks of this page, and the plot beside it
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Another build of rowcast to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_rowcast"))]
    pub server: PathBuf,
    /// Makes a child become this program
    #[arg(long, hide = true, value_name = "PROGRAM")]
    pub serve: Option<PathBuf>,
    /// The database it is for
    #[arg(long, hide = true, default_value = "")]
    pub database: String,
    /// What our children are told to be
    #[arg(long, hide = true)]
    pub role: Option<Kind>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Whether this is to be measured.
    pub fn wants(&self, scenario: Scenario) -> bool {
        self.scenario.is_empty() || self.scenario.contains(&scenario)
    }

    /// How often each line is measured.
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.small { 1 } else { 3 }).max(1)
    }

    /// How long each line is measured per round.
    pub fn window(&self) -> Duration {
        let seconds = self.seconds.unwrap_or(if self.small { 0.5 } else { 3.0 });
        Duration::from_secs_f64(seconds.clamp(0.1, 600.0))
    }

    /// The sizes asked for, or the usual ones.
    pub fn sizes(&self, usual: &[usize], small: &[usize]) -> Vec<usize> {
        let sizes = match (self.clients.is_empty(), self.small) {
            (false, _) => &self.clients,
            (true, false) => usual,
            (true, true) => small,
        };
        sizes.to_vec()
    }

    /// The same where one size is measured.
    pub fn size(&self, usual: usize, small: usize) -> usize {
        self.sizes(&[usual], &[small])[0]
    }

    /// One of two numbers.
    pub fn pick<T>(&self, usual: T, small: T) -> T {
        if self.small { small } else { usual }
    }

    /// A database that does not wait for the disk, and says which statements it was sent.
    pub fn cluster(&self) -> Result<ClusterOptions, Error> {
        let mut options = ClusterOptions::new(Binaries::find(&search())?);
        // Vacuum and checkpoints would fall on whatever is running.
        let settings = [
            ("max_connections", "100"),
            ("shared_buffers", "256MB"),
            ("autovacuum", "off"),
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "1h"),
            ("log_line_prefix", "%d/%a "),
        ];
        options.settings = settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Ok(options)
    }
}

fn search() -> Search {
    Search {
        pg_bin: env::var_os("PG_BIN").map(Into::into),
        path: env::var_os("PATH"),
        cache: env::var_os("XDG_CACHE_HOME")
            .map(Into::into)
            .or_else(|| env::home_dir().map(|home| home.join(".cache"))),
        offline: false,
    }
}
