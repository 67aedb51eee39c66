//! `rowcast serve` as a process of its own, so that it can be killed as the kernel kills.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::wait::{DEADLINE, eventually};

/// A running server; dropping it is SIGKILL: nothing is tidied up.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a server at a port and does not wait for it.
    pub fn start(url: &str, port: u16) -> Self {
        Self::start_with(url, port, &[], None)
    }

    /// Starts a server with more settings, its log written to a file.
    pub fn start_with(
        url: &str,
        port: u16,
        settings: &[(&str, &str)],
        log: Option<&PathBuf>,
    ) -> Self {
        let output = || match log {
            Some(path) => Stdio::from(
                File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .expect("a log file"),
            ),
            None => Stdio::null(),
        };
        let child = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .args(["serve", "--database-url", url])
            .env("ROWCAST_LISTEN", format!("127.0.0.1:{port}"))
            .env("ROWCAST_BELL", "on")
            .env("ROWCAST_MAILBOX_FRAMES", "1000000")
            .envs(settings.iter().copied())
            .stdout(output())
            .stderr(output())
            .spawn()
            .expect("the server starts");
        Self { child }
    }

    /// Its process number, to stop and continue it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Waits until the server at `base` says that it is ready.
pub async fn ready(base: &str) {
    let ready = format!("{base}/api/ready");
    eventually(DEADLINE, || async {
        let answer = reqwest::get(&ready)
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status();
        if status == 200 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
}
