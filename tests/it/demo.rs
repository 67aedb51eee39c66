//! What `rowcast demo` does to its database, and that what it prints works.

use std::collections::BTreeSet;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;

use crate::support::source::text;
use crate::support::{DEADLINE, client, database, eventually, within};

const FILES: [&str; 3] = ["posts", "comments", "drafts"];

async fn set_up(client: &Client) {
    for file in FILES {
        let statements = text(format!("sql/demo/{file}.sql"));
        client
            .batch_execute(&statements)
            .await
            .unwrap_or_else(|error| panic!("{file}.sql: {error:?}"));
    }
}

#[tokio::test]
async fn the_demo_collections_can_be_set_up_twice() {
    let database = database().await;
    let client = client(&database.url).await;
    set_up(&client).await;
    let before = collections(&client).await;
    assert_eq!(before.len(), FILES.len(), "{before:?}");
    set_up(&client).await;
    assert_eq!(collections(&client).await, before);
}

async fn collections(client: &Client) -> Vec<String> {
    let rows = client
        .query(
            "select c::text from rowcast.collections c order by c.key",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn however_long_the_demo_runs_its_tables_stay_small() {
    let database = database().await;
    let client = client(&database.url).await;
    set_up(&client).await;
    let change = text("sql/cli/demo_change.sql");
    for _ in 0..600 {
        client.batch_execute(&change).await.unwrap();
    }
    for (table, most) in [("posts", 30), ("comments", 60), ("drafts", 20)] {
        let count: i64 = client
            .query_one(&format!("select count(*) from public.{table}"), &[])
            .await
            .unwrap()
            .get(0);
        assert!(0 < count && count <= most, "{count} {table}");
    }
}

/// The whole promise: what the demo prints works when pasted, and nothing stays behind.
#[tokio::test]
async fn the_lines_that_the_demo_prints_work_when_pasted() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .args(["demo", "--port", "0", "--rate", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let welcome = within(DEADLINE, "the demo's welcome", read_welcome(&mut demo)).await;
    let seen = paste(&welcome).await;
    assert!(seen.contains("event:PB_CONNECT"), "{seen}");
    assert!(seen.contains("\"collectionName\":\"posts\""), "{seen}");
    assert!(
        !seen.contains("\"secret\""),
        "a hidden column was shown: {seen}"
    );

    let helpers = descendants_of(demo.id().unwrap());
    assert!(helpers.len() > 2, "guard, keeper and server: {helpers:?}");
    demo.kill().await.unwrap();
    eventually(DEADLINE, || async {
        let running = processes();
        let left: Vec<_> = running
            .iter()
            .filter(|process| helpers.contains(&process.id))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

/// The lines up to the last one of the welcome.
async fn read_welcome(demo: &mut Child) -> Vec<String> {
    let mut output = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    while let Some(line) = output.next_line().await.unwrap() {
        let is_last = line.starts_with("The database ");
        lines.push(line);
        if is_last {
            return lines;
        }
    }
    panic!("the demo ended after {lines:#?}");
}

/// Pastes the lines into a shell; returns what it shows up to a change made with psql, or by
/// ourselves where psql is not installed.
async fn paste(welcome: &[String]) -> String {
    let find = |start: &str| welcome.iter().find(|line| line.starts_with(start));
    let feed = find("feed=").expect("a line that opens a stream");
    let subscribe = find("until ").expect("a line that subscribes");
    let change = find("psql ").map_or("", String::as_str);
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("bash")
        .args(["-c", &format!("{feed}\n{subscribe}\n{change}\nwait")])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    let end = Instant::now() + DEADLINE;
    while let Some(line) = timeout_at(end, output.next_line())
        .await
        .unwrap_or_else(|_| panic!("no change of our own within {DEADLINE:?}; seen: {seen}"))
        .unwrap()
    {
        seen.push_str(&line);
        seen.push('\n');
        if line.starts_with("data:") && (change.is_empty() || line.contains("hello from psql")) {
            return seen;
        }
    }
    panic!("the stream ended after {seen}");
}

#[derive(Debug)]
struct Process {
    id: u32,
    parent: u32,
}

/// All running processes.
fn processes() -> Vec<Process> {
    let output = std::process::Command::new("ps")
        .args(["-ax", "-o", "pid=,ppid=,stat="])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let [id, parent, state] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                return None;
            };
            // One that has ended and waits to be noticed by its parent is not running.
            (!state.starts_with('Z')).then(|| Process {
                id: id.parse().unwrap(),
                parent: parent.parse().unwrap(),
            })
        })
        .collect()
}

fn descendants_of(ancestor: u32) -> BTreeSet<u32> {
    let running = processes();
    let mut found = BTreeSet::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        let children = running.iter().filter(|process| process.parent == parent);
        for child in children {
            found.insert(child.id);
            parents.push(child.id);
        }
    }
    found
}
