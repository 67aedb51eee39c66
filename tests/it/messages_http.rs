//! Messages and the client store over HTTP: who may, what is refused, and whom it reaches.

use reqwest::{Client, StatusCode};
use rowcast::auth::{SUPERUSER_TOKEN_LIFETIME, issue_superuser_token};
use serde_json::{Value, json};

use crate::support::people::{BCRYPT, stream, token};
use crate::support::{Event, Feed, Sse};

/// The answer's status, message, and what is wrong with which field.
async fn ask(
    feed: &Feed,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> (u16, Value) {
    let url = format!("{}/api/realtime/{path}", feed.server.base);
    let mut request = Client::new().request(method.parse().unwrap(), url);
    if method != "GET" {
        request = request.json(body);
    }
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let json = serde_json::from_str(&text);
    (status, json.unwrap_or_else(|_| json!(text)))
}

async fn send(feed: &Feed, token: Option<&str>, body: &Value) -> (u16, Value) {
    ask(feed, "POST", "send", token, body).await
}

async fn superuser(feed: &Feed) -> String {
    let issued = issue_superuser_token(&feed.client, "root@x.y", SUPERUSER_TOKEN_LIFETIME).await;
    issued.expect("a token").token
}

async fn feed() -> Feed {
    let setup = format!(
        "create table members (id text primary key, name text not null unique, password text, team text);
         insert into members values ('ann', 'ann', '{BCRYPT}', 'red'), ('bob', 'bob', '{BCRYPT}', 'blue');
         select rowcast.attach('members', kind => 'auth', identity => array['name'], password => 'password');
         insert into rowcast.casbin_rule (ptype, v0, v1, v2, v4) values
             ('p', 'members/ann', 'topic:chat', 'send', 'allow'),
             ('p', 'authenticated', 'store:room', 'set', 'allow');"
    );
    Feed::open(&setup, &["chat"]).await
}

/// The data of what has come to each of these streams.
async fn heard<'s>(feed: &mut Feed, others: impl IntoIterator<Item = &'s mut Sse>) -> Vec<String> {
    let texts = |events: &[Event]| {
        let texts = events.iter().map(|event| event.data.clone());
        texts.collect::<Vec<_>>().join(" ")
    };
    let mut heard = vec![texts(&feed.events().await)];
    for stream in others {
        heard.push(texts(&Feed::drain(stream).await));
    }
    heard
}

#[tokio::test]
async fn who_sends_decides_whom_a_message_reaches_unless_it_says_so_itself() {
    let mut feed = feed().await;
    let root = superuser(&feed).await;
    let ann = token(&feed.server, "ann").await;
    let bob = token(&feed.server, "bob").await;
    let mut anns = stream(&feed, "ann", &["chat"]).await;
    let mut bobs = stream(&feed, "bob", &["chat"]).await;
    let guest = feed.stream.client_id.clone();
    for (who, more, reached) in [
        (&root, json!({}), "guest ann bob"),
        (&root, json!({"everyone": true}), "guest ann bob"),
        (&root, json!({"clientId": guest}), "guest"),
        (&root, json!({"principal": "members/bob"}), "bob"),
        (
            &root,
            json!({"principal": "members/bob", "clientId": guest}),
            "",
        ),
        (
            &root,
            json!({"filter": "@request.auth.team = 'red'"}),
            "ann",
        ),
        (&root, json!({"filter": "@request.auth.id = ''"}), "guest"),
        (
            &root,
            json!({"filter": "@client.subscriptions:each ?= 'mark'"}),
            "guest ann bob",
        ),
        (&root, json!({"filter": "@client.store.room = '7'"}), ""),
        (&ann, json!({}), "ann"),
        (&ann, json!({"everyone": true}), "guest ann bob"),
        (&ann, json!({"principal": "members/bob"}), "bob"),
    ] {
        let mut body = json!({"topic": "chat", "data": {"more": more}});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, answer) = send(&feed, Some(who), &body).await;
        assert_eq!(status, 204, "{body}: {answer}");
        let heard = heard(&mut feed, [&mut anns, &mut bobs]).await;
        let names = ["guest", "ann", "bob"].into_iter().zip(&heard);
        let names = names.filter(|(_, heard)| !heard.is_empty());
        let names: Vec<_> = names.map(|(name, _)| name).collect();
        assert_eq!(names.join(" "), reached, "{body}: {heard:?}");
    }
    let message = json!({"topic": "chat", "data": {}});
    let elsewhere = json!({"topic": "news", "data": {}});
    let filtered = json!({"topic": "chat", "data": {}, "filter": "@client.store.secret = 'x'"});
    for (who, body, status, why) in [
        (
            None,
            &message,
            401,
            "requires valid record authorization token",
        ),
        (
            Some("nonsense"),
            &message,
            401,
            "requires valid record authorization token",
        ),
        (
            Some(&*bob),
            &message,
            403,
            "not allowed to send to this topic.",
        ),
        (
            Some(&*ann),
            &elsewhere,
            403,
            "not allowed to send to this topic.",
        ),
        (
            Some(&*ann),
            &filtered,
            403,
            "not allowed to send to this topic by a filter",
        ),
    ] {
        let (answered, answer) = send(&feed, who, body).await;
        assert_eq!(answered, status, "{body}: {answer}");
        assert!(
            answer["message"].as_str().unwrap().contains(why),
            "{answer}"
        );
    }
    assert_eq!(heard(&mut feed, [&mut anns, &mut bobs]).await, ["", "", ""]);
}

