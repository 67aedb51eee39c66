//! The guard: a small shell process that owns the server and ends it when we are gone.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::account::Account;

const SCRIPT: &str = include_str!("guard.sh");

/// What the guard can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Make a new data folder.
    Init,
    /// Start the server; it is not ready yet when the answer comes.
    Start,
    /// Stop the server in good order and wait for its end.
    Stop,
    /// Kill the server as a crash would, and wait for its end.
    Kill,
}

impl Order {
    fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Kill => "kill",
        }
    }
}

/// The running guard. Dropping it ends the server, deletes its folder and waits for both.
#[derive(Debug)]
pub(super) struct Guard {
    process: Child,
    /// Invariant: `Some` until dropped. This pipe is the guard's life.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// How the server is ended when the guard's pipe closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// At once: the data is deleted anyway.
    Immediate,
    /// In good order: the data is kept.
    Fast,
}

impl Guard {
    /// Starts the guard for a server in `home` with its data in `data`.
    ///
    /// The guard and the server hold `lock` open, and with it whatever lock lies on it.
    pub(super) fn spawn(
        account: Account,
        [programs, data, home]: [&Path; 3],
        farewell: Farewell,
        arguments: &[String],
        lock: File,
    ) -> io::Result<Self> {
        let farewell = match farewell {
            Farewell::Immediate => "QUIT",
            Farewell::Fast => "INT",
        };
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "rowcast-guard"])
            .args([programs, data, home])
            .arg(OsStr::new(farewell))
            .args(arguments)
            // Nothing of ours may change how the server behaves; a set TZ also spares initdb a search.
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
                ("LC_ALL", "C"),
                ("TZ", "UTC"),
            ])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(lock)
            // A Ctrl-C in our terminal is for us alone.
            .process_group(0);
        account.apply(&mut command);
        let mut process = command.spawn()?;
        let orders = process.stdin.take();
        let answers = process.stdout.take().expect("standard output is a pipe");
        Ok(Self {
            process,
            orders,
            answers: BufReader::new(answers),
        })
    }

    /// Gives an order and waits for the answer: whether it worked.
    pub(super) fn order(&mut self, order: Order) -> io::Result<bool> {
        let orders = self
            .orders
            .as_mut()
            .expect("the pipe is open until dropped");
        writeln!(orders, "{}", order.word())?;
        orders.flush()?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the guard of the private Postgres is gone",
            ));
        }
        Ok(answer.trim() == "0")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Err(error) = self.process.wait() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not wait for the guard of the private Postgres"
            );
        }
    }
}
