//! The doorbell: writers ring only while a reader sleeps, and no wake-up is ever lost.
//!
//! The readers here fall asleep as soon as they can and have no safety net: no probe reads the log
//! for them, so a lost wake-up is a change that never comes.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::app::AppOptions;
use rowcast::capture::Bell;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::support::server::{Server, options};
use crate::support::{DEADLINE, Sse, TestDatabase, client, database, eventually};

/// Falls asleep after a few milliseconds; nothing but the bell wakes it.
fn sleepy(url: &str) -> AppOptions {
    let mut options = options(url);
    options.capture.linger = Duration::from_millis(3);
    options.capture.probe_interval = Duration::from_secs(3_600);
    options
}

async fn ticks() -> (TestDatabase, Client) {
    let database = database().await;
    let client = client(&database.url).await;
    client
        .batch_execute("create table ticks (id bigint primary key); select rowcast.attach('ticks', list_rule => '');")
        .await
        .unwrap();
    (database, client)
}

async fn arrives(stream: &mut Sse, id: i64) {
    let event = stream.next_event(DEADLINE).await;
    assert_eq!(event.change().1["id"], id.to_string(), "{event:?}");
}

/// Writes in bursts and silences, each change with a random pause between trigger and commit, so that
/// many of them fall into the moment in which a reader lies down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_however_a_writer_and_two_sleepy_readers_meet() {
    let (database, writer) = ticks().await;
    let nodes = [
        Server::start_with(sleepy(&database.url)).await,
        Server::start_with(sleepy(&database.url)).await,
    ];
    let mut streams = [
        nodes[0].subscribe(&["ticks/*"]).await,
        nodes[1].subscribe(&["ticks/*"]).await,
    ];
    let mut rng = StdRng::seed_from_u64(7);
    for id in 0..400 {
        writer.batch_execute("begin").await.unwrap();
        writer
            .execute("insert into ticks values ($1)", &[&id])
            .await
            .unwrap();
        if rng.random_bool(0.5) {
            sleep(Duration::from_micros(rng.random_range(0..9_000))).await;
        }
        writer.batch_execute("commit").await.unwrap();
        for stream in &mut streams {
            arrives(stream, id).await;
        }
        if rng.random_bool(0.6) {
            sleep(Duration::from_micros(rng.random_range(0..12_000))).await;
        }
    }
    for node in &nodes {
        assert!(
            node.metrics.rings.get() > 50,
            "{} rings",
            node.metrics.rings.get()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeping_reader_asks_the_database_nothing() {
    let (database, writer) = ticks().await;
    let server = Server::start_with(sleepy(&database.url)).await;
    let mut stream = server.subscribe(&["ticks/*"]).await;
    writer
        .batch_execute("insert into ticks values (1)")
        .await
        .unwrap();
    arrives(&mut stream, 1).await;
    asleep(&writer).await;
    settled(&server).await;
    let reads = server.metrics.log_reads.get();
    stream.stays_silent(Duration::from_millis(500)).await;
    assert_eq!(server.metrics.log_reads.get(), reads);
    writer
        .batch_execute("insert into ticks values (2)")
        .await
        .unwrap();
    arrives(&mut stream, 2).await;
}

/// Waits until the bell says that a reader sleeps and its backend has nothing to do.
async fn asleep(client: &Client) {
    eventually(DEADLINE, || async {
        let row = client
            .query_one(
                "select pg_sequence_last_value('rowcast.bell') & 1 = 1 and bool_and(state = 'idle' and state_change < now() - interval '60 ms')
                 from pg_stat_activity where application_name = 'rowcast capture' and datname = current_database()",
                &[],
            )
            .await
            .unwrap();
        if row.get::<_, Option<bool>>(0) == Some(true) { Ok(()) } else { Err("awake") }
    })
    .await;
}

/// Waits until a reader that has lain down has stopped reading. Until then it looks twenty times a second, as long as any
/// transaction of the whole cluster is open that began before: another test's, perhaps.
async fn settled(server: &Server) {
    let reads = Cell::new((server.metrics.log_reads.get(), Instant::now()));
    eventually(DEADLINE, || async {
        let now = server.metrics.log_reads.get();
        if reads.get().0 != now {
            reads.set((now, Instant::now()));
        }
        match reads.get().1.elapsed() > Duration::from_millis(300) {
            true => Ok(()),
            false => Err(now),
        }
    })
    .await;
}

/// While changes come thick and fast the bell is silent: that is what keeps commits fast.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nobody_rings() {
    let (database, writer) = ticks().await;
    let server = Server::start(&database).await;
    let mut stream = server.subscribe(&["ticks/*"]).await;
    for id in 0..500_i64 {
        writer
            .execute("insert into ticks values ($1)", &[&id])
            .await
            .unwrap();
    }
    for id in 0..500 {
        arrives(&mut stream, id).await;
    }
    assert!(
        server.metrics.rings.get() < 50,
        "{} rings",
        server.metrics.rings.get()
    );
}

/// A server that was killed in its sleep cannot take back its request to be rung.
#[tokio::test]
async fn nobody_rings_for_a_reader_that_is_long_dead() {
    let (database, client) = ticks().await;
    for (age, rung) in [("1 second", true), ("2 minutes", false)] {
        client
            .batch_execute(&format!(
                "select setval('rowcast.bell', (extract(epoch from now() - interval '{age}') * 1000000)::bigint * 2 + 1)"
            ))
            .await
            .unwrap();
        client
            .batch_execute("begin; delete from ticks; insert into ticks values (1)")
            .await
            .unwrap();
        // A transaction that has notified cannot be prepared.
        let prepared = client.batch_execute("prepare transaction 'x'").await;
        assert_eq!(prepared.is_err(), rung, "{age}: {prepared:?}");
        let _ = client.batch_execute("rollback prepared 'x'").await;
    }
    drop(database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_may_ring_the_log_is_polled() {
    let (database, writer) = ticks().await;
    for bell in [Bell::Off, Bell::Auto] {
        let mut options = options(&database.url);
        options.capture.bell = bell;
        let server = Server::start_with(options).await;
        let mut stream = server.subscribe(&["ticks/*"]).await;
        // Quiet for long enough to fall asleep, if it could.
        stream.stays_silent(Duration::from_millis(200)).await;
        let id = if bell == Bell::Off { 1 } else { 2 };
        for statement in [
            &format!("begin; insert into ticks values ({id}); prepare transaction 'two'"),
            "commit prepared 'two'",
        ] {
            writer.batch_execute(statement).await.unwrap();
        }
        arrives(&mut stream, id).await;
        assert_eq!(server.metrics.rings.get(), 0);
    }
}

/// A notification that does not come back means a connection that is half dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_hears_nothing_is_replaced() {
    let (database, writer) = ticks().await;
    let mut options = options(&database.url);
    options.capture.probe_interval = Duration::from_millis(100);
    options.capture.answer_deadline = Duration::from_millis(500);
    let server = Server::start_with(options).await;
    let mut stream = server.subscribe(&["ticks/*"]).await;
    asleep(&writer).await;
    // The backend is stopped, so the connection is there and nothing comes through.
    let pid: i32 = writer
        .query_one(
            "select pid from pg_stat_activity where application_name = 'rowcast capture' and datname = current_database()",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    signal(pid, "STOP");
    eventually(DEADLINE, || async {
        let failures = server.metrics.capture_failures.get();
        if failures > 0 {
            Ok(())
        } else {
            Err("no failure noticed")
        }
    })
    .await;
    writer
        .batch_execute("insert into ticks values (5)")
        .await
        .unwrap();
    arrives(&mut stream, 5).await;
    signal(pid, "CONT");
}

fn signal(pid: i32, signal: &str) {
    let status = std::process::Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
