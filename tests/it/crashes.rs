//! The crash matrix: what breaks around us costs no writer its transaction, and no subscriber a change it is not told of.
//!
//! Beside this file: crashes and restarts of Postgres and of the server, terminated connections (`faults`), dumps and
//! restores (`schema_copies`), an emptied log (`retention`), a silent connection at rest (`bell`), and all of it at random
//! (`oracle`).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::embedded::{Cluster, Storage, Tcp};
use tokio::task::block_in_place;
use tokio_postgres::Client;

use crate::support::feed::{run, text};
use crate::support::ledger::{self, Replay, Writers, patient};
use crate::support::process::free_port;
use crate::support::server::{Server, options};
use crate::support::{
    DEADLINE, Sse, client, cluster_options, database, empty_database, eventually,
};

mod versions {
    refinery::embed_migrations!("migrations");
}

/// A standby of `primary`, in `folder`, on a socket of its own.
fn standby(primary: &Cluster, folder: &Path, port: u16) -> Cluster {
    let password = primary.tcp_url("postgres").expect("it listens on TCP");
    let password = password.split([':', '@']).nth(2).expect("a password");
    fs::write(folder.join("password"), password).unwrap();
    fs::write(folder.join("rowcast.lock"), "").unwrap();
    let copied = Command::new("/usr/lib/postgresql/15/bin/pg_basebackup")
        .args(["-R", "-c", "fast", "-X", "stream", "-U", "postgres", "-p"])
        .arg(port.to_string())
        .arg("-h")
        .arg(primary.directory())
        .arg("-D")
        .arg(folder.join("data"))
        .output()
        .expect("pg_basebackup runs");
    assert!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    if fs::metadata(primary.directory()).is_ok_and(|home| !is_ours(&home)) {
        let owner = format!("--reference={}", primary.directory().display());
        let given = Command::new("chown")
            .args(["-R", &owner])
            .arg(folder)
            .status();
        assert!(given.expect("chown runs").success());
    }
    in_folder(folder, Tcp::Off)
}

/// Whether a folder belongs to us, and not to the account that root lends to Postgres.
fn is_ours(home: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == home.uid())
}

fn in_folder(folder: &Path, tcp: Tcp) -> Cluster {
    let mut options = cluster_options();
    options.storage = Storage::Kept(folder.to_owned());
    options.tcp = tcp;
    Cluster::start(&options).expect("the copy starts")
}

pub(crate) async fn migrated(url: &str) -> Client {
    let database = Database::new(&DatabaseOptions::new(url)).unwrap();
    migrate(&database).await.unwrap();
    client(url).await
}

/// The standby has another history from here on: whatever the first one had not handed over is gone, so no position
/// means anything any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_subscribers_load_afresh_and_hear_what_the_promoted_standby_does() {
    let port = free_port();
    let primary = block_in_place(|| {
        let mut options = cluster_options();
        options.tcp = Tcp::Port(port);
        Cluster::start(&options).expect("a private Postgres")
    });
    let url = primary.tcp_url("postgres").unwrap();
    ledger::create(&migrated(&url).await).await;
    let folder = tempfile::Builder::new()
        .prefix("rowcast-standby-")
        .tempdir_in("/tmp")
        .unwrap();
    let copy = block_in_place(|| standby(&primary, folder.path(), port));
    let server = Server::start_with(patient(options(&url))).await;
    let mut stream = server.subscribe(&["ledger/*"]).await;
    let writer = client(&url).await;
    run(&writer, "insert into ledger values (1, 0, 1)").await;
    assert_eq!(stream.next_event(DEADLINE).await.change().0, "create");
    let behind = client(&copy.url("postgres")).await;
    eventually(DEADLINE, || async {
        match &*text(&behind, "select count(*)::text from ledger").await {
            "1" => Ok(()),
            seen => Err(seen.to_owned()),
        }
    })
    .await;
    block_in_place(|| primary.kill().expect("a kill"));
    drop(primary);
    run(&behind, "select pg_promote()").await;
    drop(behind);
    // At the address of the one that is gone, as a failover would do it.
    let promoted = block_in_place(|| {
        drop(copy);
        in_folder(folder.path(), Tcp::Port(port))
    });
    let writer = client(&promoted.url("postgres")).await;
    let resync = stream.next_event(DEADLINE).await;
    assert_eq!(resync.change().0, "resync", "{resync:?}");
    run(&writer, "insert into ledger values (2, 0, 2)").await;
    let (action, record) = stream.next_event(DEADLINE).await.change();
    assert_eq!((&*action, &record["id"]), ("create", &"2".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_database_tell_the_same_of_each_record() {
    let database = database().await;
    let admin = client(&database.url).await;
    ledger::create(&admin).await;
    let nodes = [
        Server::start_with(patient(options(&database.url))).await,
        Server::start_with(patient(options(&database.url))).await,
    ];
    let mut streams = [
        nodes[0].subscribe(&["ledger/*"]).await,
        nodes[1].subscribe(&["ledger/*"]).await,
    ];
    let writers = Writers::start(&database.url, 6, 11);
    writers.commit(300).await;
    writers.stop().await;
    ledger::finish(&admin).await;
    for stream in &mut streams {
        let mut replay = Replay::default();
        replay.read_to_end(stream).await;
        replay.equals_table(&admin).await;
    }
    // Transactions that ran at the same time may come in either order, those of one record may not.
    let told = |stream: &Sse| {
        let mut changes = std::collections::BTreeMap::<_, Vec<_>>::new();
        for event in &stream.seen()[1..] {
            let (_, record) = event.change();
            let of_record = changes.entry(record["id"].to_string()).or_default();
            of_record.push(event.data.clone());
        }
        changes
    };
    assert!(
        told(&streams[0]) == told(&streams[1]),
        "two nodes, two stories"
    );
}

/// The other end is there and says nothing, as after a firewall has forgotten the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_under_load_is_replaced_and_nothing_is_lost() {
    let database = database().await;
    let admin = client(&database.url).await;
    ledger::create(&admin).await;
    let mut options = patient(options(&database.url));
    options.capture.answer_deadline = Duration::from_millis(700);
    let server = Server::start_with(options).await;
    let mut stream = server.subscribe(&["ledger/*"]).await;
    let writers = Writers::start(&database.url, 4, 12);
    writers.commit(60).await;
    let pid = text(
        &admin,
        "select pid::text from pg_stat_activity where application_name = 'rowcast capture' and datname = current_database()",
    )
    .await;
    signal(&pid, "STOP");
    eventually(DEADLINE, || async {
        match server.metrics.capture_failures.get() {
            0 => Err("no failure noticed"),
            _ => Ok(()),
        }
    })
    .await;
    writers.commit(60).await;
    writers.stop().await;
    ledger::finish(&admin).await;
    let mut replay = Replay::default();
    replay.read_to_end(&mut stream).await;
    replay.equals_table(&admin).await;
    signal(&pid, "CONT");
}

fn signal(pid: &str, signal: &str) {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), pid])
        .status();
    assert!(status.expect("kill runs").success());
}

