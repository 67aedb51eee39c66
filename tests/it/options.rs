//! What stands behind a topic: `fields`, and subscriptions that are refused where it is strict.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Event, Feed, Sse, client};

const TABLES: &str = "
    create table posts (id text primary key, title text, body text, meta jsonb, n numeric, secret text);
    create table locked (id text primary key, title text);
    select rowcast.attach('posts', list_rule => '', view_rule => '', hidden => array['secret']);
    select rowcast.attach('locked');";

const WRITE: &str = "
    insert into posts values ('a', 'T', '<p>Hello <b>world</b></p>', '{\"b\": 1, \"a\": [{\"y\": 1, \"x\": 2}]}',
                              12345678901234567890.50, 'hush')";

fn with(topic: &str, query: Value) -> String {
    let options = json!({ "query": query }).to_string();
    let encoded: String = form_urlencoded::byte_serialize(options.as_bytes()).collect();
    format!("{topic}?options={encoded}")
}

fn with_fields(topic: &str, fields: &str) -> String {
    with(topic, json!({ "fields": fields }))
}

async fn superuser_token(feed: &Feed) -> String {
    let admin = client(&feed.database.url).await;
    let lifetime = Duration::from_secs(600);
    let token = rowcast::auth::issue_superuser_token(&admin, "root@example.com", lifetime).await;
    token.expect("a superuser").token
}

fn data_of<'e>(events: &'e [Event], name: &str) -> Vec<&'e str> {
    let named = events.iter().filter(|event| event.name == name);
    named.map(|event| &*event.data).collect()
}

const MEMBERS: [(&str, &str); 8] = [
    ("title,id", r#"{"id":"a","title":"T"}"#),
    ("n,nothing", r#"{"n":12345678901234567890.5}"#),
    ("meta", r#"{"meta":{"a":[{"x":2,"y":1}],"b":1}}"#),
    ("meta.a.x,id", r#"{"id":"a","meta":{"a":[{"x":2}]}}"#),
    ("body:excerpt(7,true)", r#"{"body":"Hello w..."}"#),
    (
        "collectionName, collectionName",
        r#"{"collectionName":"posts"}"#,
    ),
    ("record.id", "{}"),
    ("action", "{}"),
];

#[tokio::test]
async fn each_subscription_is_sent_the_fields_it_asked_for() {
    let topics: Vec<_> = MEMBERS
        .map(|(fields, _)| with_fields("posts/*", fields))
        .into();
    let mut feed = Feed::open(
        TABLES,
        &topics.iter().map(|text| &**text).collect::<Vec<_>>(),
    )
    .await;
    for (statement, action) in [
        (WRITE, "create"),
        ("update posts set secret = 'x'", "update"),
        ("delete from posts", "delete"),
    ] {
        feed.run(statement).await;
        let events = feed.events().await;
        for ((fields, record), name) in MEMBERS.iter().zip(&topics) {
            let expected = format!(r#"{{"record":{record},"action":"{action}"}}"#);
            assert_eq!(data_of(&events, name), [expected], "{fields}");
        }
    }
}

#[tokio::test]
async fn a_list_of_fields_that_cannot_be_read_sends_everything() {
    let bad = ["title:nope(1)", "title:excerpt(0)", "'title", ",", ""];
    let texts: Vec<_> = bad.map(|fields| with_fields("posts", fields)).into();
    let mut topics: Vec<&str> = texts.iter().map(|text| &**text).collect();
    topics.push("posts");
    let mut feed = Feed::open(TABLES, &topics).await;
    feed.run(WRITE).await;
    let events = feed.events().await;
    let whole = data_of(&events, "posts");
    assert!(whole[0].contains("\"title\":\"T\""), "{whole:?}");
    for text in &texts {
        assert_eq!(data_of(&events, text), whole, "{text}");
    }
}

#[tokio::test]
async fn fields_show_nobody_what_is_hidden() {
    let texts = ["secret,id", "*", "*,secret"].map(|fields| with_fields("posts/a", fields));
    let topics: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let mut feed = Feed::open(TABLES, &topics).await;
    let mut root = Sse::connect(&feed.server.base).await;
    let with_mark = [&topics[..], &["mark"]].concat();
    root.subscribe_as(&superuser_token(&feed).await, &with_mark)
        .await;
    feed.run(WRITE).await;
    let seen = feed.events().await;
    let all = Feed::drain(&mut root).await;
    assert_eq!(
        data_of(&seen, &texts[0]),
        [r#"{"record":{"id":"a"},"action":"create"}"#]
    );
    assert!(seen.iter().all(|event| !event.data.contains("hush")));
    assert_eq!(
        data_of(&all, &texts[0]),
        [r#"{"record":{"id":"a","secret":"hush"},"action":"create"}"#]
    );
    assert!(all.iter().all(|event| event.data.contains("hush")));
}

async fn strict(topics: &[&str]) -> Feed {
    Feed::open_with(TABLES, topics, |options| {
        options.hub.strict_subscriptions = true
    })
    .await
}

#[tokio::test]
async fn strict_subscriptions_that_could_never_fire_are_refused_with_a_reason() {
    let mut feed = strict(&["posts/*"]).await;
    let texts = [
        "chat".to_owned(),
        "post/*".to_owned(),
        "locked/*".to_owned(),
        with("posts", json!({ "filter": "titel = 'a'" })),
        with_fields("posts", "title:nope(1)"),
        "posts?options={".to_owned(),
        "posts/".to_owned(),
        "*".to_owned(),
    ];
    let topics: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let (status, body) = feed.stream.post(&topics, None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let unfit = body["data"]["subscriptions"]
        .as_object()
        .expect("an object");
    let codes: Vec<_> = unfit
        .iter()
        .map(|(index, unfit)| format!("{index} {}", unfit["code"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        codes,
        [
            "1 subscription_unknown_collection",
            "2 subscription_forbidden",
            "3 subscription_invalid_filter",
            "4 subscription_invalid_fields",
            "5 subscription_invalid_options",
            "6 subscription_invalid_topic",
        ]
    );
    let message = unfit["3"]["message"].as_str().unwrap_or_default();
    assert!(
        message.ends_with("    ^^^^^\nDid you mean title?"),
        "{message}"
    );
    // Nothing has changed: the subscriptions from before are still there.
    let changes = feed.changes(WRITE).await;
    assert_eq!(changes, ["create posts a"]);
    let token = superuser_token(&feed).await;
    let (status, body) = feed.stream.post(&["locked/*"], Some(&token)).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
}

#[tokio::test]
async fn strict_subscriptions_know_a_collection_once_it_is_attached() {
    let mut feed = strict(&[]).await;
    let (status, _) = feed.stream.post(&["news/*", "mark"], None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    feed.stream.subscribe(&["mark"]).await;
    feed.run(
        "create table news (id text primary key); select rowcast.attach('news', list_rule => '')",
    )
    .await;
    // What comes behind the attaching in the log comes behind it here, too.
    feed.events().await;
    feed.stream.subscribe(&["news/*", "mark"]).await;
    assert_eq!(
        feed.changes("insert into news values ('a')").await,
        ["create news a"]
    );
}
