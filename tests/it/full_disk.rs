//! When the disk below the change log fills up.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rowcast::embedded::Cluster;
use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::crashes::migrated;
use crate::support::feed::{run, text};
use crate::support::ledger::patient;
use crate::support::server::{Server, options};
use crate::support::{DEADLINE, Sse, cluster_options, eventually};

const SKIPPED: &str = "SKIPPED: mounting a small disk takes root; nothing was tested";

/// A small file system, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` for those who may not mount.
    fn mount(owner: &Path, megabytes: u32) -> Option<Self> {
        let folder = tempfile::Builder::new()
            .prefix("rowcast-small-")
            .tempdir_in("/tmp")
            .unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={megabytes}m"))
            .arg("tmpfs")
            .arg(folder.path())
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            return None;
        }
        let owner = format!("--reference={}", owner.display());
        let given = Command::new("chown").arg(owner).arg(folder.path()).status();
        assert!(given.expect("chown runs").success());
        Some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Makes a table, attaches it, and has the log alone on the small disk.
async fn move_log(admin: &Client, disk: &SmallDisk) {
    let path = disk.0.path().display();
    run(admin, &format!("create tablespace small location '{path}'")).await;
    run(
        admin,
        "create table posts (id integer primary key, body text);
         select rowcast.attach('posts', list_rule => '', view_rule => '')",
    )
    .await;
    for slot in 1..=4 {
        run(
            admin,
            &format!("alter table rowcast.changes_{slot} set tablespace small"),
        )
        .await;
    }
}

/// What docs/capture.md says of a disk that nobody watches: the write fails as it does when its table's disk is full, nothing is written
/// that is not recorded, and all goes on when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_the_log_leaves_no_write_without_its_change() {
    let cluster =
        block_in_place(|| Cluster::start(&cluster_options()).expect("a private Postgres"));
    let Some(disk) = SmallDisk::mount(cluster.directory(), 6) else {
        println!("{SKIPPED}");
        return;
    };
    let url = cluster.url("postgres");
    let admin = migrated(&url).await;
    move_log(&admin, &disk).await;
    let mut options = patient(options(&url));
    options.capture.log_reserve = 0;
    let server = Server::start_with(options).await;
    let mut stream = server.subscribe(&["posts/*"]).await;
    let mut failed = None;
    let mut written = 0;
    while failed.is_none() && written < 2_000 {
        // Incompressible, and out of line.
        let insert = format!(
            "insert into posts select {written}, string_agg(md5(i::text || {written}), '') from generate_series(1, 500) i"
        );
        match admin.batch_execute(&insert).await {
            Ok(()) => written += 1,
            Err(error) => failed = error.code().cloned(),
        }
    }
    assert_eq!(
        failed,
        Some(tokio_postgres::error::SqlState::DISK_FULL),
        "after {written}"
    );
    for id in 0..written {
        let (action, record) = stream.next_event(DEADLINE).await.change();
        assert_eq!(
            (&*action, &record["id"]),
            ("create", &id.to_string().into())
        );
    }
    assert_eq!(
        text(&admin, "select count(*)::text from posts").await,
        written.to_string()
    );
    // Readers read on meanwhile, and somebody makes room.
    let grown = Command::new("mount")
        .args(["-o", "remount,size=32m"])
        .arg(disk.0.path())
        .status();
    assert!(grown.expect("mount runs").success());
    run(&admin, "insert into posts values (-1, 'room')").await;
    assert_eq!(stream.next_event(DEADLINE).await.change().1["id"], "-1");
    server.stop().await;
    drop(cluster);
}

const MIB: u64 = 1024 * 1024;

/// Somebody else's file, which takes the room that the log needs.
struct Foreign(fs::File);

impl Foreign {
    fn create(disk: &SmallDisk) -> Self {
        let path = disk.0.path().join("somebody-elses");
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self(file.unwrap())
    }

    /// Whether there was room for that.
    fn grow(&mut self, bytes: u64) -> bool {
        let bytes = vec![1; usize::try_from(bytes).unwrap()];
        self.0.write_all(&bytes).is_ok()
    }

    fn shrink(&self) {
        self.0.set_len(0).unwrap();
    }
}

