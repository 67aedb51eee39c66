//! What goes wrong during a phase, by seed.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rowcast::embedded::Cluster;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::clients::Subscriber;
use super::world::Collection;
use crate::support::client;
use crate::support::process::Process;

/// The server under test, which dies and comes back at the same port.
pub struct Served {
    pub url: String,
    pub port: u16,
    pub log: PathBuf,
    pub process: Option<Process>,
}

impl Served {
    /// Kills it if it runs, and starts it.
    pub fn restart(&mut self) {
        self.process = None;
        // Its log is read when a run fails; secrets and rows are not in it.
        let settings = [("ROWCAST_LOG", "rowcast=debug")];
        self.process = Some(Process::start_with(
            &self.url,
            self.port,
            &settings,
            Some(&self.log),
        ));
    }
}

/// A fault.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// SIGKILL for the server, and a new one.
    KillServer,
    /// `pg_terminate_backend` for all of the server's connections.
    TerminateBackends,
    /// Some clients drop their connections after some more bytes.
    CutClients,
    /// A transaction that stays open until the phase is nearly over.
    OpenTransaction,
    /// Crash recovery of the database.
    KillPostgres,
    /// The log's slots are changed, so that old entries go.
    RotateLog,
}

impl Fault {
    pub fn draw(rng: &mut StdRng, owns_cluster: bool) -> Vec<Self> {
        let count = rng.random_range(0..=3);
        (0..count)
            .map(|_| match rng.random_range(0..12) {
                0..=1 => Self::KillServer,
                2..=4 => Self::TerminateBackends,
                5..=7 => Self::CutClients,
                8..=9 => Self::OpenTransaction,
                10 if owns_cluster => Self::KillPostgres,
                _ => Self::RotateLog,
            })
            .collect()
    }
}

/// Lets faults happen, one after another, with random pauses; gives back the transactions left open.
pub async fn happen(
    faults: &[Fault],
    rng: &mut StdRng,
    served: &mut Served,
    subscribers: &[Subscriber],
    collections: &[Collection],
    cluster: Option<&Cluster>,
) -> Vec<tokio_postgres::Client> {
    let mut open = Vec::new();
    for fault in faults {
        sleep(Duration::from_millis(rng.random_range(5..80))).await;
        match fault {
            Fault::KillServer => served.restart(),
            Fault::TerminateBackends => terminate(&served.url).await,
            Fault::CutClients => {
                for subscriber in subscribers {
                    if rng.random_bool(0.5) {
                        subscriber.cut_after(rng.random_range(0..4_000));
                    }
                }
            }
            Fault::OpenTransaction => {
                let sleeper = client(&served.url).await;
                let name = collections[0].name;
                let key = rng.random_range(1_000..1_000_000).to_string();
                let statement = format!(
                    "begin; insert into {name} ({}, k, n, status, watchers, secret, v) values ({}, {key}, 5, 'open', '{{}}', 's1', 0)",
                    collections[0].key.columns(),
                    collections[0].key.values(&key).join(", "),
                );
                if sleeper.batch_execute(&statement).await.is_ok() {
                    open.push(sleeper);
                }
            }
            Fault::KillPostgres => {
                let cluster = cluster.expect("only where the cluster is ours");
                block_in_place(|| {
                    cluster.kill().expect("a kill");
                    cluster.start_again().expect("a new start");
                });
            }
            Fault::RotateLog => {
                let admin = client(&served.url).await;
                let _ = admin
                    .batch_execute("select rowcast.rotate('0', 0, 0)")
                    .await;
            }
        }
    }
    open
}

async fn terminate(url: &str) {
    let admin = client(url).await;
    let _ = admin
        .query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and application_name like 'rowcast%'",
            &[],
        )
        .await;
}
