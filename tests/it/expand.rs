//! `expand`: related records with the record, looked up in a real database, each under its own view rule.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::support::{Event, Feed, Sse, client};

/// `correct horse` at bcrypt's lowest cost.
const BCRYPT: &str = "$2b$04$4Sz1wKlPKSB8UhOiQbHROe3MNoJYWdDnX66A/x8L/UlkJHyh8A08u";

const TABLES: &str = "
    create table users (id text primary key, email text unique, \"emailVisibility\" boolean not null default false,
                        name text, password_hash text, secret text not null default 'hush-user');
    create table teams (id integer primary key, name text, owner text references users);
    create table tags (id text primary key, name text, parent text references tags);
    create table posts (id text primary key, title text, author text references users, team integer references teams,
                        tags text[], reviewer text references users);
    create table comments (id text primary key, post text references posts on delete cascade,
                           author text references users, note text);
    create table notes (id text primary key, post text references posts);
    create table post_tags (post text references posts, tag text references tags, primary key (post, tag));
    select rowcast.attach('users', kind => 'auth', identity => array['email'], password => 'password_hash',
                          hidden => array['secret'], view_rule => '');
    select rowcast.attach('teams');
    select rowcast.attach('tags', view_rule => '');
    select rowcast.attach('posts', list_rule => '', view_rule => '', hidden => array['reviewer'],
                          relations => '{\"tags\": \"tags\", \"labels\": \"post_tags_via_post.tag\"}');
    select rowcast.attach('comments', list_rule => '', view_rule => 'note != \"private\" || author = @request.auth.id');
    select rowcast.attach('notes');
    select rowcast.attach('post_tags', view_rule => '');";

const ROWS: &str = "
    insert into users values ('ann', 'ann@x.org', true, 'Ann', '{bcrypt}'), ('bob', 'bob@x.org', false, 'Bob', '{bcrypt}');
    insert into teams values (1, 'secret team', 'ann');
    insert into tags values ('t1', 'one', null), ('t2', 'two', 't1');";

const POST: &str = "
    begin;
    insert into posts values ('p', 'T', 'bob', 1, '{t2,gone,t1}', 'ann');
    insert into comments values ('c1', 'p', 'ann', 'private'), ('c2', 'p', 'bob', 'open');
    insert into notes values ('n', 'p');
    insert into post_tags values ('p', 't1');
    commit";

/// A feed, with a stream for the guest and one for Ann, Bob and a superuser each.
struct Site {
    feed: Feed,
    others: Vec<Sse>,
}

impl Site {
    async fn open(topics: &[String]) -> Self {
        let mut topics: Vec<&str> = topics.iter().map(|text| &**text).collect();
        let feed = Feed::open(TABLES, &topics).await;
        feed.run(&ROWS.replace("{bcrypt}", BCRYPT)).await;
        topics.push("mark");
        let mut others = Vec::new();
        for token in [
            log_in(&feed, "ann@x.org").await,
            log_in(&feed, "bob@x.org").await,
            superuser_token(&feed).await,
        ] {
            let stream = Sse::connect(&feed.server.base).await;
            stream.subscribe_as(&token, &topics).await;
            others.push(stream);
        }
        let mut site = Self { feed, others };
        site.events().await;
        site
    }

    /// What has come to the guest, Ann, Bob and the superuser.
    async fn events(&mut self) -> [Vec<Event>; 4] {
        let guest = self.feed.events().await;
        let mut seen = Vec::new();
        for stream in &mut self.others {
            seen.push(Feed::drain(stream).await);
        }
        let [ann, bob, root] = seen.try_into().expect("three streams");
        [guest, ann, bob, root]
    }

    /// What has come to them under one name, and nothing else.
    async fn only_records(&mut self) -> [Value; 4] {
        self.events().await.map(|events| {
            assert_eq!(events.len(), 1, "{events:?}");
            events[0].change().1
        })
    }
}

