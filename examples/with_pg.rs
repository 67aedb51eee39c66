//! Runs a command with a private Postgres in `TEST_PG`, so that several test processes share one:
//! `cargo run --example with_pg -- cargo nextest run`.

#![allow(clippy::print_stderr, reason = "a command-line tool speaks on stderr")]

use std::env;
use std::process::{Command, ExitCode};

use rowcast::embedded::{Binaries, Cluster, ClusterOptions, Search};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("with_pg: {error}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Error> {
    let mut arguments = env::args_os().skip(1);
    let program = arguments.next().ok_or("which command should I run?")?;
    let cluster = Cluster::start(&options()?)?;
    let status = Command::new(program)
        .args(arguments)
        .env("TEST_PG", cluster.url("postgres"))
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn options() -> Result<ClusterOptions, Error> {
    let binaries = Binaries::find(&Search {
        pg_bin: env::var_os("PG_BIN").map(Into::into),
        path: env::var_os("PATH"),
        cache: env::home_dir().map(|home| home.join(".cache")),
        offline: false,
    })?;
    let mut options = ClusterOptions::new(binaries);
    let settings = [
        ("max_connections", "400"),
        ("max_prepared_transactions", "50"),
    ];
    options.settings = settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    Ok(options)
}
