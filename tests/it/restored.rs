//! A database that was restored from a dump: no position of the one before means anything in it, and whoever comes with one
//! is told so.

use std::process::Command;

use rowcast::embedded::Cluster;
use tempfile::NamedTempFile;
use tokio::task::block_in_place;
use tokio_postgres::Client;

use crate::schema_copies::BIN;
use crate::support::feed::{line, run, text};
use crate::support::server::{Server, options};
use crate::support::{
    DEADLINE, Sse, client, cluster_options, database, empty_database, eventually,
};

const POSTS: &str =
    "create table posts (id text primary key); select rowcast.attach('posts', list_rule => '')";
const ALL: &[&str] = &["posts/*"];
const KEYED: &str = r#"posts/*?options={"query":{"resume":"0123456789abcdef_-"}}"#;

/// What `pg_dump` makes of a database.
fn dump(url: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    program("pg_dump", &["--format=custom", "--file", path, url]);
    file
}

fn restore(dump: &NamedTempFile, url: &str) {
    let path = dump.path().to_str().unwrap();
    program(
        "pg_restore",
        &["--single-transaction", "--dbname", url, path],
    );
}

fn program(name: &str, arguments: &[&str]) {
    let ran = Command::new(format!("{BIN}/{name}"))
        .args(arguments)
        .output();
    let ran = ran.expect("it runs");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

async fn open(server: &Server, last_id: Option<&str>) -> Sse {
    Sse::connect_plain(&server.base, ALL, last_id, |request| request).await
}

/// Events, up to the one about a record, and the last position until then.
async fn read(stream: &mut Sse, until: &str) -> (Vec<String>, String) {
    let (mut lines, mut position) = (Vec::new(), String::new());
    loop {
        let event = stream.next_event(DEADLINE).await;
        position = event.id.clone().unwrap_or(position);
        if event.data.is_empty() {
            continue;
        }
        lines.push(line(&event));
        if event.change().1["id"] == until {
            return (lines, position);
        }
    }
}

async fn insert(client: &Client, id: &str) {
    run(client, &format!("insert into posts values ('{id}')")).await;
}

/// Who comes back is told to load afresh, once, and then what happens.
async fn is_told_to_load_afresh(stream: &mut Sse, writer: &Client, who: &str) {
    // The id of a resync is empty.
    assert_eq!(read(stream, "").await.0, ["resync posts "], "{who}");
    insert(writer, who).await;
    let news = format!("create posts {who}");
    assert_eq!(read(stream, who).await.0, [news], "{who}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_to_a_restored_database_is_told_to_load_afresh() {
    let source = database().await;
    let before = client(&source.url).await;
    run(&before, POSTS).await;
    let server = Server::start_with(options(&source.url)).await;
    let mut plain = open(&server, None).await;
    let mut keyed = server.subscribe(&[KEYED]).await;
    insert(&before, "dumped").await;
    let (_, dumped) = read(&mut plain, "dumped").await;
    read(&mut keyed, "dumped").await;
    eventually(DEADLINE, || async {
        match &*text(&before, "select count(*)::text from rowcast.resume_points").await {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    let dump = block_in_place(|| dump(&source.url));
    insert(&before, "not dumped").await;
    let (_, not_dumped) = read(&mut plain, "not dumped").await;
    server.stop().await;

    // Another database of the same Postgres, whose transactions go on, and another Postgres, which begins again.
    let here = empty_database().await;
    let cluster =
        block_in_place(|| Cluster::start(&cluster_options()).expect("a private Postgres"));
    for target in [here.url.clone(), cluster.url("postgres")] {
        block_in_place(|| restore(&dump, &target));
        let server = Server::start_with(options(&target)).await;
        let writer = client(&target).await;
        for (who, id) in [
            ("who saw what was dumped", &dumped),
            ("who saw more", &not_dumped),
        ] {
            let mut again = open(&server, Some(id)).await;
            is_told_to_load_afresh(&mut again, &writer, who).await;
        }
        let mut again = server.subscribe(&[KEYED]).await;
        is_told_to_load_afresh(&mut again, &writer, "who has a key").await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_replaced_by_its_dump_under_a_running_server_is_a_resync() {
    let database = database().await;
    let writer = client(&database.url).await;
    run(&writer, POSTS).await;
    let server = Server::start_with(options(&database.url)).await;
    let mut live = open(&server, None).await;
    insert(&writer, "dumped").await;
    read(&mut live, "dumped").await;
    let dump = block_in_place(|| dump(&database.url));
    insert(&writer, "not dumped").await;
    let (_, position) = read(&mut live, "not dumped").await;
    let elsewhere = empty_database().await;
    let admin = client(&elsewhere.url).await;
    for statement in ["drop database NAME with (force)", "create database NAME"] {
        run(&admin, &statement.replace("NAME", &database.name)).await;
    }
    block_in_place(|| restore(&dump, &database.url));
    let writer = client(&database.url).await;
    is_told_to_load_afresh(&mut live, &writer, "who stayed").await;
    let mut again = open(&server, Some(&position)).await;
    is_told_to_load_afresh(&mut again, &writer, "who came back").await;
}
