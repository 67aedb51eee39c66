//! Each of the server's connections to Postgres is terminated, one at a time, while writers are at work and clients come
//! and go: whoever listens has the table in the end, or was told to load afresh.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio_postgres::Client;

use crate::support::feed::with_query;
use crate::support::ledger::{self, Replay, Writers, patient};
use crate::support::server::{Server, options};
use crate::support::{DEADLINE, Sse, client, database};

/// How often each kind of connection is terminated at least.
const TIMES: usize = 6;

/// What the server calls its connections: that which reads the log, and those of the pool, on which it does all else.
const KINDS: [&str; 2] = ["rowcast", "rowcast capture"];

/// The sessions of the server, each with its name.
async fn sessions(admin: &Client) -> Vec<(i32, String)> {
    let sql = "select pid, application_name from pg_stat_activity
        where datname = current_database() and application_name like 'rowcast%' order by random()";
    let rows = admin.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The table as somebody knows it who is told some of it again, and perhaps to load it.
#[derive(Default)]
struct Copy {
    rows: BTreeMap<String, i64>,
    last_id: Option<String>,
}

impl Copy {
    /// Takes in what the stream tells until so many changes have come, or one of this record.
    async fn take(&mut self, stream: &mut Sse, admin: &Client, changes: usize, until: &str) {
        let mut left = changes;
        while left > 0 {
            let event = stream.next_event(DEADLINE).await;
            self.last_id = event.id.clone().or(self.last_id.take());
            if event.data.is_empty() {
                continue;
            }
            let (action, record) = event.change();
            let id = record["id"].as_str().unwrap().to_owned();
            match &*action {
                _ if id == until => return,
                "delete" => drop(self.rows.remove(&id)),
                "create" | "update" | "snapshot" => {
                    let version = record["version"].as_i64().unwrap();
                    self.rows.insert(id, version);
                }
                // What comes after it is newer, or told again in its order.
                "resync" => self.rows = table(admin).await,
                "ready" => {}
                other => panic!("{other}: {event:?}"),
            }
            left -= 1;
        }
    }
}

async fn table(admin: &Client) -> BTreeMap<String, i64> {
    let table = ledger::table(admin).await.into_iter();
    table
        .map(|(id, version)| (id.to_string(), version))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_of_ours_terminated_under_load_loses_nobody_a_change() {
    let database = database().await;
    let admin = client(&database.url).await;
    ledger::create(&admin).await;
    let mut options = patient(options(&database.url));
    // Whoever comes back is told from the log.
    options.hub.history_frames = 20;
    let server = Server::start_with(options).await;
    let topics: &[&str] = &["ledger/*"];
    let keyed = with_query("ledger/*", json!({ "resume": "0123456789abcdef" }));
    let listed = with_query("ledger/*", json!({ "snapshot": "1" }));
    let mut live = server.subscribe(topics).await;
    let (mut guest, mut owner) = (Copy::default(), Copy::default());
    let mut begun = Sse::connect_plain(&server.base, topics, None, |request| request).await;
    let mut named = server.subscribe(&[&keyed]).await;
    let writers = Writers::start(&database.url, 4, 21);
    writers.commit(20).await;
    guest.take(&mut begun, &admin, 5, "").await;
    owner.take(&mut named, &admin, 5, "").await;

    let mut terminated: BTreeMap<String, usize> = BTreeMap::new();
    let mut pids = BTreeSet::new();
    while KINDS
        .iter()
        .any(|kind| terminated.get(*kind).is_none_or(|times| *times < TIMES))
    {
        for (pid, kind) in sessions(&admin).await {
            // So that something is asked of the pool: positions, the past, what there is.
            let last_id = guest.last_id.clone();
            begun = Sse::connect_plain(&server.base, topics, last_id.as_deref(), |request| request)
                .await;
            named = server.subscribe(&[&keyed]).await;
            let shown = server.subscribe(&[&listed]).await;
            admin
                .execute("select pg_terminate_backend($1)", &[&pid])
                .await
                .unwrap();
            pids.insert(pid);
            *terminated.entry(kind).or_default() += 1;
            writers.commit(10).await;
            guest.take(&mut begun, &admin, 3, "").await;
            owner.take(&mut named, &admin, 3, "").await;
            drop(shown);
        }
    }
    let kinds: Vec<_> = terminated.keys().map(String::as_str).collect();
    assert_eq!(kinds, KINDS, "a connection of another name");
    assert!(pids.len() >= 2 * TIMES, "{pids:?}");
    let mut shown = server.subscribe(&[&listed]).await;
    writers.stop().await;
    ledger::finish(&admin).await;
    let mut replay = Replay::default();
    replay.read_to_end(&mut live).await;
    replay.equals_table(&admin).await;
    let mut viewer = Copy::default();
    for (copy, stream, who) in [
        (&mut guest, &mut begun, "with a last id"),
        (&mut owner, &mut named, "with a key"),
        (&mut viewer, &mut shown, "with a snapshot"),
    ] {
        copy.take(stream, &admin, usize::MAX, ledger::SENTINEL_ID)
            .await;
        assert_eq!(copy.rows, table(&admin).await, "{who}");
    }
}