async fn ready(server: &Server) -> (u16, String) {
    let answer = reqwest::get(format!("{}/api/ready", server.base)).await;
    let answer = answer.expect("an answer");
    (
        answer.status().as_u16(),
        answer.text().await.expect("a body"),
    )
}

/// The disk of the log, not that of the tables, is taken by the log and by somebody else, until nothing is left of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_below_the_log_fills_up_writes_go_on_and_subscribers_are_told() {
    let cluster =
        block_in_place(|| Cluster::start(&cluster_options()).expect("a private Postgres"));
    let Some(disk) = SmallDisk::mount(cluster.directory(), 24) else {
        println!("{SKIPPED}");
        return;
    };
    let url = cluster.url("postgres");
    let admin = migrated(&url).await;
    move_log(&admin, &disk).await;
    let mut options = patient(options(&url));
    options.capture.log_reserve = 6 * MIB;
    let server = Server::start_with(options).await;
    let mut stream = server.subscribe(&["posts/*"]).await;
    let mut plain = Sse::connect_plain(&server.base, &["posts/*"], None, |request| request).await;
    run(&admin, "insert into posts values (0, 'first')").await;
    let last_id = loop {
        let event = plain.next_event(DEADLINE).await;
        if let Some(id) = event.id.filter(|_| !event.data.is_empty()) {
            break id;
        }
    };
    drop(plain);
    assert_eq!(ready(&server).await.0, 200);

    let mut foreign = Foreign::create(&disk);
    assert!(foreign.grow(8 * MIB));
    let mut pace = interval(Duration::from_millis(20));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut written, mut after, mut refused) = (1, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Long after the disk is full to the last byte.
    while after < 1000 {
        assert!(
            Instant::now() < deadline,
            "after {written} writes the log was not closed"
        );
        let is_full = server.metrics.log_closed.get() == 1;
        if is_full {
            while foreign.grow(4096) {}
            after += 1;
        } else {
            pace.tick().await;
            foreign.grow(20 * 1024);
        }
        let insert = format!(
            "insert into posts select {written}, string_agg(md5(i::text || {written}), '') from generate_series(1, 500) i"
        );
        match admin.batch_execute(&insert).await {
            Ok(()) => written += 1,
            // In the moment in which it is found out: milliseconds, and more where they are not ours.
            Err(error) if error.code() == Some(&SqlState::DISK_FULL) && refused < 3 => {
                refused += 1;
            }
            Err(error) => panic!("write {written} failed: {error:?}"),
        }
    }
    let (status, body) = ready(&server).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("not recorded"), "{body}");
    // Nobody comes back to a log that does not tell everything.
    let mut options = crate::support::server::options(&url);
    options.capture.log_reserve = 6 * MIB;
    let other = Server::start_with(options).await;
    let mut again =
        Sse::connect_plain(&other.base, &["posts/*"], Some(&last_id), |request| request).await;
    let told = next_change(&mut again).await;
    assert_eq!(told.0, "resync", "{told:?}");
    other.stop().await;

    foreign.shrink();
    eventually(DEADLINE, || async {
        match ready(&server).await {
            (200, _) => Ok(()),
            seen => Err(seen),
        }
    })
    .await;
    println!("{written} written, {after} of them unrecorded, {refused} refused");
    // What was recorded until then was told, and the rest is no silence.
    let mut recorded = 0;
    let told = loop {
        let (action, record) = next_change(&mut stream).await;
        if action != "create" {
            break action;
        }
        assert_eq!(record["id"], recorded.to_string());
        recorded += 1;
    };
    assert_eq!(told, "resync");
    assert!(
        recorded >= written - 1001,
        "{recorded} recorded of {written}"
    );
    run(&admin, "insert into posts values (-1, 'room')").await;
    let told = next_change(&mut stream).await;
    assert_eq!((&*told.0, &told.1["id"]), ("create", &"-1".into()));
    assert_eq!(
        text(&admin, "select count(*)::text from posts").await,
        (written + 1).to_string()
    );
    server.stop().await;
    drop(cluster);
}

async fn next_change(stream: &mut Sse) -> (String, serde_json::Value) {
    loop {
        let event = stream.next_event(DEADLINE).await;
        if !event.data.is_empty() {
            return event.change();
        }
    }
}
