//! A table that many writers change at random, and a reader of its feed that misses nothing.
//!
//! Every change carries its transaction's number and its row's version, so that the stream of events
//! alone shows a lost, doubled or misplaced one; and at the end the events must have built exactly
//! the table.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::app::AppOptions;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use super::{DEADLINE, Event, Sse};

/// Creates the table and attaches it for everybody.
pub async fn create(client: &Client) {
    client
        .batch_execute(
            "create table ledger (id integer primary key, version integer not null, tx bigint not null);
             select rowcast.attach('ledger', list_rule => '', view_rule => '');",
        )
        .await
        .unwrap();
}

/// Options under which a reader in the same process is never let go for being slow.
pub fn patient(mut options: AppOptions) -> AppOptions {
    options.hub.mailbox_frames = 1_000_000;
    options
}

/// Writers at work; they reconnect by themselves, so that the database may go and come.
pub struct Writers {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicI64>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// Starts `count` writers with random transactions drawn from `seed`.
    pub fn start(url: &str, count: u64, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicI64::new(0));
        let next_tx = Arc::new(AtomicI64::new(1));
        let mut tasks = JoinSet::new();
        for writer in 0..count {
            tasks.spawn(write(Writer {
                url: url.to_owned(),
                rng: StdRng::seed_from_u64(seed ^ (writer << 32)),
                stop: Arc::clone(&stop),
                committed: Arc::clone(&committed),
                next_tx: Arc::clone(&next_tx),
            }));
        }
        Self {
            stop,
            committed,
            tasks,
        }
    }

    /// Waits until so many more transactions have been committed.
    pub async fn commit(&self, more: i64) {
        let goal = self.committed.load(Ordering::Relaxed) + more;
        let waited = super::eventually(DEADLINE, || async {
            let now = self.committed.load(Ordering::Relaxed);
            if now >= goal {
                Ok(())
            } else {
                Err(format!("{now} of {goal} transactions"))
            }
        });
        waited.await;
    }

    /// Stops them after the transactions under way.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a writer does not panic");
        }
    }
}

struct Writer {
    url: String,
    rng: StdRng,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicI64>,
    next_tx: Arc<AtomicI64>,
}

async fn write(mut writer: Writer) {
    while !writer.stop.load(Ordering::Relaxed) {
        let Ok((client, connection)) = tokio_postgres::connect(&writer.url, NoTls).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let driver = tokio::spawn(connection);
        // Deadlocks are meant to happen, and to be over soon.
        let _ = client.batch_execute("set deadlock_timeout = '5ms'").await;
        while !writer.stop.load(Ordering::Relaxed) && !client.is_closed() {
            let tx = writer.next_tx.fetch_add(1, Ordering::Relaxed);
            // Deadlocks and lost connections are part of the game.
            if writer.transact(&client, tx).await.is_ok() {
                writer.committed.fetch_add(1, Ordering::Relaxed);
            } else {
                let _ = client.batch_execute("rollback").await;
            }
        }
        driver.abort();
    }
}

impl Writer {
    async fn transact(&mut self, client: &Client, tx: i64) -> Result<(), tokio_postgres::Error> {
        client.batch_execute("begin").await?;
        for _ in 0..self.rng.random_range(1..=4) {
            if self.rng.random_bool(0.2) {
                client.batch_execute("savepoint s").await?;
                self.change(client, tx).await?;
                client.batch_execute("rollback to s").await?;
            }
            self.change(client, tx).await?;
            self.dawdle().await;
        }
        let end = if self.rng.random_bool(0.1) {
            "rollback"
        } else {
            "commit"
        };
        client.batch_execute(end).await
    }

    async fn change(&mut self, client: &Client, tx: i64) -> Result<(), tokio_postgres::Error> {
        let id = self.rng.random_range(0..40);
        let span = self.rng.random_range(0..4);
        let statement = match self.rng.random_range(0..10) {
            0..=3 => format!(
                "insert into ledger select i, 0, {tx} from generate_series({id}, {id} + {span}) i
                 on conflict (id) do update set version = ledger.version + 1, tx = {tx}"
            ),
            4..=7 => format!(
                "update ledger set version = version + 1, tx = {tx} where id between {id} and {id} + {span}"
            ),
            _ => format!("delete from ledger where id between {id} and {id} + {span}"),
        };
        client.batch_execute(&statement).await
    }

