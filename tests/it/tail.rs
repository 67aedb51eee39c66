//! `rowcast tail`, as an operator runs it, against a running server.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::server::options;
use crate::support::{DEADLINE, Server, TestDatabase, client, database, within};

/// The command, running.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    /// Starts it and waits until it says that it follows.
    async fn start(arguments: &[&str], input: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .arg("tail")
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
        let note = within(DEADLINE, "tail to follow", notes.next_line()).await;
        let note = note.unwrap().unwrap_or_default();
        assert!(note.starts_with("following"), "{note}");
        // Whoever does not read its notes holds it up.
        tokio::spawn(async move { while let Ok(Some(_)) = notes.next_line().await {} });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        let line = within(DEADLINE, "a line of tail", self.lines.next_line()).await;
        line.unwrap().expect("tail goes on")
    }

    async fn data(&mut self) -> Value {
        let line = self.line().await;
        let event: Value = serde_json::from_str(&line).unwrap();
        event["data"].clone()
    }

    async fn code(mut self) -> Option<i32> {
        let ended = within(DEADLINE, "tail to end", self.child.wait()).await;
        ended.unwrap().code()
    }
}

async fn posts() -> TestDatabase {
    let database = database().await;
    let schema = "create table posts (id int primary key, title text, secret text default 'hush');
                  select rowcast.attach('posts', list_rule => '', hidden => array['secret'])";
    client(&database.url)
        .await
        .batch_execute(schema)
        .await
        .unwrap();
    database
}

#[tokio::test]
async fn tail_goes_on_where_it_was_when_the_server_comes_back() {
    let database = posts().await;
    let writer = client(&database.url).await;
    let server = Server::start(&database).await;
    let (base, address) = (
        server.base.clone(),
        server.base["http://".len()..].to_owned(),
    );
    let arguments = ["posts/*", "--url", &base, "--json", "--count", "4"];
    let mut tail = Tail::start(&arguments, "").await;
    writer
        .batch_execute("insert into posts values (1, 'here'); update posts set title = 'there'")
        .await
        .unwrap();
    for (action, title) in [("create", "here"), ("update", "there")] {
        let data = tail.data().await;
        assert_eq!(
            (&data["action"], &data["record"]["title"]),
            (&json!(action), &json!(title))
        );
        assert_eq!(data["record"].get("secret"), None, "{data}");
    }
    server.stop().await;
    writer
        .batch_execute("insert into posts values (2, 'away')")
        .await
        .unwrap();
    let address = address.parse().unwrap();
    let server = Server::start_unready(options(&database.url), address).await;
    assert_eq!(tail.data().await["record"]["id"], "2", "what it missed");
    writer
        .batch_execute("delete from posts where id = 1")
        .await
        .unwrap();
    assert_eq!(tail.data().await["action"], "delete");
    assert_eq!(tail.code().await, Some(0), "it was to end after four");
    drop(server);
}

#[tokio::test]
async fn tail_shows_what_its_token_may_see_in_words_and_colours() {
    let database = posts().await;
    let writer = client(&database.url).await;
    let server = Server::start(&database).await;
    let token = Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .args(["token", "--superuser", "ci@example.com"])
        .env_clear()
        .env("DATABASE_URL", &database.url)
        .output();
    let token = String::from_utf8(token.await.unwrap().stdout).unwrap();
    let base = format!("{}/", server.base);
    let arguments = [
        "*", "posts/7", "--url", &base, "--token", "-", "--color", "always", "--count", "2",
    ];
    let mut tail = Tail::start(&arguments, &token).await;
    writer
        .batch_execute("insert into posts values (7, 'x')")
        .await
        .unwrap();
    for _ in 0..2 {
        let line = tail.line().await;
        assert!(
            line.starts_with("\x1b[32mcreate \x1b[0m posts/7 {"),
            "{line}"
        );
        assert!(line.contains(r#""secret":"hush""#), "{line}");
    }
    assert_eq!(tail.code().await, Some(0));
}

#[tokio::test]
async fn tail_says_why_there_is_nothing_to_follow() {
    let database = database().await;
    let mut options = options(&database.url);
    options.hub.strict_subscriptions = true;
    let server = Server::start_with(options).await;
    let nowhere = "http://127.0.0.1:1";
    for (arguments, code, said) in [
        (
            &["x", "--url", nowhere][..],
            69,
            "http://127.0.0.1:1 cannot be reached; is the server running?",
        ),
        (
            &["x", "--url", "ftp://here"],
            64,
            "write it as http://127.0.0.1:8090",
        ),
        (
            &["x", "--url", nowhere, "--token", "-"],
            64,
            "found no token on standard input",
        ),
        (
            &["nothing/*", "--url", &server.base],
            64,
            "the server refuses (400 Bad Request)",
        ),
        (&[], 64, "<TOPIC>"),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .arg("tail")
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut notes = String::new();
        let mut stderr = child.stderr.take().unwrap();
        let read = within(DEADLINE, "tail to end", stderr.read_to_string(&mut notes)).await;
        read.unwrap();
        let ended = child.wait().await.unwrap();
        assert_eq!(ended.code(), Some(code), "{arguments:?}: {notes}");
        assert!(notes.contains(said), "{said:?} in {notes}");
    }
}
