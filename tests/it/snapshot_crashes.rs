//! Snapshots and a crash of Postgres: what was told before it is not told again as news.
//!
//! A position from before a crash is believed only in part, so that whoever comes back with it is told some of the past
//! again. To somebody who has just been told what there is, that would be old rows after new ones.

use std::time::Duration;

use rowcast::embedded::Cluster;
use serde_json::json;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

use crate::crashes::migrated;
use crate::support::feed::{run, with_query};
use crate::support::server::{Server, options};
use crate::support::{DEADLINE, Event, Sse, client, durable_cluster, eventually};

struct Site {
    cluster: Cluster,
    url: String,
    admin: Client,
    server: Server,
}

impl Site {
    /// A server of its own with a few changes behind it, all of them told.
    async fn open() -> Self {
        let cluster = durable_cluster();
        let url = cluster.url("postgres");
        let admin = migrated(&url).await;
        run(
            &admin,
            "create table posts (id text primary key); select rowcast.attach('posts', list_rule => '')",
        )
        .await;
        let server = Server::start_with(options(&url)).await;
        let mut live = server.subscribe(&["posts/*"]).await;
        for id in ["old 1", "old 2", "gone"] {
            run(&admin, &format!("insert into posts values ('{id}')")).await;
        }
        run(&admin, "delete from posts where id = 'gone'").await;
        live.next_events(4, DEADLINE).await;
        Self {
            cluster,
            url,
            admin,
            server,
        }
    }

    /// Crash recovery.
    fn crash(&self) {
        block_in_place(|| {
            self.cluster.kill().expect("a kill");
            self.cluster.start_again().expect("a new start");
        });
    }

    /// Changes one record after another until the stream tells of one; everything it tells until then. Whoever was told
    /// to load afresh has found those from before that, and may not hear of them.
    async fn until_news(&self, stream: &mut Sse) -> Vec<String> {
        let admin = client(&self.url).await;
        let mut told = Vec::new();
        let end = Instant::now() + DEADLINE;
        for number in 0.. {
            run(
                &admin,
                &format!("insert into posts values ('new {number}')"),
            )
            .await;
            while let Ok(event) =
                timeout(Duration::from_millis(200), stream.next_event(DEADLINE)).await
            {
                told.push(line(&event));
                if told
                    .last()
                    .is_some_and(|told| told.starts_with("create new "))
                {
                    return told;
                }
            }
            assert!(Instant::now() < end, "nothing new was told: {told:?}");
        }
        unreachable!("numbers do not end")
    }
}

fn snapshot() -> String {
    with_query("posts/*", json!({ "snapshot": "1" }))
}

/// The action and the id.
fn line(event: &Event) -> String {
    let (action, record) = event.change();
    format!("{action} {}", record["id"].as_str().unwrap())
}

/// Nothing but that one should load afresh, before what is new.
fn assert_only_news(told: &[String]) {
    let (_, before) = told.split_last().unwrap();
    assert!(before.iter().all(|told| told == "resync "), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_a_snapshot_is_read_is_a_resync_and_nothing_is_told_again() {
    let site = Site::open().await;
    let migration = client(&site.url).await;
    run(
        &migration,
        "begin; lock table posts in access exclusive mode",
    )
    .await;
    let mut stream = site.server.subscribe(&[&snapshot()]).await;
    let waiting = "select from pg_stat_activity where application_name = 'rowcast' and wait_event_type = 'Lock'";
    eventually(DEADLINE, || async {
        match site.admin.query(waiting, &[]).await.unwrap().len() {
            0 => Err("nobody reads"),
            _ => Ok(()),
        }
    })
    .await;
    site.crash();
    assert_eq!(line(&stream.next_event(DEADLINE).await), "resync ");
    assert_only_news(&site.until_news(&mut stream).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_right_after_a_snapshot_tells_nothing_of_it_again() {
    let site = Site::open().await;
    // Until something else is heard, nobody can say that this one had nothing to tell.
    run(&site.admin, "select pg_current_xact_id()").await;
    let mut stream = site.server.subscribe(&[&snapshot()]).await;
    let events = stream.next_events(3, DEADLINE).await;
    let told: Vec<_> = events.iter().map(line).collect();
    assert_eq!(told, ["snapshot old 1", "snapshot old 2", "ready "]);
    site.crash();
    assert_only_news(&site.until_news(&mut stream).await);
}