async fn log_in(feed: &Feed, identity: &str) -> String {
    let url = format!(
        "{}/api/collections/users/auth-with-password",
        feed.server.base
    );
    let body = json!({ "identity": identity, "password": "correct horse" });
    let answer = Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

async fn superuser_token(feed: &Feed) -> String {
    let admin = client(&feed.database.url).await;
    let lifetime = Duration::from_secs(600);
    let token = rowcast::auth::issue_superuser_token(&admin, "root@example.com", lifetime).await;
    token.expect("a superuser").token
}

fn with(topic: &str, query: Value) -> String {
    let options = json!({ "query": query }).to_string();
    let encoded: String = form_urlencoded::byte_serialize(options.as_bytes()).collect();
    format!("{topic}?options={encoded}")
}

fn expanding(expand: &str) -> String {
    with("posts/*", json!({ "expand": expand }))
}

/// The ids behind a name, in their order.
fn ids(records: &Value) -> Vec<&str> {
    let records = records.as_array().into_iter().flatten();
    records.filter_map(|record| record["id"].as_str()).collect()
}

#[tokio::test]
async fn related_records_come_with_the_record_in_stored_order() {
    let expand = "author,tags.parent,labels,comments_via_post.author,nope";
    let mut site = Site::open(&[expanding(expand)]).await;
    site.feed.run(POST).await;
    let [guest, ..] = site.only_records().await;
    let expand = &guest["expand"];
    assert_eq!(expand["author"]["name"], "Bob");
    assert_eq!(expand["author"]["collectionName"], "users");
    assert_eq!(ids(&expand["tags"]), ["t2", "t1"]);
    assert_eq!(expand["tags"][0]["expand"]["parent"]["name"], "one");
    assert_eq!(expand["tags"][1]["expand"], json!({}));
    assert_eq!(ids(&expand["labels"]), ["t1"]);
    assert_eq!(ids(&expand["comments_via_post"]), ["c2"]);
    assert_eq!(
        expand["comments_via_post"][0]["expand"]["author"]["id"],
        "bob"
    );
    let names: Vec<_> = expand.as_object().unwrap().keys().collect();
    assert_eq!(names, ["author", "comments_via_post", "labels", "tags"]);
}

#[tokio::test]
async fn nobody_is_sent_related_records_that_it_may_not_view() {
    // The last one spoils `author`, which it goes on from.
    let paths =
        "author,team,team.owner,notes_via_post,comments_via_post,reviewer,author.teams_via_owner";
    let mut site = Site::open(&[expanding(paths)]).await;
    site.feed.run(POST).await;
    let [guest, ann, bob, root] = site.events().await;
    for (name, events, comments) in [
        ("guest", &guest, &["c2"][..]),
        ("ann", &ann, &["c1", "c2"]),
        ("bob", &bob, &["c2"]),
    ] {
        let (_, record) = events[0].change();
        let expand = &record["expand"];
        let names: Vec<_> = expand.as_object().unwrap().keys().collect();
        assert_eq!(names, ["comments_via_post"], "{name}");
        assert_eq!(ids(&expand["comments_via_post"]), comments, "{name}");
        for secret in [
            "hush",
            "secret team",
            "ann@x.org",
            "reviewer",
            "notes",
            "\"n\"",
        ] {
            assert!(!events[0].data.contains(secret), "{name}: {secret}");
        }
    }
    let (_, record) = root[0].change();
    let expand = &record["expand"];
    assert_eq!(expand["team"]["expand"]["owner"]["secret"], "hush-user");
    assert_eq!(expand["reviewer"]["email"], "ann@x.org");
    assert_eq!(ids(&expand["notes_via_post"]), ["n"]);
    assert_eq!(ids(&expand["comments_via_post"]), ["c1", "c2"]);
}

#[tokio::test]
async fn hidden_columns_and_emails_stay_hidden_in_related_records() {
    let mut site = Site::open(&[expanding("author,comments_via_post.author")]).await;
    site.feed.run(POST).await;
    let [guest, ann, bob, root] = site.only_records().await;
    let author = |record: &Value| record["expand"]["author"].clone();
    for (name, record) in [("guest", &guest), ("ann", &ann)] {
        assert_eq!(author(record).get("email"), None, "{name}");
        assert_eq!(author(record).get("secret"), None, "{name}");
    }
    assert_eq!(author(&bob)["email"], "bob@x.org");
    assert_eq!(author(&bob).get("secret"), None);
    assert_eq!(author(&root)["secret"], "hush-user");
    assert!(!guest.to_string().contains("password"));
    // Ann wants her email to be seen; her private comment is hers to see.
    let comment = &ann["expand"]["comments_via_post"][0];
    assert_eq!(comment["expand"]["author"]["email"], "ann@x.org");
}

#[tokio::test]
async fn a_locked_target_tells_nothing_whatever_it_holds() {
    let paths = [
        "team",
        "team.owner",
        "notes_via_post",
        "author.teams_via_owner",
    ];
    let topics = paths.map(expanding);
    let mut site = Site::open(&topics).await;
    site.feed.run(POST).await;
    site.feed
        .run("update posts set team = null; delete from notes; update posts set author = 'ann'")
        .await;
    let [guest, ann, bob, _] = site.events().await;
    for events in [guest, ann, bob] {
        assert_eq!(events.len(), 12);
        for event in events {
            assert_eq!(event.change().1.get("expand"), None, "{}", event.data);
        }
    }
}

#[tokio::test]
async fn a_deleted_record_comes_with_what_it_was_related_to() {
    let topics = [
        expanding("author,comments_via_post"),
        with("comments/*", json!({ "expand": "post.author" })),
    ];
    let mut site = Site::open(&topics).await;
    site.feed.run(POST).await;
    site.events().await;
    site.feed
        .run(
            "begin; delete from notes; delete from post_tags; delete from posts;
             update posts set author = 'ann'; commit",
        )
        .await;
    let [guest, ..] = site.events().await;
    let changes: Vec<_> = guest.iter().map(Event::change).collect();
    let of = |name: &str| {
        let found = changes
            .iter()
            .find(|(_, record)| record["collectionName"] == name);
        let (action, record) = found.expect(name);
        assert_eq!(action, "delete");
        record["expand"].clone()
    };
    let post = of("posts");
    assert_eq!(post["author"]["id"], "bob");
    assert_eq!(ids(&post["comments_via_post"]), ["c2"]);
    let comment = of("comments");
    assert_eq!(comment["post"]["id"], "p");
    assert_eq!(comment["post"]["expand"]["author"]["id"], "bob");
}

#[tokio::test]
async fn fields_pick_from_what_was_expanded() {
    let query = json!({ "expand": "author,comments_via_post", "fields": "id,expand.author.name" });
    let mut site = Site::open(&[with("posts", query)]).await;
    site.feed.run(POST).await;
    let events = site.events().await;
    for events in events {
        assert_eq!(
            events[0].data,
            r#"{"record":{"expand":{"author":{"name":"Bob"}},"id":"p"},"action":"create"}"#
        );
    }
}

#[tokio::test]
async fn a_table_that_is_gone_costs_its_key_and_no_event() {
    let mut feed = Feed::open(TABLES, &[&expanding("author,tags")]).await;
    feed.run(&ROWS.replace("{bcrypt}", BCRYPT)).await;
    feed.run("alter table tags rename column id to other; alter table tags rename to gone")
        .await;
    feed.run("insert into posts values ('p', 'T', 'bob', 1, '{t2}')")
        .await;
    let events = feed.events().await;
    let (action, record) = events[0].change();
    assert_eq!((&*action, events.len()), ("create", 1));
    assert_eq!(record["expand"]["author"]["id"], "bob");
}

#[tokio::test]
async fn more_records_than_a_thousand_leave_their_key_out_and_are_counted() {
    let mut site = Site::open(&[expanding("comments_via_post,author")]).await;
    site.feed
        .run(
            "begin; insert into posts values ('p', 'T', 'bob');
             insert into comments select i::text, 'p', 'bob', 'open' from generate_series(1, 1001) i; commit",
        )
        .await;
    let [guest, ..] = site.only_records().await;
    let names: Vec<_> = guest["expand"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["author"]);
    let url = format!("{}/metrics", site.feed.server.base);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let counted = "rowcast_expand_missing_total{reason=\"too_many_rows\"}";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn strict_subscriptions_refuse_paths_that_lead_nowhere() {
    let feed = Feed::open_with(TABLES, &[], |options| {
        options.hub.strict_subscriptions = true;
    })
    .await;
    let good = expanding("author,comments_via_post.author,labels");
    let bad = ["athor", "team", "reviewer"].map(expanding);
    let topics: Vec<&str> = [&good]
        .into_iter()
        .chain(&bad)
        .map(|text| &**text)
        .collect();
    let (status, body) = feed.stream.post(&topics, None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let unfit = body["data"]["subscriptions"].as_object().unwrap();
    let places: Vec<_> = unfit.keys().collect();
    assert_eq!(places, ["1", "2", "3"]);
    for refused in unfit.values() {
        assert_eq!(refused["code"], "subscription_invalid_expand");
    }
    let message = unfit["1"]["message"].as_str().unwrap();
    assert!(message.contains("Did you mean author?"), "{message}");
    let (status, body) = feed.stream.post(&[&good], None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
}
