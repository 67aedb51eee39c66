//! `examples/embedded`, run as the example runs it: an axum application of its own around the feed.

#[path = "../../../examples/embedded/site.rs"]
mod site;

use std::net::SocketAddr;
use std::path::PathBuf;

use reqwest::{Client, StatusCode};
use rowcast::shutdown::Shutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{chromium, declined, run_tests};
use crate::support::{DEADLINE, Sse, TestDatabase, database, eventually, within};

/// The example, served.
struct Running {
    base: String,
    shutdown: Shutdown,
    server: JoinHandle<()>,
    feed: JoinHandle<Result<(), rowcast::app::PartEnded>>,
    _database: TestDatabase,
}

impl Running {
    async fn start() -> Self {
        let database = database().await;
        let shutdown = Shutdown::new();
        let site = site::open(&database.url, shutdown.clone()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = site
            .router
            .into_make_service_with_connect_info::<SocketAddr>();
        let stop = shutdown.soft.clone();
        let server = tokio::spawn(async move {
            let served = axum::serve(listener, service);
            let served = served.with_graceful_shutdown(async move { stop.cancelled().await });
            served.await.unwrap();
        });
        Self {
            base,
            shutdown,
            server,
            feed: site.feed,
            _database: database,
        }
    }

    async fn put_up(&self, body: &str) {
        let form = [("body", body), ("email", "ann@example.com")];
        let answer = Client::new().post(format!("{}/notices", self.base));
        let answer = answer.form(&form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    async fn presence(&self) -> Value {
        let answer = reqwest::get(format!("{}/present", self.base)).await;
        answer.unwrap().json().await.unwrap()
    }

    async fn until_present(&self, count: usize) {
        eventually(DEADLINE, || async {
            let presence = self.presence().await;
            match presence["present"] == count {
                true => Ok(()),
                false => Err(presence),
            }
        })
        .await;
    }

    async fn stop(self) {
        self.shutdown.soft.cancel();
        within(DEADLINE, "the server to end", self.server)
            .await
            .unwrap();
        let feed = within(DEADLINE, "the feed to end", self.feed).await;
        feed.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_embedding_application_has_a_say_in_every_stage() {
    let site = Running::start().await;
    // Its own route, the feed's, and the feed's 404.
    let status = async |path: &str| {
        let answer = reqwest::get(format!("{}{path}", site.base)).await;
        answer.unwrap().status()
    };
    assert_eq!(status("/").await, StatusCode::OK);
    assert_eq!(status("/api/health").await, StatusCode::OK);
    assert_eq!(status("/nowhere").await, StatusCode::NOT_FOUND);

    let mut one = Sse::connect(&site.base).await;
    let mut other = Sse::connect(&site.base).await;
    assert_eq!(one.response.headers()["x-board"], "notices");
    site.until_present(2).await;
    // Subscribe: `*` is taken out, `staff` refused.
    one.subscribe(&["notices/*", "*"]).await;
    other.subscribe(&["notices"]).await;
    let (status, body) = one.post(&["staff"], None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let refusal = json!({"data": {"topic": "staff"}, "message": "Staff only.", "status": 403});
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), refusal);
    // Enrich and message.
    site.put_up("first").await;
    for stream in [&mut one, &mut other] {
        let (action, record) = stream.next_event(DEADLINE).await.change();
        assert_eq!((&*action, &record["body"]), ("create", &json!("first")));
        assert_eq!(record["author"], "a…@example.com");
        assert_eq!(record.get("email"), None);
    }
    let mute = format!("{}/mute/{}", site.base, one.client_id);
    let answer = Client::new().post(mute).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    site.put_up("second").await;
    assert_eq!(
        other.next_event(DEADLINE).await.change().1["body"],
        "second"
    );
    let muted: Vec<_> = one.seen().iter().map(|event| &*event.name).collect();
    assert_eq!(muted, ["PB_CONNECT", "notices/*"]);
    // Connect: no more than there are seats, and a seat is free again.
    let mut more = Vec::new();
    for _ in 2..site::SEATS {
        more.push(Sse::connect(&site.base).await);
    }
    let refused = Sse::open(&site.base, |request| request).await;
    assert_eq!(refused.response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.response.headers()["retry-after"], "5");
    // Disconnect: once each, with the reason.
    drop(more);
    site.until_present(2).await;
    let gone = vec!["client_gone"; site::SEATS - 2];
    let expected: Vec<_> = gone.into_iter().chain(["refused"]).collect();
    eventually(DEADLINE, || async {
        let mut farewells = site.presence().await["farewells"].clone();
        let told = farewells.as_array_mut().unwrap();
        told.sort_by_key(Value::to_string);
        match farewells == json!(expected) {
            true => Ok(()),
            false => Err(farewells),
        }
    })
    .await;
    Sse::connect(&site.base).await;
    site.stop().await;
}

#[tokio::test]
async fn the_embedding_applications_page_shows_notices_in_chromium() {
    if declined() {
        return;
    }
    let site = Running::start().await;
    let variables = [
        ("PEERS_CHROMIUM", chromium()),
        ("PEERS_EMBEDDED_URL", PathBuf::from(&site.base)),
    ];
    run_tests("embedded.test.mjs", &variables).await;
    site.stop().await;
}
