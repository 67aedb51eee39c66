//! The process: a command line becomes a command, a command an exit code.

fn main() {}
