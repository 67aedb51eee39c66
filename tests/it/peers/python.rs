//! PyPI's `pocketbase`: it subscribes, this test changes rows, it prints what it heard.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use super::declined;
use super::workshop::{Workshop, program};
use crate::support::{DEADLINE, Server, client, database, eventually, within};

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
    let mut child = Command::new(workshop.folder().join("venv/bin/python"))
        .args([
            workshop.folder().join("peer.py").as_os_str(),
            server.base.as_ref(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{error}: delete {:?} to install it again",
                workshop.folder()
            )
        });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The client subscribes in a thread of its own and says nothing when it is done.
    eventually(DEADLINE, || async {
        match server.metrics.subscriptions.get() {
            2 => Ok(()),
            other => Err(format!("{other} subscriptions")),
        }
    })
    .await;
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

/// What was heard through one subscription.
fn with_topic(heard: &Value, topic: &str) -> Vec<Value> {
    let heard = heard.as_array().unwrap().iter();
    let of_topic = heard.filter(|line| line[0] == topic);
    of_topic.map(|line| line[1].clone()).collect()
}
