//! Webhooks: what they are told, how they are signed, and what those that misbehave can spoil.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use futures_util::stream;
use reqwest::StatusCode;
use rowcast::webhooks::{Failure, Stage, WebhookOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::support::server::options;
use crate::support::{DEADLINE, Feed, Server, Sse, TestDatabase, database, eventually, within};

const KEY: [u8; 32] = [7; 32];

/// What the application behind the feed does next.
#[derive(Clone, Debug)]
enum Mood {
    Says(StatusCode, String),
    Hangs,
    /// Never stops answering.
    Floods,
    Redirects,
}

/// One request it has received.
#[derive(Debug)]
struct Received {
    headers: HeaderMap,
    body: Value,
}

/// The application behind the feed.
struct Application {
    url: String,
    mood: Arc<Mutex<Mood>>,
    received: UnboundedReceiver<Received>,
}

impl Application {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let mood = Arc::new(Mutex::new(Mood::Says(
            StatusCode::NO_CONTENT,
            String::new(),
        )));
        let (sender, received) = unbounded_channel();
        let router = Router::new().fallback(answer);
        let router = router.with_state((Arc::clone(&mood), sender));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            mood,
            received,
        }
    }

    fn feels(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn says(&self, status: StatusCode, body: Value) {
        self.feels(Mood::Says(status, body.to_string()));
    }

    async fn next(&mut self) -> Received {
        let received = within(DEADLINE, "a request", self.received.recv()).await;
        received.expect("the application lives")
    }

    fn webhook(&self, on: &[Stage]) -> WebhookOptions {
        let secret = format!("whsec_{}", STANDARD.encode(KEY));
        let on = on.iter().copied().collect();
        WebhookOptions::new(on, self.url.parse().unwrap(), secret.parse().unwrap())
    }

    /// A feed that has this webhook.
    async fn feed(&self, webhook: WebhookOptions) -> (Server, TestDatabase) {
        let database = database().await;
        let mut options = options(&database.url);
        options.webhooks.push(webhook);
        (Server::start_with(options).await, database)
    }
}

type Shared = (Arc<Mutex<Mood>>, UnboundedSender<Received>);

async fn answer(
    State((mood, received)): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    check_signature(&headers, &body);
    let body = serde_json::from_slice(&body).expect("JSON");
    received.send(Received { headers, body }).ok();
    let mood = mood.lock().unwrap().clone();
    match mood {
        Mood::Says(status, body) => (status, body).into_response(),
        Mood::Hangs => std::future::pending().await,
        Mood::Floods => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            let chunks = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            Body::from_stream(chunks.take(16 * 1024)).into_response()
        }
        Mood::Redirects => Redirect::temporary("/elsewhere").into_response(),
    }
}

/// As an application would that has read docs/hooks.md.
fn check_signature(headers: &HeaderMap, body: &[u8]) {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let signed = format!("{}.{}.", text("webhook-id"), text("webhook-timestamp"));
    let signed = [signed.as_bytes(), body].concat();
    let signature = text("webhook-signature");
    let signature = STANDARD
        .decode(signature.strip_prefix("v1,").unwrap())
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    hmac::verify(&key, &signed, &signature).expect("a good signature");
}

#[tokio::test]
async fn webhook_is_asked_and_told_with_signed_requests() {
    let mut application = Application::start().await;
    let mut webhook = application.webhook(&[Stage::Connect, Stage::Subscribe, Stage::Disconnect]);
    webhook.forward_headers = vec!["x-tenant".parse().unwrap()];
    let (server, _database) = application.feed(webhook).await;
    application.says(
        StatusCode::OK,
        json!({"headers": {"x-plan": "gold"}, "lifetimeSeconds": 60, "idleTimeoutSeconds": 30}),
    );
    let opening = |request: reqwest::RequestBuilder| {
        request.header("X-Tenant", "t1").header("Cookie", "hush")
    };
    let stream = Sse::connect_with(&server.base, opening).await;
    assert_eq!(stream.response.headers()["x-plan"], "gold");
    let asked = application.next().await;
    assert_eq!(asked.body["type"], "connect");
    assert_eq!(
        asked.body["data"],
        json!({
            "clientId": stream.client_id, "address": "127.0.0.1", "principal": {"kind": "guest"},
            "url": "/api/realtime", "headers": {"x-tenant": "t1"},
        })
    );
    assert!(
        asked.headers["webhook-id"]
            .to_str()
            .unwrap()
            .starts_with("msg_")
    );

    application.says(StatusCode::OK, json!({"subscriptions": ["a", "b"]}));
    stream.subscribe(&["a", "secret"]).await;
    let asked = application.next().await;
    assert_eq!(asked.body["type"], "subscribe");
    assert_eq!(asked.body["data"]["subscriptions"], json!(["a", "secret"]));
    assert_eq!(server.metrics.subscriptions.get(), 2);

    let id = stream.client_id.clone();
    drop(stream);
    let told = application.next().await;
    assert_eq!(told.body["type"], "disconnect");
    assert_eq!(told.body["data"]["clientId"], id);
    assert_eq!(told.body["data"]["reason"], "client_gone");
    assert_eq!(told.body["data"]["wasOpen"], true);
}

#[tokio::test]
async fn refusal_of_a_webhook_is_the_clients_answer() {
    let application = Application::start().await;
    let webhook = application.webhook(&[Stage::Connect, Stage::Subscribe]);
    let (server, _database) = application.feed(webhook).await;
    let stream = Sse::connect(&server.base).await;
    let told = json!({"message": "members only", "data": {"plan": "gold"}});
    application.says(StatusCode::FORBIDDEN, told);
    let expected = json!({"data": {"plan": "gold"}, "message": "Members only.", "status": 403});
    let (status, body) = stream.post(&["a"], None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    let refused = Sse::open(&server.base, |request| request).await.response;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.json::<Value>().await.unwrap(), expected);
}

