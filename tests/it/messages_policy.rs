//! The policy opens and closes topics of the application's own.

use serde_json::{Value, json};

use crate::support::people::{BCRYPT, stream, token};
use crate::support::{Event, Feed, Sse, with_query};

const CLOSED: &str = "insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values
     ('p', 'authenticated', 'topic:chat/*', 'subscribe', '', 'allow'),
     ('p', 'members/bob', 'topic:chat/9', 'subscribe', '', 'deny'),
     ('p', 'authenticated', 'topic:team', 'subscribe', '@request.auth.team = \"red\"', 'allow'),
     ('p', 'anyone', 'topic:room', 'subscribe', '@client.store.room = \"7\"', 'allow'),
     ('p', 'anyone', 'topic:broken', 'subscribe', 'team = ', 'allow');";
const TOPICS: [&str; 7] = [
    "chat/1", "chat/9", "chat", "team", "room", "broken", "open/1",
];

fn members() -> String {
    format!(
        "create table members (id text primary key, name text not null unique, password text, team text);
         insert into members values ('ann', 'ann', '{BCRYPT}', 'red'), ('bob', 'bob', '{BCRYPT}', 'blue');
         select rowcast.attach('members', kind => 'auth', identity => array['name'], password => 'password');"
    )
}

fn names(events: &[Event]) -> String {
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    names.join(" ")
}

/// Sends to every topic; which of them each of these streams heard.
async fn heard(feed: &mut Feed, streams: &mut [&mut Sse]) -> Vec<String> {
    for topic in TOPICS {
        feed.run(&format!("select rowcast.send('{topic}', '{{}}')"))
            .await;
    }
    let mut heard = vec![names(&feed.events().await)];
    for stream in streams {
        heard.push(names(&Feed::drain(stream).await));
    }
    heard
}

#[tokio::test]
async fn closed_topics_deliver_nothing_to_those_who_are_not_allowed() {
    let mut feed = Feed::open(&members(), &TOPICS).await;
    let mut ann = stream(&feed, "ann", &TOPICS).await;
    let mut bob = stream(&feed, "bob", &TOPICS).await;
    let all = TOPICS.join(" ");
    assert_eq!(
        heard(&mut feed, &mut [&mut ann, &mut bob]).await,
        [&*all; 3]
    );
    feed.run(CLOSED).await;
    assert_eq!(
        heard(&mut feed, &mut [&mut ann, &mut bob]).await,
        [
            "chat open/1",
            "chat/1 chat/9 chat team open/1",
            "chat/1 chat open/1"
        ]
    );
    let room = json!({"room": "7"}).as_object().unwrap().clone();
    let id = bob.client_id.clone();
    feed.server.hub.change_store(&id, room).await.unwrap();
    feed.run("update members set team = 'red' where id = 'bob'")
        .await;
    feed.run(
        "insert into rowcast.casbin_rule (ptype, v0, v1) values ('g', 'members/ann', 'muted')",
    )
    .await;
    feed.run("insert into rowcast.casbin_rule (ptype, v0, v1, v2, v4) values ('p', 'muted', '*', '*', 'deny')").await;
    assert_eq!(
        heard(&mut feed, &mut [&mut bob]).await,
        ["chat open/1", "chat/1 chat team room open/1"]
    );
    feed.run("delete from rowcast.casbin_rule where v1 <> 'mark'")
        .await;
    assert_eq!(heard(&mut feed, &mut [&mut bob]).await, [&*all, &*all]);
}

#[tokio::test]
async fn messages_from_before_a_topic_was_closed_are_not_told_again_to_those_who_are_shut_out() {
    let mut feed = Feed::open(&members(), &[]).await;
    let keyed = with_query("chat/1", json!({ "resume": "0123456789abcdef" }));
    drop(feed.subscribe(&[&keyed]).await);
    feed.run("select rowcast.send('chat/1', '{}')").await;
    feed.run(CLOSED).await;
    // The server knows it by now.
    feed.events().await;
    let mut again = feed.subscribe(&[&keyed]).await;
    feed.mark().await;
    assert_eq!(names(&Feed::drain(&mut again).await), "");
}

#[tokio::test]
async fn strict_subscriptions_to_closed_topics_are_refused() {
    let setup = format!("{} {CLOSED}", members());
    let feed = Feed::open_with(&setup, &[], |options| {
        options.hub.strict_subscriptions = true;
    })
    .await;
    let ann = token(&feed.server, "ann").await;
    let guest = Sse::connect(&feed.server.base).await;
    let topics = ["chat/1", "chat", "room", "team", "open/1"];
    let (status, body) = guest.post(&topics, None).await;
    assert_eq!(status, 400, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let code = |at: &str| answer["data"]["subscriptions"][at]["code"].as_str();
    let codes = ["0", "1", "2", "3", "4"].map(code);
    let forbidden = Some("subscription_forbidden");
    let unknown = Some("subscription_unknown_collection");
    assert_eq!(codes, [forbidden, None, None, forbidden, unknown]);
    let keyed = with_query("chat/1", json!({ "resume": "0123456789abcdef" }));
    let unnamed = with_query("chat", json!({ "resume": "0123456789abcdef" }));
    let member = Sse::connect(&feed.server.base).await;
    member
        .subscribe_as(&ann, &["chat/1", &keyed, &unnamed, "team"])
        .await;
}
