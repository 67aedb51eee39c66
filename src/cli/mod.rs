//! The command line: one file per command.
//!
//! *Owns* the commands, their help, and the exit codes.
//! *Takes* arguments; settings come through [`crate::config`].
//! *Gives* results on standard output, everything else on standard error, and an exit code.
//! *Never* does what a room can do: commands are thin.

mod attach;
mod clients;
mod collections;
#[cfg(feature = "embedded")]
pub mod demo;
mod detach;
mod doctor;
mod failure;
mod health;
mod migrate;
#[cfg(unix)]
mod open_files;
mod options;
mod policy;
mod remote;
mod rule;
mod rule_check;
mod serve;
mod session;
mod superuser;
mod tail;
mod terminal;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use failure::Failure;
use options::ConfigOptions;

#[cfg(feature = "embedded")]
use crate::{app::AppOptions, config, shutdown::Shutdown};

const EXAMPLES: &str = "\
Examples:
  rowcast demo                                 # try it: needs nothing prepared
  export DATABASE_URL='postgres://me:secret@localhost:5432/shop'
  rowcast migrate                              # once: our schema, rowcast
  rowcast attach posts --list-rule '' --view-rule ''   # a table everybody may watch
  rowcast serve                                # GET http://127.0.0.1:8090/api/realtime
  rowcast collections                          # what is attached, and who may see it
  rowcast tail '*'                             # what a running server sends, live
  rowcast clients list --superuser ops@example.com     # who is connected
  rowcast doctor                               # what is wrong, and what to do

Exit codes:
  0   done
  1   the answer is no (policy explain --record: not seen)
  64  a flag, a setting or an argument is wrong
  69  the database (or, for health, tail and clients, the server) is unavailable
  70  something went wrong inside
  77  the database (or, for clients, the server) does not permit it

Settings come from --config FILE (TOML), then ROWCAST_… variables, then flags;
rowcast serve --print-config shows them all.";

/// PocketBase's realtime API for the Postgres you already have.
#[derive(Debug, Parser)]
#[command(name = "rowcast", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: ConfigOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    /// Try it: a private Postgres, a few collections, a small stream of changes
    #[cfg(feature = "embedded")]
    Demo(demo::DemoArgs),
    Migrate(migrate::Migrate),
    Attach(Box<attach::Attach>),
    Detach(detach::Detach),
    Collections(collections::Collections),
    Rule(rule::Rule),
    Policy(policy::Policy),
    Tail(tail::Tail),
    Token(token::Token),
    Superuser(superuser::Superuser),
    Clients(Box<clients::Clients>),
    Doctor(doctor::Doctor),
    Health(health::Health),
}

/// Does what the process's arguments say; the result is the process's own.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return answer_without_command(&answer),
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::internal("could not start the runtime", error).exit(),
    };
    match runtime.block_on(Box::pin(cli.run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

/// Help and version are answers; the rest is a mistake.
fn answer_without_command(answer: &clap::Error) -> ExitCode {
    // If even this cannot be written, the exit code still tells.
    let _ = answer.print();
    match answer.use_stderr() {
        true => ExitCode::from(failure::USAGE),
        false => ExitCode::SUCCESS,
    }
}

impl Cli {
    async fn run(self) -> Result<(), Failure> {
        let options = self.options;
        match self.command {
            Command::Serve(command) => Box::pin(command.run(options)).await,
            #[cfg(feature = "embedded")]
            Command::Demo(arguments) => Box::pin(run_demo(arguments, options)).await,
            Command::Migrate(command) => command.run(options).await,
            Command::Attach(command) => command.run(options).await,
            Command::Detach(command) => command.run(options).await,
            Command::Collections(command) => command.run(options).await,
            Command::Rule(command) => command.run(options).await,
            Command::Policy(command) => command.run(options).await,
            Command::Tail(command) => Box::pin(command.run(options)).await,
            Command::Token(command) => command.run(options).await,
            Command::Superuser(command) => command.run(options).await,
            Command::Clients(command) => Box::pin(command.run(options)).await,
            Command::Doctor(command) => command.run(options).await,
            Command::Health(command) => command.run(options).await,
        }
    }
}

/// The demo prepares a stage, and the service plays on it.
#[cfg(feature = "embedded")]
async fn run_demo(arguments: demo::DemoArgs, options: ConfigOptions) -> Result<(), Failure> {
    let config = options.load(config::Need::Nothing)?;
    let log = serve::start_logging(&config)?;
    let play = async |stage: demo::Stage| {
        let options = AppOptions {
            log: Some(log.clone()),
            ..serve::app_options(&config, stage.database)
        };
        Box::pin(serve::run(options, stage.listener, stage.shutdown)).await
    };
    Box::pin(demo::run(arguments, Shutdown::new(), play)).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