#[tokio::test]
async fn a_message_that_makes_no_sense_is_answered_with_its_fields() {
    let mut feed = feed().await;
    let root = superuser(&feed).await;
    for (body, field, why) in [
        (json!({}), "topic", "Cannot be blank"),
        (json!({"topic": 7, "data": {}}), "topic", "Must be a text"),
        (
            json!({"topic": "chat"}),
            "data",
            "Must be an object, an array or a text",
        ),
        (
            json!({"topic": "chat", "data": 7}),
            "data",
            "not a bare number",
        ),
        (
            json!({"topic": "chat", "data": {"a": "\0"}}),
            "data",
            "Unicode",
        ),
        (
            json!({"topic": "chat\nevent:x", "data": {}}),
            "topic",
            "line breaks",
        ),
        (
            json!({"topic": "members/ann", "data": {}}),
            "topic",
            "belongs to the collection",
        ),
        (
            json!({"topic": "chat", "data": {}, "clientId": 7}),
            "clientId",
            "Must be a text",
        ),
        (
            json!({"topic": "chat", "data": {}, "principal": "ann"}),
            "principal",
            "COLLECTION/ID",
        ),
        (
            json!({"topic": "chat", "data": {}, "everyone": 1}),
            "everyone",
            "true or false",
        ),
        (
            json!({"topic": "chat", "data": {}, "everyone": true, "clientId": "x"}),
            "everyone",
            "Must not stand beside",
        ),
        (
            json!({"topic": "chat", "data": {}, "filter": "@client.store.room ="}),
            "filter",
            "missing here",
        ),
        (
            json!({"topic": "chat", "data": {}, "filter": "@collection.members.id ?= 'x'"}),
            "filter",
            "@collection.members.id cannot be named here",
        ),
        (
            json!({"topic": "chat", "data": {}, "filter": "room = 7"}),
            "filter",
            "cannot be named",
        ),
    ] {
        let (status, answer) = send(&feed, Some(&root), &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        let message = answer["data"][field]["message"].as_str();
        let message = message.unwrap_or_else(|| panic!("nothing about {field} in {answer}"));
        assert!(message.contains(why), "{body}: {answer}");
    }
    // What was misspelt would reach more than it should.
    let body = json!({"topic": "chat", "data": {}, "client": "x"});
    let (status, answer) = send(&feed, Some(&root), &body).await;
    assert_eq!(status, 400);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("no field \"client\""),
        "{answer}"
    );
    let url = format!("{}/api/realtime/send", feed.server.base);
    let broken = Client::new()
        .post(url)
        .header("Content-Type", "application/json");
    let broken = broken.body("{\"topic\":").send().await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    let large = json!({"topic": "chat", "data": {"x": "x".repeat(1024 * 1024)}});
    assert_eq!(send(&feed, Some(&root), &large).await.0, 413);
    assert_eq!(heard(&mut feed, []).await, [""]);
}

