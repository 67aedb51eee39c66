//! What can be chosen on the command line, and the server's settings.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rowcast::embedded::{Binaries, ClusterOptions, Search, Storage};

use crate::Error;

/// Measures what capture costs a writer, and how long a change takes to a client.
#[derive(Debug, Parser)]
pub struct Options {
    /// Seconds per cell of the table.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often every load meets every variant; 0 measures latency only.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many writers insert at once; one line of the table each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    pub writers: Vec<usize>,
    /// Two rounds of short cells: shows that everything works, and roughly what comes out.
    #[arg(long)]
    pub quick: bool,
    /// A new folder on the disk to be measured, kept afterwards; else a temporary one in /tmp.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Microseconds that each flush of the log takes longer, as on a disk farther away; a local
    /// one that answers from its cache says little about a network volume.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub disk_wait: u32,
    /// Another build of rowcast to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_rowcast"))]
    pub server: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// How long one cell runs.
    pub fn cell(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.3 } else { self.seconds })
    }

    /// How often every load meets every variant.
    pub fn rounds(&self) -> usize {
        if self.quick {
            self.rounds.min(2)
        } else {
            self.rounds
        }
    }

    /// The most writers any line of the table has.
    pub fn writers_max(&self) -> usize {
        self.writers.iter().copied().max().unwrap_or(1)
    }

    /// A server that waits for the disk and does nothing on its own accord meanwhile.
    pub fn cluster(&self) -> Result<ClusterOptions, Error> {
        let mut options = ClusterOptions::new(Binaries::find(&search())?);
        options.fsync = true;
        if let Some(data) = &self.data {
            options.storage = Storage::Kept(data.clone());
        }
        // Whoever flushes sleeps while it holds the lock that the disk would make it hold.
        let disk_wait = self.disk_wait.to_string();
        // Vacuum and checkpoints would fall on whichever variant is running.
        let settings = [
            ("max_connections", "300"),
            ("shared_buffers", "256MB"),
            ("synchronous_commit", "on"),
            ("autovacuum", "off"),
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "1h"),
            ("commit_delay", &disk_wait),
            ("commit_siblings", "0"),
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
