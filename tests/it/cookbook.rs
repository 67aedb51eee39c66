//! `docs/cookbook.md`, recipe by recipe: what stands there is what is run here.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use rowcast::auth::{SUPERUSER_TOKEN_LIFETIME, issue_superuser_token};
use rowcast::hooks::{DisconnectReason, Flow, Refusal};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::people::{BCRYPT, stream};
use crate::support::process::{Process, free_port, ready};
use crate::support::source::text;
use crate::support::{DEADLINE, Feed, Server, Sse, database, eventually};

/// The blocks of one kind in a recipe.
fn blocks(recipe: &str, kind: &str) -> Vec<String> {
    let page = text("docs/cookbook.md");
    let (_, rest) = page
        .split_once(&format!("\n## {recipe}\n"))
        .unwrap_or_else(|| panic!("no recipe {recipe}"));
    let recipe = rest.split("\n## ").next().unwrap();
    let open = format!("```{kind}\n");
    let opened = recipe.split(&open).skip(1);
    let blocks = opened.map(|block| block.split("\n```").next().unwrap().to_owned());
    let blocks: Vec<_> = blocks.collect();
    assert!(!blocks.is_empty(), "no {kind} in {recipe}");
    blocks
}

/// Sends a block of HTTP as a superuser; the answer's status and body.
async fn request(feed: &Feed, block: &str, client_id: &str) -> (StatusCode, Value) {
    let token = issue_superuser_token(&feed.client, "root@x.y", SUPERUSER_TOKEN_LIFETIME).await;
    let block = block.replace("CLIENT_ID", client_id);
    let (line, body) = block.split_once('\n').unwrap_or((&block, ""));
    let (method, path) = line.split_once(' ').unwrap();
    let url = format!("{}{path}", feed.server.base);
    let mut request = Client::new().request(method.parse::<Method>().unwrap(), url);
    if !body.is_empty() {
        let body: Value = serde_json::from_str(body).unwrap();
        request = request.json(&body);
    }
    let answer = request
        .header("Authorization", token.unwrap().token)
        .send()
        .await
        .unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap_or_default())
}

async fn feed(topics: &[&str]) -> Feed {
    let setup = format!(
        "create table members (id text primary key, name text not null unique, password text, team text);
         insert into members values ('ann', 'ann', '{BCRYPT}', 'red'), ('bob', 'bob', '{BCRYPT}', 'blue');
         select rowcast.attach('members', kind => 'auth', identity => array['name'], password => 'password');"
    );
    Feed::open(&setup, topics).await
}

/// The data of what has come, one after the other.
fn data(events: Vec<crate::support::Event>) -> Vec<Value> {
    events.iter().map(|event| event.json()).collect()
}

#[tokio::test]
async fn custom_event_is_told_by_sql_and_by_http() {
    let mut feed = feed(&["reports"]).await;
    let mut other = feed.subscribe(&["other"]).await;
    feed.run(&blocks("Custom event", "sql")[0]).await;
    let answer = request(&feed, &blocks("Custom event", "http")[0], "").await;
    assert_eq!(answer.0, StatusCode::NO_CONTENT);
    let done = json!({"done": 42});
    assert_eq!(data(feed.events().await), [done.clone(), done]);
    assert_eq!(data(Feed::drain(&mut other).await), [] as [Value; 0]);
}

#[tokio::test]
async fn one_client_or_one_principal_is_told_and_nobody_else() {
    let mut feed = feed(&["reports"]).await;
    let mut ann = stream(&feed, "ann", &["reports"]).await;
    let mut bob = stream(&feed, "bob", &["reports"]).await;
    let mut nowhere = feed.subscribe(&[]).await;
    let sql = blocks("To one client", "sql");
    let own = feed.stream.client_id.clone();
    feed.run(&sql[0].replace("CLIENT_ID", &own)).await;
    let at_once = &blocks("To one client", "http")[0];
    let answer = request(&feed, at_once, &nowhere.client_id).await;
    assert_eq!(answer.0, StatusCode::NO_CONTENT);
    feed.run(&sql[1]).await;
    assert_eq!(data(feed.events().await), [json!({"done": 43})]);
    assert_eq!(data(Feed::drain(&mut nowhere).await), [json!({"done": 44})]);
    assert_eq!(data(Feed::drain(&mut ann).await), [json!({"done": 45})]);
    assert_eq!(data(Feed::drain(&mut bob).await), [] as [Value; 0]);
}