    /// Sits between trigger and commit, so that transactions end in another order than they began.
    async fn dawdle(&mut self) {
        if self.rng.random_bool(0.3) {
            sleep(Duration::from_micros(self.rng.random_range(0..8_000))).await;
        }
    }
}

/// What the events have built so far.
#[derive(Debug, Default)]
pub struct Replay {
    rows: BTreeMap<i64, i64>,
    /// Records that an event has told of.
    seen: HashSet<i64>,
    /// Transactions that have ended; none of them may speak again.
    ended: HashSet<i64>,
    current: i64,
    /// Records of which nothing is known yet may begin anywhere: reading began in the middle.
    began_late: bool,
    pub events: usize,
}

impl Replay {
    /// For a stream that began when the table already had rows.
    pub fn from_the_middle() -> Self {
        Self {
            began_late: true,
            ..Self::default()
        }
    }

    /// Reads events until the sentinel row of [`finish`] arrives.
    pub async fn read_to_end(&mut self, stream: &mut Sse) {
        loop {
            let event = stream.next_event(DEADLINE).await;
            let (action, record) = event.change();
            let id: i64 = record["id"].as_str().unwrap().parse().unwrap();
            if id == SENTINEL {
                return;
            }
            self.apply(&event, &action, id, &record);
        }
    }

    fn apply(&mut self, event: &Event, action: &str, id: i64, record: &serde_json::Value) {
        self.events += 1;
        let version = record["version"].as_i64().unwrap();
        let known = self.rows.get(&id).copied();
        let unknown = self.began_late && self.seen.insert(id);
        match (action, known) {
            ("delete", _) if unknown => None,
            (_, _) if unknown => self.rows.insert(id, version),
            ("create", None) => self.rows.insert(id, version),
            ("update", Some(before)) if before + 1 == version => self.rows.insert(id, version),
            ("delete", Some(before)) if before == version => self.rows.remove(&id),
            _ => panic!(
                "event {} does not follow: known version of {id} is {known:?}: {event:?}",
                self.events
            ),
        };
        // A deleted row carries the number of the transaction that last wrote it.
        if action != "delete" {
            let tx = record["tx"].as_i64().unwrap();
            if tx != self.current {
                assert!(
                    self.ended.insert(self.current),
                    "transaction {} was split",
                    self.current
                );
                assert!(
                    !self.ended.contains(&tx),
                    "transaction {tx} was split: {event:?}"
                );
                self.current = tx;
            }
        }
    }

    /// Compares with the table what has changed in it since `before`.
    pub async fn equals_changes(&self, client: &Client, before: &BTreeMap<i64, i64>) {
        let after = table(client).await;
        for id in before.keys().chain(after.keys()) {
            if self.seen.contains(id) {
                assert_eq!(
                    self.rows.get(id),
                    after.get(id),
                    "record {id}, events and table"
                );
            } else {
                assert_eq!(
                    before.get(id),
                    after.get(id),
                    "record {id} changed without an event"
                );
            }
        }
    }

    /// Compares with the table.
    pub async fn equals_table(&self, client: &Client) {
        assert_eq!(
            self.rows,
            table(client).await,
            "what the events built, and the table"
        );
    }
}

/// The versions in the table.
pub async fn table(client: &Client) -> BTreeMap<i64, i64> {
    let rows = client
        .query(
            "select id::bigint, version::bigint from ledger where id <> $1::integer",
            &[&(SENTINEL as i32)],
        )
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

const SENTINEL: i64 = 1_000_000;
/// The id of the row that [`finish`] writes.
pub const SENTINEL_ID: &str = "1000000";

/// Marks the end of the writing.
pub async fn finish(client: &Client) {
    client
        .execute(
            "insert into ledger values ($1::integer, 0, 0)",
            &[&(SENTINEL as i32)],
        )
        .await
        .unwrap();
}