#[tokio::test]
async fn webhook_that_misbehaves_refuses_or_lets_pass_as_was_chosen_and_spoils_nothing_else() {
    let moods = [
        (Mood::Hangs, "timeout"),
        (Mood::Floods, "answer"),
        (Mood::Says(StatusCode::OK, "<html>".into()), "answer"),
        (
            Mood::Says(StatusCode::OK, r#"{"headers":{"a b":"c"}}"#.into()),
            "answer",
        ),
        (
            Mood::Says(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
            "status",
        ),
        (Mood::Says(StatusCode::NOT_FOUND, String::new()), "status"),
        (Mood::Redirects, "status"),
    ];
    for failure in [Failure::Closed, Failure::Open] {
        let application = Application::start().await;
        let mut webhook = application.webhook(&[Stage::Connect]);
        webhook.failure = failure;
        webhook.timeout = Duration::from_secs(2);
        let (server, _database) = application.feed(webhook).await;
        let expected = match failure {
            Failure::Closed => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Open => StatusCode::OK,
        };
        let neighbour = Sse::connect(&server.base).await;
        for (mood, word) in &moods {
            application.feels(mood.clone());
            let before = failures(&server, "connect", word);
            let asked = Instant::now();
            let answer = Sse::open(&server.base, |request| request).await.response;
            assert_eq!(answer.status(), expected, "{mood:?} {failure:?}");
            assert!(asked.elapsed() < Duration::from_secs(15), "{mood:?}");
            assert_eq!(failures(&server, "connect", word), before + 1, "{mood:?}");
            // Whoever is there already notices nothing.
            neighbour.subscribe(&["a"]).await;
        }
    }
}

#[tokio::test]
async fn webhook_that_is_down_is_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let application = Application::start().await;
    let mut webhook = application.webhook(&[Stage::Connect]);
    webhook.url = url.parse().unwrap();
    let (server, _database) = application.feed(webhook).await;
    let answer = Sse::open(&server.base, |request| request).await.response;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(failures(&server, "connect", "unreachable"), 1);
}

#[tokio::test]
async fn what_could_not_be_told_is_told_again_under_the_same_id() {
    let mut application = Application::start().await;
    let (server, _database) = application
        .feed(application.webhook(&[Stage::Disconnect]))
        .await;
    application.feels(Mood::Says(StatusCode::BAD_GATEWAY, String::new()));
    drop(Sse::connect(&server.base).await);
    let first = application.next().await;
    let second = application.next().await;
    application.feels(Mood::Says(StatusCode::OK, "anything".into()));
    let third = application.next().await;
    let id = |received: &Received| received.headers["webhook-id"].clone();
    assert_eq!((id(&first), &first.body), (id(&second), &second.body));
    assert_eq!((id(&first), &first.body), (id(&third), &third.body));
    // Whoever is there when the feed stops is told of before it ends.
    let _last = Sse::connect(&server.base).await;
    server.stop().await;
    let told = application
        .received
        .try_recv()
        .expect("told before the end");
    assert_eq!(told.body["data"]["reason"], "stopping");
    assert!(application.received.try_recv().is_err());
}

#[tokio::test]
async fn full_queue_is_counted_and_holds_nobody_up() {
    let mut application = Application::start().await;
    let mut webhook = application.webhook(&[Stage::Disconnect]);
    (webhook.queue, webhook.concurrency) = (1, 1);
    webhook.timeout = Duration::from_secs(20);
    let (server, _database) = application.feed(webhook).await;
    application.feels(Mood::Hangs);
    drop(Sse::connect(&server.base).await);
    application.next().await;
    for _ in 0..4 {
        drop(Sse::connect(&server.base).await);
    }
    // One is under way, one waits.
    eventually(DEADLINE, || async {
        match failures(&server, "disconnect", "queue_full") {
            3 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn webhook_is_told_of_messages_of_its_topics_many_at_a_time() {
    let mut application = Application::start().await;
    let mut webhook = application.webhook(&[Stage::Message]);
    webhook.topics = vec!["posts".to_owned()];
    webhook.concurrency = 1;
    let table = "create table posts (id text primary key);
                 select rowcast.attach('posts', list_rule => '', view_rule => '')";
    let mut feed = Feed::open_with(table, &["posts", "posts/*"], |options| {
        options.webhooks.push(webhook);
    })
    .await;
    feed.run("insert into posts select n::text from generate_series(1, 300) as n")
        .await;
    assert_eq!(feed.events().await.len(), 600);
    let (mut told, mut requests) = (Vec::new(), 0);
    while told.len() < 300 {
        let body = application.next().await.body;
        assert_eq!(body["type"], "message");
        told.extend(body["data"]["messages"].as_array().unwrap().clone());
        requests += 1;
    }
    assert!(requests < 150, "{requests} requests for 300 messages");
    let ids: Vec<_> = told
        .iter()
        .map(|one| one["data"]["record"]["id"].clone())
        .collect();
    let expected: Vec<_> = (1..=300).map(|n| json!(n.to_string())).collect();
    assert_eq!(ids, expected);
    assert!(
        told.iter()
            .all(|one| one["name"] == "posts" && one["clientId"] == feed.stream.client_id)
    );
}

fn failures(server: &Server, stage: &str, failure: &str) -> u64 {
    let start = format!("rowcast_hook_failures_total{{stage=\"{stage}\",failure=\"{failure}\"}} ");
    let metrics = server.metrics.encode();
    let count = metrics.lines().find_map(|line| line.strip_prefix(&start));
    count.map_or(0, |count| count.parse().unwrap())
}
