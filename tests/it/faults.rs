//! Things are killed under load; nothing is lost, and nobody has to do anything.

use std::time::Duration;

use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::embedded::Cluster;
use tokio::task::spawn_blocking;

use crate::support::ledger::{self, Replay, Writers, patient};
use crate::support::process::{Process, free_port, ready};
use crate::support::server::{Server, options};
use crate::support::{
    DEADLINE, Sse, client, cluster_options, database, empty_database, eventually,
};

/// Many writers in each other's way, one reader: the order of events is the order of the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_writers_in_each_others_way_lose_and_misplace_nothing() {
    let database = database().await;
    let client = client(&database.url).await;
    ledger::create(&client).await;
    let server = Server::start_with(patient(options(&database.url))).await;
    let mut stream = server.subscribe(&["ledger/*"]).await;
    let writers = Writers::start(&database.url, 12, 1);
    writers.commit(1_500).await;
    writers.stop().await;
    ledger::finish(&client).await;
    let mut replay = Replay::default();
    replay.read_to_end(&mut stream).await;
    replay.equals_table(&client).await;
    assert!(replay.events > 1_500, "{} events", replay.events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_backend_is_terminated_again_and_again_misses_nothing() {
    let database = database().await;
    let client = client(&database.url).await;
    ledger::create(&client).await;
    let server = Server::start_with(patient(options(&database.url))).await;
    let mut stream = server.subscribe(&["ledger/*"]).await;
    let writers = Writers::start(&database.url, 6, 2);
    for _ in 0..10 {
        writers.commit(60).await;
        let killed = client
            .query(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and application_name = 'rowcast capture'",
                &[],
            )
            .await
            .unwrap();
        assert!(killed.len() <= 1);
    }
    writers.stop().await;
    ledger::finish(&client).await;
    let mut replay = Replay::default();
    replay.read_to_end(&mut stream).await;
    replay.equals_table(&client).await;
    assert!(
        server.metrics.capture_failures.get() > 0,
        "nothing was terminated"
    );
}

/// A server of one's own, with the ledger in it.
async fn own_cluster(fsync: bool) -> (Cluster, String) {
    let cluster = spawn_blocking(move || {
        let mut options = cluster_options();
        options.fsync = fsync;
        Cluster::start(&options).expect("a private Postgres")
    })
    .await
    .unwrap();
    let url = cluster.url("postgres");
    let database = Database::new(&DatabaseOptions::new(&url)).unwrap();
    migrate(&database).await.unwrap();
    ledger::create(&client(&url).await).await;
    (cluster, url)
}

/// Hurts a server of our own three times while six writers are at work; nothing may be lost.
async fn nothing_is_lost_when(fsync: bool, seed: u64, hurt: fn(&Cluster)) {
    let (mut cluster, url) = own_cluster(fsync).await;
    let server = Server::start_with(patient(options(&url))).await;
    let mut stream = server.subscribe(&["ledger/*"]).await;
    let writers = Writers::start(&url, 6, seed);
    for _ in 0..3 {
        writers.commit(100).await;
        cluster = spawn_blocking(move || {
            hurt(&cluster);
            cluster
        })
        .await
        .unwrap();
    }
    writers.commit(100).await;
    writers.stop().await;
    let client = client(&url).await;
    ledger::finish(&client).await;
    let mut replay = Replay::default();
    replay.read_to_end(&mut stream).await;
    replay.equals_table(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgres_under_load_loses_nothing() {
    nothing_is_lost_when(false, 3, |cluster| cluster.restart().expect("a restart")).await;
}

/// Crash recovery takes back what was not on disk and gives its transaction ids to others; commits
/// here wait for the disk, so that nothing delivered can be taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_postgres_under_load_loses_nothing() {
    nothing_is_lost_when(true, 4, |cluster| {
        cluster.kill().expect("a kill");
        cluster.start_again().expect("a new start");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_left_open_for_long_delays_nobody_and_is_not_forgotten() {
    let database = database().await;
    let client = client(&database.url).await;
    ledger::create(&client).await;
    let sleeper = crate::support::client(&database.url).await;
    let server = Server::start_with(patient(options(&database.url))).await;
    let mut stream = server.subscribe(&["ledger/*"]).await;
    sleeper
        .batch_execute("begin; insert into ledger values (500, 0, -1)")
        .await
        .unwrap();
    let writers = Writers::start(&database.url, 4, 5);
    writers.commit(300).await;
    writers.stop().await;
    sleeper.batch_execute("commit").await.unwrap();
    ledger::finish(&client).await;
    let mut replay = Replay::default();
    replay.read_to_end(&mut stream).await;
    replay.equals_table(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_late_is_waited_for_and_readiness_says_so() {
    let (mut cluster, url) = own_cluster(false).await;
    cluster = spawn_blocking(move || {
        cluster.kill().expect("a kill");
        cluster
    })
    .await
    .unwrap();
    let server = Server::start_unready(options(&url), ([127, 0, 0, 1], 0).into()).await;
    let ready = format!("{}/api/ready", server.base);
    let status = reqwest::get(&ready).await.unwrap().status();
    assert_eq!(status, 503);
    let cluster = spawn_blocking(move || {
        cluster.start_again().expect("a new start");
        cluster
    })
    .await
    .unwrap();
    eventually(DEADLINE, || async {
        let answer = reqwest::get(&ready).await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        if status == 200 { Ok(()) } else { Err(body) }
    })
    .await;
    let mut stream = server.subscribe(&["ledger"]).await;
    client(&cluster.url("postgres"))
        .await
        .batch_execute("insert into ledger values (1, 0, 1)")
        .await
        .unwrap();
    assert_eq!(stream.next_event(DEADLINE).await.change().0, "create");
    stream.stays_silent(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_terminated_while_rules_look_up_other_records_lose_nothing() {
    const CHANGES: usize = 60;
    let database = database().await;
    let client = client(&database.url).await;
    client
        .batch_execute(
            "create table members (id text primary key, team text);
             create table docs (id text primary key, team text);
             insert into members values ('m', 'ours');
             select rowcast.attach('members');
             select rowcast.attach('docs', list_rule => '@collection.members.team ?= team')",
        )
        .await
        .unwrap();
    let server = Server::start_with(patient(options(&database.url))).await;
    let mut stream = server.subscribe(&["docs/*"]).await;
    for n in 0..CHANGES {
        let statement = format!("insert into docs values ('theirs{n}', 'x'), ('d{n}', 'ours')");
        client.batch_execute(&statement).await.unwrap();
        // Those of the pool, idle or at work.
        let terminated = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'rowcast'";
        client.query(terminated, &[]).await.unwrap();
    }
    for n in 0..CHANGES {
        let event = stream.next_event(DEADLINE).await;
        let (action, record) = event.change();
        assert_eq!(action, "create");
        assert_eq!(record["id"].as_str(), Some(&*format!("d{n}")));
    }
    let fetches = server.metrics.encode();
    assert!(
        fetches.contains(r#"rowcast_related_fetches_total{outcome="rows"}"#),
        "{fetches}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_is_followed_by_one_that_misses_nothing() {
    let database = database().await;
    let client = client(&database.url).await;
    ledger::create(&client).await;
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}");
    let writers = Writers::start(&database.url, 6, 6);
    for life in 0..3 {
        let process = Process::start(&database.url, port);
        ready(&base).await;
        let mut stream = Sse::connect(&base).await;
        stream.subscribe(&["ledger/*"]).await;
        let before = ledger::table(&client).await;
        writers.commit(150).await;
        if life < 2 {
            // Changes go on while nobody is there.
            drop(process);
            writers.commit(30).await;
            continue;
        }
        writers.stop().await;
        ledger::finish(&client).await;
        let mut replay = Replay::from_the_middle();
        replay.read_to_end(&mut stream).await;
        replay.equals_changes(&client, &before).await;
        assert!(replay.events > 100, "{} events", replay.events);
        return;
    }
}

/// Found by the oracle: the server ended when the database sent it away before it had begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_sent_away_while_it_starts_tries_again() {
    let database = empty_database().await;
    let admin = client(&database.url).await;
    // The server waits for whoever migrates.
    let lock = include_str!("../../sql/db/migrate_lock.sql");
    admin.batch_execute(lock).await.unwrap();
    let port = free_port();
    let _process = Process::start(&database.url, port);
    let other = client(&database.url).await;
    eventually(DEADLINE, || async {
        let terminated = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name = 'rowcast migrate' and wait_event_type = 'Lock'";
        match other.query(terminated, &[]).await.unwrap().len() {
            0 => Err("nobody waits"),
            _ => Ok(()),
        }
    })
    .await;
    drop(admin);
    ready(&format!("http://127.0.0.1:{port}")).await;
}
