//! Dumps, restores and templates: a copy of the log is not the log.

use std::process::{Command, Stdio};

use crate::support::feed::{line, run, text};
use crate::support::{DEADLINE, Server, TestDatabase, client, database, empty_database};

pub const BIN: &str = "/usr/lib/postgresql/15/bin";

/// Copies a database with `pg_dump | psql`.
pub fn copy(source: &TestDatabase, target: &TestDatabase, arguments: &[&str]) {
    let mut dump = Command::new(format!("{BIN}/pg_dump"))
        .args(arguments)
        .arg(&source.url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let restored = Command::new(format!("{BIN}/psql"))
        .args(["-Xq", "-v", "ON_ERROR_STOP=1", &target.url])
        .stdin(dump.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(dump.wait().unwrap().success());
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
}

const TABLES: &str = "
    create table posts (gone text, id text primary key, title text, secret text, other text);
    alter table posts drop column gone;
    select rowcast.attach('posts', list_rule => '', hidden => array['secret', 'other']);
    create table parts (id integer primary key) partition by range (id);
    create table parts_a partition of parts default;
    select rowcast.attach('parts', list_rule => '', include_replicated => true);
    insert into posts values ('old', 'title', 'hush', 'hush');
    insert into parts values (1);";

#[tokio::test]
async fn a_restored_database_serves_new_changes_and_no_old_ones() {
    let source = database().await;
    run(&client(&source.url).await, TABLES).await;
    let target = empty_database().await;
    copy(&source, &target, &[]);
    let writer = client(&target.url).await;
    let epoch = text(&writer, "select rowcast.epoch()").await;
    let server = Server::start(&target).await;
    assert_ne!(text(&writer, "select rowcast.epoch()").await, epoch);
    let mut stream = server.subscribe(&["posts", "parts"]).await;
    run(
        &writer,
        "insert into posts values ('new', 'title', 'hush', 'hush'); insert into parts values (2);
         set session_replication_role = replica; delete from parts where id = 1",
    )
    .await;
    let events = stream.next_events(3, DEADLINE).await;
    let lines: Vec<_> = events.iter().map(line).collect();
    assert_eq!(
        lines,
        ["create posts new", "create parts 2", "delete parts 1"]
    );
    assert!(!events[0].data.contains("hush"), "{events:?}");
    // The server does so, too, some time: the restored columns have other numbers.
    run(&writer, "select rowcast.tend_shapes()").await;
    let said = text(
        &writer,
        "select rowcast.attach('parts', list_rule => '', include_replicated => true)",
    )
    .await;
    assert_eq!(said, "parts: nothing to change");
    let said = text(
        &writer,
        "select rowcast.attach('posts', list_rule => '', hidden => array['secret', 'other'])",
    )
    .await;
    assert_eq!(said, "posts: nothing to change");
}

#[tokio::test]
async fn a_database_made_from_another_has_a_log_of_its_own() {
    let database = database().await;
    let client = client(&database.url).await;
    let epoch = text(&client, "select rowcast.epoch()").await;
    assert_eq!(
        text(&client, "select rowcast.open_log()").await,
        "another database"
    );
    assert_ne!(text(&client, "select rowcast.epoch()").await, epoch);
    assert_eq!(text(&client, "select rowcast.open_log()").await, "open");
}

#[tokio::test]
async fn hidden_columns_stay_hidden_through_renaming_and_restoring() {
    for (what, renaming, served_between) in [
        ("nothing renamed", "", true),
        (
            "renamed",
            "alter table posts rename secret to public_now;",
            true,
        ),
        (
            "names swapped",
            "alter table posts rename secret to x; alter table posts rename title to secret; alter table posts rename x to title;",
            true,
        ),
        (
            "renamed and dumped at once",
            "alter table posts rename secret to public_now;",
            false,
        ),
    ] {
        let source = database().await;
        let writer = client(&source.url).await;
        run(&writer, TABLES).await;
        let server = Server::start(&source).await;
        let mut stream = server.subscribe(&["posts"]).await;
        run(&writer, renaming).await;
        if served_between {
            run(
                &writer,
                "insert into posts values ('a', 'x', 'hush', 'hush')",
            )
            .await;
            let event = stream.next_event(DEADLINE).await;
            assert!(!event.data.contains("hush"), "{what}: {event:?}");
            run(&writer, "select rowcast.tend_hidden()").await;
        }
        server.stop().await;
        let target = empty_database().await;
        copy(&source, &target, &[]);
        let server = Server::start(&target).await;
        let mut stream = server.subscribe(&["posts"]).await;
        let writer = client(&target.url).await;
        // Renamed again after the restore: by then the service has learned the new numbers.
        for again in ["", "alter table posts rename other to another;"] {
            run(&writer, again).await;
            run(&writer, "delete from posts where id = 'b'; insert into posts values ('b', 'x', 'hush', 'hush')").await;
            loop {
                let event = stream.next_event(DEADLINE).await;
                assert!(!event.data.contains("hush"), "{what}{again}: {event:?}");
                if event.change().0 == "create" {
                    break;
                }
            }
        }
    }
}