#[tokio::test]
async fn a_client_sets_the_keys_of_its_own_stream_that_the_policy_opens() {
    let mut feed = feed().await;
    let root = superuser(&feed).await;
    let (ann, bob) = (
        token(&feed.server, "ann").await,
        token(&feed.server, "bob").await,
    );
    let mut anns = stream(&feed, "ann", &["chat"]).await;
    let (own, guests) = (anns.client_id.clone(), feed.stream.client_id.clone());
    let form = |id: &str, values: Value| json!({"clientId": id, "values": values});
    for (who, body, status) in [
        (Some(&*ann), form(&own, json!({"room": "7"})), 204),
        (
            Some(&*ann),
            form(&own, json!({"room": "8", "level": 3})),
            400,
        ),
        (Some(&*ann), form(&own, json!({"auth": {"id": "bob"}})), 400),
        (Some(&*bob), form(&own, json!({"room": "9"})), 403),
        (None, form(&own, json!({"room": "9"})), 403),
        (None, form(&guests, json!({"room": "9"})), 400),
        (Some(&*ann), form("nobody", json!({"room": "9"})), 404),
        (Some(&*ann), json!({"values": {}}), 400),
        (Some(&*ann), json!({"clientId": own}), 400),
    ] {
        let (answered, answer) = ask(&feed, "POST", "store", who, &body).await;
        assert_eq!(answered, status, "{body}: {answer}");
        if status == 400 && body["values"]["level"] == 3 {
            let why = answer["data"]["values"]["level"]["message"]
                .as_str()
                .unwrap();
            assert!(why.contains("store:KEY"), "{answer}");
            assert_eq!(
                answer["data"]["values"].as_object().unwrap().len(),
                1,
                "{answer}"
            );
        }
    }
    let path = format!("clients/{own}/store");
    for (who, status) in [(None, 401), (Some(&*ann), 403), (Some(&*root), 200)] {
        for (method, body) in [("GET", json!({})), ("PATCH", json!({"values": {}}))] {
            let (answered, answer) = ask(&feed, method, &path, who, &body).await;
            assert_eq!(answered, status, "{method}: {answer}");
        }
    }
    let change = json!({"values": {"level": {"n": 3}, "gone": null}});
    let (_, kept) = ask(&feed, "PATCH", &path, Some(&root), &change).await;
    assert_eq!(kept, json!({"values": {"room": "7", "level": {"n": 3}}}));
    for (filter, reaches) in [
        (
            "@client.store.room = '7' && @client.store.level.n > 2",
            true,
        ),
        ("@client.store.room = '8'", false),
        ("@client.store.none = null", true),
    ] {
        let filter = format!("@request.auth.id = 'ann' && {filter}");
        let body = json!({"topic": "chat", "data": "hi", "filter": filter});
        assert_eq!(send(&feed, Some(&root), &body).await.0, 204);
        let heard = heard(&mut feed, [&mut anns]).await;
        assert_eq!(heard, ["", if reaches { "\"hi\"" } else { "" }], "{filter}");
    }
    let missing = ask(
        &feed,
        "GET",
        "clients/nobody/store",
        Some(&root),
        &json!({}),
    )
    .await;
    assert_eq!(missing.0, 404);
    // The crate's door to the same.
    let hub = &feed.server.hub;
    let change = json!({"room": null, "seen": true})
        .as_object()
        .unwrap()
        .clone();
    let kept = hub.change_store(&own, change).await.unwrap();
    assert_eq!(json!(kept), json!({"level": {"n": 3}, "seen": true}));
    assert_eq!(hub.store(&own).await.unwrap(), kept);
}
