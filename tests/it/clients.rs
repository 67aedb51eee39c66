//! Managing streams: over HTTP as a superuser, and with `rowcast clients`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::people::{self, BCRYPT};
use crate::support::process::{Process, free_port, ready};
use crate::support::server::options;
use crate::support::{DEADLINE, Server, Sse, TestDatabase, client, database, eventually, within};

const CLIENTS: &str = "/api/realtime/clients";

struct Site {
    server: Server,
    database: TestDatabase,
    root: String,
}

impl Site {
    /// A server with a member, anna.
    async fn open() -> Self {
        let database = database().await;
        let admin = client(&database.url).await;
        let schema = format!(
            "create table members (id text primary key, email text unique, password_hash text);
             insert into members values ('anna', 'anna@example.com', '{BCRYPT}');
             select rowcast.attach('members', kind => 'auth', password => 'password_hash');"
        );
        admin.batch_execute(&schema).await.unwrap();
        let server = Server::start(&database).await;
        let root = superuser_token(&database).await;
        Self {
            server,
            database,
            root,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        ask(&self.server.base, &self.root, method, path, body).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Runs `rowcast clients` against this server and returns its exit code, result and remarks.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
        command
            .arg("clients")
            .args(arguments)
            .args(["--url", &self.server.base])
            .env_remove("DATABASE_URL")
            .env("ROWCAST_DATABASE_URL", &self.database.url)
            .stdin(Stdio::null());
        if !arguments.contains(&"--superuser") {
            command.env("ROWCAST_TOKEN", &self.root);
        }
        let output = within(DEADLINE, "rowcast clients", command.output()).await;
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    }
}

async fn superuser_token(database: &TestDatabase) -> String {
    let admin = client(&database.url).await;
    let lifetime = Duration::from_secs(600);
    let token = rowcast::auth::issue_superuser_token(&admin, "root@example.com", lifetime).await;
    token.unwrap().token
}

async fn ask(
    base: &str,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut request = Client::new().request(method, format!("{base}{path}"));
    if !token.is_empty() {
        request = request.header("Authorization", token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(json!(text)))
}

#[tokio::test]
async fn a_superuser_sees_who_is_connected_and_what_each_asked_for() {
    let site = Site::open().await;
    let guest = site.server.subscribe(&["posts/*", "chat?a=1"]).await;
    let anna = Sse::connect(&site.server.base).await;
    let token = people::token(&site.server, "anna@example.com").await;
    anna.subscribe_as(&token, &["chat"]).await;
    let all = site.get(CLIENTS).await;
    assert_eq!(
        [
            &all["page"],
            &all["perPage"],
            &all["totalItems"],
            &all["totalPages"]
        ],
        [1, 30, 2, 1]
    );
    assert_eq!(all["items"][0]["subscriptionCount"], 2);
    assert_eq!(all["items"][0].get("subscriptions"), None);
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    for (query, expected) in [
        ("perPage=1", vec![&guest]),
        ("perPage=1&page=2", vec![&anna]),
        ("page=2", vec![]),
        ("guests=true", vec![&guest]),
        ("collection=members&record=anna", vec![&anna]),
        ("collection=_superusers", vec![]),
        ("topic=chat", vec![&guest, &anna]),
        ("topic=posts/*&address=127.0.0.1", vec![&guest]),
        ("address=10.0.0.1", vec![]),
    ] {
        let page = site.get(&format!("{CLIENTS}?{query}")).await;
        let expected: Vec<_> = expected.iter().map(|one| one.client_id.clone()).collect();
        assert_eq!(ids(&page), expected, "{query}");
    }
    let page = site.get(&format!("{CLIENTS}?skipTotal=true")).await;
    assert_eq!([&page["totalItems"], &page["totalPages"]], [-1, -1]);
    let shown = site.get(&format!("{CLIENTS}/{}", anna.client_id)).await;
    assert_eq!(shown["subscriptions"], json!(["chat"]));
    assert_eq!(shown["principal"]["collectionName"], "members");
    assert_eq!(shown["principal"]["id"], "anna");
    assert_eq!(shown["address"], "127.0.0.1");
    let shown = site.get(&format!("{CLIENTS}/{}", guest.client_id)).await;
    assert_eq!(shown["principal"], Value::Null);
    assert_eq!(shown["subscriptions"], json!(["posts/*", "chat?a=1"]));
    for query in [
        "page=0",
        "perPage=1001",
        "recrod=anna",
        "address=x",
        "guests=x",
    ] {
        let path = format!("{CLIENTS}?{query}");
        let (status, answer) = site.ask(Method::GET, &path, None).await;
        assert_eq!(status, 400, "{query}: {answer}");
        let name = query.split('=').next().unwrap();
        assert!(answer.to_string().contains(name), "{query}: {answer}");
    }
}

#[tokio::test]
async fn only_superusers_manage() {
    let site = Site::open().await;
    let member = people::token(&site.server, "anna@example.com").await;
    let victim = site.server.subscribe(&["chat"]).await;
    let one = format!("{CLIENTS}/{}", victim.client_id);
    let disconnect = format!("{CLIENTS}/disconnect");
    let send = format!("{one}/send");
    for (method, path) in [
        (Method::GET, CLIENTS),
        (Method::GET, &one),
        (Method::DELETE, &one),
        (Method::POST, &disconnect),
        (Method::POST, &send),
        (Method::GET, "/api/realtime/log"),
        (Method::PUT, "/api/realtime/log"),
        (Method::DELETE, "/api/realtime/log"),
    ] {
        for (token, status, message) in [
            (
                "",
                401,
                "The request requires valid record authorization token.",
            ),
            (
                "nonsense",
                401,
                "The request requires valid record authorization token.",
            ),
            (
                &*member,
                403,
                "The authorized record is not allowed to perform this action.",
            ),
        ] {
            let (seen, answer) = ask(&site.server.base, token, method.clone(), path, None).await;
            assert_eq!(seen, status, "{method} {path}");
            let expected = json!({ "data": {}, "message": message, "status": status });
            assert_eq!(answer, expected, "{method} {path}");
        }
    }
    assert_eq!(site.get(CLIENTS).await["totalItems"], 1);
}

#[tokio::test]
async fn a_message_reaches_one_stream_and_those_who_are_disconnected_end_cleanly() {
    let site = Site::open().await;
    let mut guest = site.server.subscribe(&["chat"]).await;
    let mut anna = Sse::connect(&site.server.base).await;
    let token = people::token(&site.server, "anna@example.com").await;
    anna.subscribe_as(&token, &["chat"]).await;
    let send = format!("{CLIENTS}/{}/send", guest.client_id);
    let body = json!({ "topic": "chat", "data": { "text": "line\nbreak", "n": 1 } });
    let (status, answer) = site.ask(Method::POST, &send, Some(body)).await;
    assert_eq!(status, 204, "{answer}");
    let event = guest.next_event(DEADLINE).await;
    assert_eq!(
        event.raw,
        "event:chat\ndata:{\"n\":1,\"text\":\"line\\nbreak\"}"
    );
    for (body, field) in [
        (json!({ "topic": "a\nb", "data": {} }), "topic"),
        (json!({ "topic": "PB_CONNECT", "data": {} }), "topic"),
        (json!({ "topic": "chat", "data": 1 }), "data"),
        (json!({ "topic": "chat" }), "data"),
        (json!({ "topic": "chat", "data": {}, "to": "x" }), "to"),
        (json!(["chat", {}]), "object"),
    ] {
        let (status, answer) = site.ask(Method::POST, &send, Some(body.clone())).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer.to_string().contains(field), "{body}: {answer}");
    }
    let some = format!("{CLIENTS}/disconnect");
    for slip in [
        json!({}),
        json!({ "record": "x", "topic": null }),
        json!({ "recrod": "anna" }),
    ] {
        let (status, _) = site.ask(Method::POST, &some, Some(slip)).await;
        assert_eq!(status, 400, "nobody is disconnected by a slip");
    }
    let whose = json!({ "collection": "members", "record": "anna" });
    let (status, answer) = site.ask(Method::POST, &some, Some(whose)).await;
    assert_eq!(
        (status.as_u16(), answer),
        (200, json!({ "disconnected": 1 }))
    );
    anna.ended(DEADLINE).await;
    let one = format!("{CLIENTS}/{}", guest.client_id);
    let (status, _) = site.ask(Method::DELETE, &one, None).await;
    assert_eq!(status, 204);
    guest.ended(DEADLINE).await;
    for method in [Method::GET, Method::DELETE] {
        let (status, answer) = site.ask(method, &one, None).await;
        assert_eq!(status, 404);
        assert_eq!(answer["message"], "Missing or invalid client id.");
    }
    let metrics = site.server.metrics.encode();
    assert!(
        metrics.contains("rowcast_disconnects_total{reason=\"managed\"} 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn rowcast_clients_lists_shows_sends_and_disconnects() {
    let site = Site::open().await;
    let mut guest = site.server.subscribe(&["chat", "posts/*"]).await;
    let id = guest.client_id.clone();
    let (code, out, err) = site.run(&["list"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&id) && out.contains("guest"), "{out}");
    assert!(err.contains("page 1 of 1, 1 in all"), "{err}");
    let (_, out, _) = site
        .run(&["list", "--json", "--topic", "posts/*", "--guests=true"])
        .await;
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list["items"][0]["id"], *id);
    let (_, out, _) = site.run(&["show", &id]).await;
    assert!(out.contains("posts/*"), "{out}");
    let data = r#"{"n":12345678901234567890.10}"#;
    let (code, _, err) = site.run(&["send", &id, "chat", data]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(guest.next_event(DEADLINE).await.data, data);
    let (code, _, err) = site.run(&["send", &id, "chat", "hello"]).await;
    assert!(code == 64 && err.contains("quotes"), "{code} {err}");
    // Without a token of one's own, the database gives one.
    let by_database = ["disconnect", &id, "--superuser", "root@example.com"];
    let (code, out, err) = site.run(&by_database).await;
    assert_eq!((code, out.trim()), (0, "1 disconnected"), "{err}");
    guest.ended(DEADLINE).await;
    let (code, _, err) = site.run(&["show", &id]).await;
    assert!(
        code == 64 && err.contains("Missing or invalid client id."),
        "{code} {err}"
    );
    let (code, _, err) = site.run(&["list", "--token", "nonsense"]).await;
    assert!(
        code == 77 && err.contains("rowcast token --superuser"),
        "{code} {err}"
    );
}

#[tokio::test]
async fn streams_beyond_the_limits_wait_for_their_refusal_and_room_is_given_back() {
    let database = database().await;
    let delay = Duration::from_millis(300);
    for (per_address, in_all, status) in [(1, 10, 429), (10, 1, 503)] {
        let mut options = options(&database.url);
        options.hub.subscribers_per_address_max = per_address;
        options.hub.subscribers_max = in_all;
        options.http.reconnect_delay_min = delay;
        let server = Server::start_with(options).await;
        let first = Sse::connect(&server.base).await;
        let asked = Instant::now();
        let refused = Sse::open(&server.base, |request| request).await;
        assert!(asked.elapsed() >= delay);
        assert_eq!(refused.response.status(), status);
        let headers = refused.response.headers();
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["retry-after"], "5");
        drop(first);
        let base = &server.base;
        eventually(DEADLINE, || async {
            match Sse::open(base, |request| request).await.response.status() {
                StatusCode::OK => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_log_tells_more_for_a_while_and_never_a_token_a_row_or_a_password() {
    let database = database().await;
    let admin = client(&database.url).await;
    let schema = format!(
        "create table members (id text primary key, email text unique, password_hash text, words text);
         insert into members values ('anna', 'anna@example.com', '{BCRYPT}', 'wordsofanna');
         select rowcast.attach('members', kind => 'auth', password => 'password_hash', list_rule => '');"
    );
    admin.batch_execute(&schema).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let port = free_port();
    // At first, for a moment, as loud as can be.
    let settings = [("ROWCAST_LOG", "trace"), ("ROWCAST_LOG_FORMAT", "json")];
    let _process = Process::start_with(&database.url, port, &settings, Some(&log));
    let base = format!("http://127.0.0.1:{port}");
    ready(&base).await;
    let root = superuser_token(&database).await;
    let body = json!({ "identity": "anna@example.com", "password": "correct horse" });
    let path = "/api/collections/members/auth-with-password";
    let (status, answer) = ask(&base, "", Method::POST, path, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["token"].as_str().unwrap();
    let mut stream = Sse::connect(&base).await;
    stream.subscribe_as(token, &["members/*"]).await;
    admin
        .batch_execute("update members set words = words || 'too'")
        .await
        .unwrap();
    stream.next_event(DEADLINE).await;
    let path = "/api/realtime/log";
    for body in [
        json!({ "filter": "loud" }),
        json!({ "filter": "debug", "for": "2 moons" }),
        json!({ "filter": "debug", "for": "2days" }),
    ] {
        let (status, answer) = ask(&base, &root, Method::PUT, path, Some(body.clone())).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let quiet = json!({ "filter": "warn", "for": "1h" });
    let (status, answer) = ask(&base, &root, Method::PUT, path, Some(quiet)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["filter"], &answer["configured"]),
        (&json!("warn"), &json!("trace"))
    );
    assert!(answer["until"].is_string(), "{answer}");
    let before = lines(&log, "subscriber joined");
    assert_eq!(before, 1);
    drop(Sse::connect(&base).await);
    assert_eq!(lines(&log, "subscriber joined"), before, "it is quiet");
    let loud = json!({ "filter": "rowcast=debug", "for": "1s" });
    ask(&base, &root, Method::PUT, path, Some(loud)).await;
    drop(Sse::connect(&base).await);
    assert_eq!(lines(&log, "subscriber joined"), before + 1, "it is loud");
    let (_, answer) = eventually(DEADLINE, || async {
        let (status, answer) = ask(&base, &root, Method::GET, path, None).await;
        match answer["until"].is_null() {
            true => Ok((status, answer)),
            false => Err(answer),
        }
    })
    .await;
    assert_eq!(answer["filter"], "trace");
    let written = std::fs::read_to_string(&log).unwrap();
    for secret in [&root, token, "correct horse", BCRYPT, "wordsofanna"] {
        assert!(!written.contains(secret), "the log tells {secret}");
    }
    assert!(written.contains("rowcast::hub"), "{written}");
    for line in written.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let target = line["target"].as_str().unwrap();
        let is_ours = target == "rowcast" || target.starts_with("rowcast::");
        assert!(
            is_ours || ["INFO", "WARN", "ERROR"].contains(&line["level"].as_str().unwrap()),
            "{line}"
        );
    }
}

/// How many lines of the log say this.
fn lines(log: &Path, words: &str) -> usize {
    let written = std::fs::read_to_string(log).unwrap();
    written.lines().filter(|line| line.contains(words)).count()
}