/// Sets what is kept about a guest's own stream.
async fn set_room(feed: &Feed, stream: &Sse, room: &str) -> StatusCode {
    let url = format!("{}/api/realtime/store", feed.server.base);
    let body = json!({"clientId": stream.client_id, "values": {"room": room}});
    let answer = Client::new().post(url).json(&body).send().await;
    answer.unwrap().status()
}

#[tokio::test]
async fn client_state_is_set_read_and_forgotten() {
    let feed = feed(&["chat"]).await;
    assert_eq!(set_room(&feed, &feed.stream, "7").await, 400);
    feed.run(&blocks("Client state", "sql")[0]).await;
    // The policy comes by the log, like everything.
    eventually(DEADLINE, || async {
        match set_room(&feed, &feed.stream, "7").await {
            StatusCode::NO_CONTENT => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let id = &feed.stream.client_id;
    let read = format!("GET /api/realtime/clients/{id}/store");
    let (_, answer) = request(&feed, &read, id).await;
    assert_eq!(answer["values"], json!({"room": "7"}));
    let (status, answer) = request(&feed, &blocks("Client state", "http")[0], id).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["values"], json!({"level": 3}));
}

#[tokio::test]
async fn filters_by_room_by_auth_and_by_subscription_reach_those_they_describe() {
    let mut feed = feed(&["chat"]).await;
    feed.run(&blocks("Client state", "sql")[0]).await;
    let mut vip = feed.subscribe(&["chat", "vip"]).await;
    let mut ann = stream(&feed, "ann", &["chat"]).await;
    let mut bob = stream(&feed, "bob", &["chat"]).await;
    feed.events().await;
    for stream in [&mut vip, &mut ann, &mut bob] {
        Feed::drain(stream).await;
    }
    assert_eq!(set_room(&feed, &vip, "7").await, StatusCode::NO_CONTENT);
    assert_eq!(
        set_room(&feed, &feed.stream, "8").await,
        StatusCode::NO_CONTENT
    );
    for recipe in ["By room", "By auth", "By subscription"] {
        feed.run(&blocks(recipe, "sql")[0]).await;
    }
    let heard = |events| -> Vec<String> {
        let texts = data(events);
        texts
            .iter()
            .map(|data| data["text"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(heard(feed.events().await), [] as [&str; 0]);
    assert_eq!(
        heard(Feed::drain(&mut vip).await),
        ["tea is ready", "for vips"]
    );
    assert_eq!(
        heard(Feed::drain(&mut ann).await),
        ["for red", "for members"]
    );
    assert_eq!(heard(Feed::drain(&mut bob).await), ["for members"]);
}

/// `rowcast serve` with a recipe's settings in a file.
async fn serve_with(recipe: &str, url: &str) -> (Process, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rowcast.toml");
    fs::write(&file, &blocks(recipe, "toml")[0]).unwrap();
    let port = free_port();
    let settings = [
        ("ROWCAST_CONFIG", file.to_str().unwrap()),
        ("ROWCAST_RECONNECT_DELAY_MIN", "10ms"),
    ];
    let process = Process::start_with(url, port, &settings, None);
    let base = format!("http://127.0.0.1:{port}");
    ready(&base).await;
    (process, base, folder)
}

/// Opens a stream as soon as there is room for it.
async fn seated(base: &str) -> Sse {
    eventually(DEADLINE, || async {
        let stream = Sse::open(base, |request| request).await;
        match stream.response.status() {
            StatusCode::OK => Ok(stream),
            other => Err(other),
        }
    })
    .await
}

#[tokio::test]
async fn connection_limits_refuse_and_give_seats_back() {
    let database = database().await;
    let (_process, base, _folder) = serve_with("Connection limit", &database.url).await;
    let first = Sse::connect(&base).await;
    let refused = Sse::open(&base, |request| request).await;
    assert_eq!(refused.response.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    seated(&base).await;

    let server = Server::start(&database).await;
    let hooks = server.hooks.clone();
    let seats = Arc::new(Semaphore::new(1));
    hooks.connect.bind("seats", 0, move |connect| {
        let seats = Arc::clone(&seats);
        Box::pin(async move {
            let taken = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "all seats are taken");
            connect.hold(seats.try_acquire_owned().map_err(taken)?);
            Ok(Flow::Next)
        })
    });
    let first = Sse::connect(&server.base).await;
    let refused = Sse::open(&server.base, |request| request).await;
    assert_eq!(refused.response.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(first);
    seated(&server.base).await;
}

#[tokio::test]
async fn idle_streams_end_after_the_time_that_is_theirs() {
    let database = database().await;
    let (_process, base, _folder) = serve_with("Idle timeout", &database.url).await;
    let mut idle = Sse::connect(&base).await;
    assert_eq!(idle.next_or_end(DEADLINE).await, None);

    let mut options = crate::support::server::options(&database.url);
    options.http.idle_timeout = Duration::from_millis(300);
    let server = Server::start_with(options).await;
    let mut ends = server.ends();
    let hooks = server.hooks.clone();
    hooks.connect.bind("kiosk", 0, |connect| {
        Box::pin(async move {
            if connect.uri.query() == Some("kiosk") {
                connect.idle_timeout = Duration::from_secs(3600);
            }
            Ok(Flow::Next)
        })
    });
    let kiosk = Sse::connect_at(&server.base, "/api/realtime?kiosk", |request| request).await;
    let mut idle = Sse::connect(&server.base).await;
    assert_eq!(idle.next_or_end(DEADLINE).await, None);
    let end = ends.recv().await.unwrap();
    assert_eq!(end.reason, DisconnectReason::Idle);
    assert_eq!(*end.subscriber.client_id, *idle.client_id);
    // The other one is still there when it is told to go, later.
    let hub = server.hub.clone();
    assert_eq!(hub.disconnect(&kiosk.client_id).await, Ok(true));
    assert_eq!(ends.recv().await.unwrap().reason, DisconnectReason::Managed);
}

#[tokio::test]
async fn streams_that_are_disconnected_end_cleanly_and_nobody_elses_do() {
    let mut feed = feed(&["chat"]).await;
    let mut ann = stream(&feed, "ann", &["chat"]).await;
    let mut bob = stream(&feed, "bob", &["chat"]).await;
    let mut guest = feed.subscribe(&["chat"]).await;
    let mut late = feed.subscribe(&["chat"]).await;
    let blocks = blocks("Graceful disconnect", "http");
    let (status, _) = request(&feed, &blocks[0], &guest.client_id).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, answer) = request(&feed, &blocks[1], "").await;
    assert_eq!(
        (status, answer),
        (StatusCode::OK, json!({"disconnected": 1}))
    );
    let (hub, client_id) = (feed.server.hub.clone(), late.client_id.clone());
    let disconnected = async || -> Result<(), rowcast::hub::HubStopped> {
        hub.disconnect(&client_id).await?;
        Ok(())
    };
    disconnected().await.unwrap();
    for stream in [&mut guest, &mut ann, &mut late] {
        assert_eq!(stream.next_or_end(DEADLINE).await, None);
    }
    feed.run("select rowcast.send('chat', '{}')").await;
    assert_eq!(feed.events().await.len(), 1);
    assert_eq!(Feed::drain(&mut bob).await.len(), 1);
}

#[test]
fn every_block_of_rust_stands_in_these_tests() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let own = words(&text("tests/it/cookbook.rs"));
    let mut found = 0;
    for recipe in ["Connection limit", "Idle timeout", "Graceful disconnect"] {
        for block in blocks(recipe, "rust") {
            found += 1;
            assert!(own.contains(&words(&block)), "{recipe}: {block}");
        }
    }
    let all = text("docs/cookbook.md").matches("```rust").count();
    assert_eq!(found, all, "a block of Rust that nobody looks for");
}
