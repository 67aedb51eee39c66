//! PyPI's `pocketbase`: it subscribes, this test changes rows, it prints what it heard.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

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
    let python = program("Python 3", &["python3"], "python3 python3-venv");
    Workshop::open("python", "requirements.txt", move |folder| {
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

/// The client subscribes in a thread of its own and says nothing when it is done.
async fn subscribed(server: &Server, count: i64) {
    eventually(DEADLINE, || async {
        match server.metrics.subscriptions.get() {
            seen if seen == count => Ok(()),
            other => Err(format!("{other} subscriptions")),
        }
    })
    .await;
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
    let mut child = start(&workshop, "peer.py", &[&server.base]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    subscribed(&server, 2).await;
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
    let mut child = start(&workshop, "login.py", &arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    subscribed(&server, 2).await;
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
