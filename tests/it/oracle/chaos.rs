//! What goes wrong during a phase, by seed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rowcast::embedded::Cluster;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::clients::Subscriber;
use super::world::Collection;
use crate::support::process::Process;
use crate::support::{DEADLINE, client, eventually};

/// The server under test, which dies and comes back at the same port.
pub struct Served {
    pub url: String,
    pub port: u16,
    pub log: PathBuf,
    /// Its settings beside the usual ones.
    pub settings: Vec<(&'static str, String)>,
    pub process: Option<Process>,
}

impl Served {
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it if it runs, and starts it.
    pub fn restart(&mut self) {
        self.process = None;
        let settings = self.settings.iter();
        let settings: Vec<_> = settings.map(|(name, value)| (*name, &**value)).collect();
        self.process = Some(Process::start_with(
            &self.url,
            self.port,
            &settings,
            Some(&self.log),
        ));
    }
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL for the server, and a new one.
    KillServer,
    /// `pg_terminate_backend` for all of the server's connections.
    TerminateBackends,
    /// Some clients drop their connections after some more bytes, and the next ones, too.
    CutClients,
    /// Some clients drop their connections and come back in the next phase, when other rules hold.
    ClientsLeave,
    /// A transaction that stays open until the phase is nearly over.
    OpenTransaction,
    /// Crash recovery of the database.
    KillPostgres,
    /// SIGKILL for a backend of the server's, whereupon Postgres ends all others and recovers.
    KillBackend,
    /// The log's slots are changed, so that old entries go.
    RotateLog,
    /// The bell was set by a clock that was an hour ahead.
    JumpClock,
}

impl Fault {
    pub fn draw(rng: &mut StdRng, owns_cluster: bool) -> Vec<Self> {
        let count = rng.random_range(0..=3);
        (0..count)
            .map(|_| match rng.random_range(0..20) {
                0..=2 => Self::KillServer,
                3..=5 => Self::TerminateBackends,
                6..=10 => Self::CutClients,
                11..=12 => Self::ClientsLeave,
                13..=14 => Self::OpenTransaction,
                15 if owns_cluster => Self::KillPostgres,
                16 if owns_cluster => Self::KillBackend,
                15..=17 => Self::RotateLog,
                _ => Self::JumpClock,
            })
            .collect()
    }

    /// Whether the server reads the log anew after it, perhaps in another order.
    pub fn reorders(self) -> bool {
        matches!(self, Self::KillServer | Self::TerminateBackends) || self.stops_postgres()
    }

    pub fn stops_postgres(self) -> bool {
        matches!(self, Self::KillPostgres | Self::KillBackend)
    }
}

/// Lets faults happen, one after another, with random pauses; gives back the transactions left open.
pub async fn happen(
    faults: &[Fault],
    rng: &mut StdRng,
    served: &mut Served,
    subscribers: &mut [Subscriber],
    collections: &[Collection],
    cluster: Option<&Cluster>,
) -> Vec<tokio_postgres::Client> {
    let mut open = Vec::new();
    for fault in faults {
        sleep(Duration::from_millis(rng.random_range(5..80))).await;
        match fault {
            Fault::KillServer => served.restart(),
            Fault::TerminateBackends => terminate(&served.url).await,
            Fault::CutClients => cut(rng, subscribers),
            Fault::ClientsLeave => {
                for subscriber in subscribers.iter_mut() {
                    let leaves = rng.random_bool(0.5) && subscriber.manner.goes_on();
                    if leaves && subscriber.away.is_none() {
                        subscriber.leave().await;
                    }
                }
            }
            Fault::OpenTransaction => open.extend(leave_open(rng, served, collections).await),
            Fault::KillPostgres => {
                let cluster = cluster.expect("only where the cluster is ours");
                block_in_place(|| {
                    cluster.kill().expect("a kill");
                    cluster.start_again().expect("a new start");
                });
            }
            Fault::KillBackend => kill_backend(&served.url).await,
            Fault::RotateLog => {
                let admin = client(&served.url).await;
                let _ = admin
                    .batch_execute("select rowcast.rotate('0', 0, 0)")
                    .await;
            }
            Fault::JumpClock => {
                // The bell never goes back: whoever sleeps waits for a ring that is not older.
                let set = "select setval('rowcast.bell', greatest(pg_sequence_last_value('rowcast.bell') / 2 + 1,
                    (extract(epoch from now() + interval '1 hour') * 1000000)::bigint) * 2 + 1)";
                let admin = client(&served.url).await;
                let _ = admin.batch_execute(set).await;
            }
        }
    }
    open
}

/// Cuts lie anywhere, also where hardly anything was sent yet.
fn cut(rng: &mut StdRng, subscribers: &[Subscriber]) {
    for subscriber in subscribers {
        if rng.random_bool(0.5) {
            let count = rng.random_range(1..=4);
            let bytes = (0..count).map(|_| match rng.random_bool(0.3) {
                true => rng.random_range(0..300),
                false => rng.random_range(0..4_000),
            });
            let bytes: Vec<usize> = bytes.collect();
            subscriber.cuts.set(bytes);
        }
    }
}

async fn leave_open(
    rng: &mut StdRng,
    served: &Served,
    collections: &[Collection],
) -> Option<tokio_postgres::Client> {
    let sleeper = client(&served.url).await;
    let name = collections[0].name;
    let key = rng.random_range(1_000..1_000_000).to_string();
    let statement = format!(
        "begin; insert into {name} ({}, k, n, status, watchers, secret, v) values ({}, {key}, 5, 'open', '{{}}', 's1', 0)",
        collections[0].key.columns(),
        collections[0].key.values(&key).join(", "),
    );
    let began = sleeper.batch_execute(&statement).await;
    began.is_ok().then_some(sleeper)
}

/// The program's own name for the sessions that it opens.
const OURS: &str = "datname = current_database() and application_name like 'rowcast%'";

async fn terminate(url: &str) {
    let admin = client(url).await;
    let sql = format!("select pg_terminate_backend(pid) from pg_stat_activity where {OURS}");
    let _ = admin.query(&sql, &[]).await;
}

/// Kills the listening one if there is one, and waits until Postgres answers again.
async fn kill_backend(url: &str) {
    let admin = client(url).await;
    let sql = format!(
        "select pid::text from pg_stat_activity where {OURS} order by query ilike '%listen%' desc limit 1"
    );
    let Ok(Some(row)) = admin.query_opt(&sql, &[]).await else {
        return;
    };
    let pid: String = row.get(0);
    let killed = Command::new("kill").args(["-KILL", &pid]).status();
    assert!(killed.expect("kill runs").success());
    eventually(DEADLINE, || async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .map_err(|error| error.to_string())?;
        let driver = tokio::spawn(connection);
        let answer = client.batch_execute("select 1").await;
        drop(client);
        let _ = driver.await;
        match admin.is_closed() {
            true => answer.map_err(|error| error.to_string()),
            false => Err("Postgres has not noticed".to_owned()),
        }
    })
    .await;
}
