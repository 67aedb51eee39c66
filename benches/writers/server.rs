//! `rowcast serve` as a process of its own, with a subscriber that keeps up.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::Error;
use crate::stream::EventStream;

const READY_WITHIN: Duration = Duration::from_secs(20);
const MARK_WITHIN: Duration = Duration::from_secs(60);

/// A running server; it ends when this is dropped.
pub struct Server {
    /// Killed on drop.
    child: Child,
    address: String,
    log: PathBuf,
    marks: watch::Receiver<i64>,
}

impl Server {
    /// Starts `program` for the database at `url` and waits until it is ready and has a subscriber to
    /// the items and one to the marks.
    pub async fn start(program: &Path, url: &str, bell: &str) -> Result<Self, Error> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let address = format!("127.0.0.1:{port}");
        let log =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-serve-bell-{bell}.log"));
        let output = File::create(&log)?;
        let child = Command::new(program)
            .args(["serve", "--database-url", url])
            .env("ROWCAST_LISTEN", &address)
            .env("ROWCAST_BELL", bell)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        let (sender, marks) = watch::channel(0);
        let mut server = Self {
            child,
            address,
            log,
            marks,
        };
        server.await_ready().await?;
        tokio::spawn(follow_marks(server.subscribe("marks").await?, sender));
        tokio::spawn(drain(server.address.clone()));
        Ok(server)
    }

    /// A stream of one topic's events.
    pub async fn subscribe(&self, topic: &str) -> Result<EventStream, Error> {
        EventStream::open(&self.address, topic).await
    }

    /// Waits until the subscriber has received this mark and so the server has read all before it.
    pub async fn await_mark(&mut self, mark: i64) -> Result<(), Error> {
        let arrival = self.marks.wait_for(|seen| *seen >= mark);
        let arrived = timeout(MARK_WITHIN, arrival).await.map(|seen| seen.is_ok());
        let trouble = match arrived {
            Ok(true) => return Ok(()),
            Ok(false) => "the stream of marks ended".to_owned(),
            Err(_) => format!("mark {mark} did not arrive within {MARK_WITHIN:?}"),
        };
        Err(format!("{trouble}; the server's log ends with:\n{}", self.log_end()).into())
    }

    async fn await_ready(&mut self) -> Result<(), Error> {
        let url = format!("http://{}/api/ready", self.address);
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                let log = self.log_end();
                return Err(format!("`rowcast serve` ended with {status}; it said:\n{log}").into());
            }
            if reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        let log = self.log_end();
        Err(
            format!("`rowcast serve` was not ready within {READY_WITHIN:?}; it said:\n{log}")
                .into(),
        )
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

async fn follow_marks(mut stream: EventStream, seen: watch::Sender<i64>) -> Result<(), Error> {
    while let Some(event) = stream.next().await? {
        if let Some(n) = event.n() {
            seen.send_replace(n);
        }
    }
    Ok(())
}

/// A subscriber to everything that is inserted, which comes back when it is let go.
async fn drain(address: String) {
    while let Ok(mut stream) = EventStream::open(&address, "items").await {
        while let Ok(Some(_)) = stream.next().await {}
    }
}
