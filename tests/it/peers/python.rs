//! PyPI's `pocketbase`: it subscribes, this test changes rows, it prints what it heard.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::declined;
use super::workshop::{Workshop, program};
use crate::support::{DEADLINE, Server, client, database, eventually, within};

/// People who log in with `correct horse`, posts that their authors see, and plans that editors see.
const SITE: &str = "
    create table members (id text primary key, email text unique, password_hash text);
    insert into members
    values ('anna', 'anna@example.com', '$2b$04$4Sz1wKlPKSB8UhOiQbHROe3MNoJYWdDnX66A/x8L/UlkJHyh8A08u');
    select rowcast.attach('members', kind => 'auth', password => 'password_hash');
    create table posts (id text primary key, author text);
    select rowcast.attach('posts', list_rule => '@request.auth.id = author');
    create table plans (id text primary key);
    select rowcast.attach('plans');
    insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4)
    values ('p', 'role:editor', 'plans', 'list', '', 'allow');
    insert into rowcast.casbin_rule (ptype, v0, v1) values ('g', 'members/anna', 'role:editor');
";

async fn python() -> Workshop {
    venv("python").await
}

/// A folder of `tests/peers` with what its `requirements.txt` says.
pub(super) async fn venv(name: &'static str) -> Workshop {
    let python = program("Python 3", &["python3"], "python3 python3-venv");
    Workshop::open(name, "requirements.txt", move |folder| {
        // Where this fails, Debian's message names the package: python3-venv.
        let mut venv = std::process::Command::new(python);
        venv.current_dir(folder)
            .args(["-m", "venv", "--clear", "venv"]);
        let mut pip = std::process::Command::new(folder.join("venv/bin/pip"));
        pip.current_dir(folder);
        pip.args([
            "install",
            "--disable-pip-version-check",
            "-r",
            "requirements.txt",
        ]);
        vec![venv, pip]
    })
    .await
}

/// Starts a program of this workshop; its standard input stays open while the child lives.
fn start(workshop: &Workshop, program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(workshop.folder().join("venv/bin/python"));
    command
        .arg(workshop.folder().join(program))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "{error}: delete {:?} to install it again",
            workshop.folder()
        )
    })
}

/// A program of this workshop that has subscribed to so much, and what it prints.
///
/// The client connects in a thread of its own, which gives up for good, and says nothing, when an answer takes
/// it more than five seconds: on a busy machine it is started again.
async fn start_subscribed(
    workshop: &Workshop,
    program: &str,
    arguments: &[&str],
    (server, count): (&Server, i64),
) -> (Child, Lines<BufReader<ChildStdout>>) {
    const ATTEMPTS: usize = 3;
    for _ in 0..ATTEMPTS {
        let mut child = start(workshop, program, arguments);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let subscribed = async {
            while server.metrics.subscriptions.get() != count {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(DEADLINE, subscribed).await.is_ok() {
            return (child, lines);
        }
        // Its stream ends with it.
        child.kill().await.unwrap();
        eventually(DEADLINE, || async {
            match server.metrics.subscribers.get() {
                0 => Ok(()),
                other => Err(format!("{other} subscribers")),
            }
        })
        .await;
    }
    panic!("{program} has not subscribed to {count} topics in {ATTEMPTS} attempts")
}

async fn heard(lines: &mut Lines<BufReader<ChildStdout>>, count: usize) -> Value {
    let mut heard = Vec::new();
    for _ in 0..count {
        let line = within(
            DEADLINE,
            &format!("more after {heard:?}"),
            lines.next_line(),
        )
        .await;
        let line = line
            .unwrap()
            .unwrap_or_else(|| panic!("it ended after {heard:?}"));
        heard.push(serde_json::from_str(&line).unwrap_or_else(|_| json!(line)));
    }
    Value::Array(heard)
}

#[tokio::test]
async fn the_python_sdk_works_unmodified() {
    if declined() {
        return;
    }
    let workshop = python().await;
    let database = database().await;
    let client = client(&database.url).await;
    let schema = "create table posts (id text primary key, title text);
                  select rowcast.attach('posts', list_rule => '', view_rule => '');";
    client.batch_execute(schema).await.unwrap();
    let server = Server::start(&database).await;
    let (_child, mut lines) =
        start_subscribed(&workshop, "peer.py", &[&server.base], (&server, 2)).await;
    let changes =
        "insert into posts values ('a', 'one'), ('b', 'one'); update posts set title = 'two';
                   delete from posts where id = 'a'";
    client.batch_execute(changes).await.unwrap();
    let heard = heard(&mut lines, 8).await;
    let all: Vec<_> = with_topic(&heard, "posts");
    assert_eq!(
        json!(all),
        json!([
            ["create", "a", "one"],
            ["create", "b", "one"],
            ["update", "a", "two"],
            ["update", "b", "two"],
            ["delete", "a", "two"],
        ])
    );
    assert_eq!(
        json!(with_topic(&heard, "posts/a")),
        json!([
            ["create", "a", "one"],
            ["update", "a", "two"],
            ["delete", "a", "two"]
        ])
    );
}

#[tokio::test]
async fn the_python_sdk_logs_in_and_sees_what_its_record_may_until_its_role_is_gone() {
    if declined() {
        return;
    }
    let workshop = python().await;
    let database = database().await;
    let client = client(&database.url).await;
    client.batch_execute(SITE).await.unwrap();
    let server = Server::start(&database).await;
    let arguments = [&server.base, "members", "correct horse"];
    let (mut child, mut lines) =
        start_subscribed(&workshop, "login.py", &arguments, (&server, 2)).await;
    let changes = "insert into posts values ('b1', 'ben'), ('a1', 'anna');
                   insert into plans values ('p1')";
    client.batch_execute(changes).await.unwrap();
    let expected = json!([
        ["members", "login", "anna"],
        ["posts", "create", "a1"],
        ["plans", "create", "p1"]
    ]);
    assert_eq!(heard(&mut lines, 3).await, expected);
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(b"refresh\n").await.unwrap();
    let expected = json!([["members", "refresh", "anna"]]);
    assert_eq!(heard(&mut lines, 1).await, expected);
    let changes = "delete from rowcast.casbin_rule where ptype = 'g';
                   insert into plans values ('p2');
                   insert into posts values ('a2', 'anna')";
    client.batch_execute(changes).await.unwrap();
    let expected = json!([["posts", "create", "a2"]]);
    assert_eq!(heard(&mut lines, 1).await, expected);
}

/// What was heard through one subscription.
fn with_topic(heard: &Value, topic: &str) -> Vec<Value> {
    let heard = heard.as_array().unwrap().iter();
    let of_topic = heard.filter(|line| line[0] == topic);
    of_topic.map(|line| line[1].clone()).collect()
}