/// The bell holds a time. It must wake whatever the clocks have done since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_either_way_loses_no_wake_up() {
    for (jump, bell) in [
        ("back by an hour", "now() + interval '1 hour'"),
        ("ahead by an hour", "now() - interval '1 hour'"),
    ] {
        let database = database().await;
        let admin = client(&database.url).await;
        ledger::create(&admin).await;
        let set = format!(
            "select setval('rowcast.bell', greatest((extract(epoch from {bell}) * 1000000)::bigint * 2 + 1, 3))"
        );
        // A reader that lay down before the jump.
        run(&admin, &set).await;
        let mut options = options(&database.url);
        options.capture.linger = Duration::from_millis(3);
        options.capture.probe_interval = Duration::from_millis(300);
        let server = Server::start_with(options).await;
        let mut stream = server.subscribe(&["ledger/*"]).await;
        for id in 0..20 {
            run(
                &admin,
                &format!("insert into ledger values ({id}, 0, {id})"),
            )
            .await;
            let (_, record) = stream.next_event(DEADLINE).await.change();
            assert_eq!(record["id"], id.to_string(), "{jump}");
            // And again while this one is asleep.
            stream.stays_silent(Duration::from_millis(15)).await;
            if id == 10 && jump.starts_with("ahead") {
                run(&admin, &set).await;
            }
        }
    }
}

/// A log with rows in it, and a transaction that began before the upgrade.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_from_an_earlier_schema_fails_no_writer_and_loses_nothing() {
    for version in [2, 3, 4] {
        let database = empty_database().await;
        let mut before = client(&database.url).await;
        run(&before, "create schema rowcast").await;
        let mut runner =
            versions::migrations::runner().set_target(refinery::Target::Version(version));
        runner.set_migration_table_name("rowcast.schema_history");
        runner
            .run_async(&mut before)
            .await
            .expect("an older schema");
        if version == 2 {
            // Nothing could be attached yet.
            migrated(&database.url).await;
            continue;
        }
        run(
            &before,
            "create table posts (id text primary key, title text)",
        )
        .await;
        run(&before, "select rowcast.attach('posts', list_rule => '')").await;
        run(&before, "insert into posts values ('old', '1')").await;
        run(&before, "begin; insert into posts values ('open', '1')").await;
        migrated(&database.url).await;
        let server = Server::start_with(options(&database.url)).await;
        let mut stream = server.subscribe(&["posts/*"]).await;
        run(
            &before,
            "update posts set title = '2'; commit; delete from posts where id = 'old'",
        )
        .await;
        let mut lines = Vec::new();
        for event in stream.next_events(4, DEADLINE).await {
            lines.push(crate::support::feed::line(&event));
        }
        assert_eq!(
            lines[0], "create posts open",
            "from version {version}: {lines:?}"
        );
        lines[1..3].sort();
        assert_eq!(
            lines[1..],
            ["update posts old", "update posts open", "delete posts old"],
            "from version {version}"
        );
    }
}
