//! The process: a command line becomes a command, a command an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    rowcast::cli::main()
}
