//! Tables change while they are written to: no write fails, and events follow.

use serde_json::{Value, json};

use crate::support::feed::{line, run};
use crate::support::{DEADLINE, Event, Feed, client, within};

/// The record without our own keys.
fn record(event: &Event) -> Value {
    let mut record = event.change().1;
    let map = record.as_object_mut().unwrap();
    map.remove("collectionId");
    map.remove("collectionName");
    record
}

#[tokio::test]
async fn columns_named_like_ours_are_ordinary_columns() {
    let names = [
        "slot",
        "xid",
        "lsn",
        "n",
        "r",
        "o",
        "p",
        "old",
        "new",
        "collection",
        "op",
        "bell",
        "key",
        "image",
        "changed",
        "nested",
        "float_digits",
        "tg_op",
        "tg_argv",
        "rowcast_new",
        "rowcast_old",
        "record",
        "action",
        "value",
        "row_limit",
        "part",
    ];
    let columns: Vec<_> = names
        .iter()
        .map(|name| format!("\"{name}\" integer default 7"))
        .collect();
    let columns = columns.join(", ");
    let mut feed = Feed::open(
        &format!(
            "create table changes (id integer primary key, {columns});
             create table parts (id integer primary key, {columns}) partition by range (id);
             create table parts_a partition of parts default;
             select rowcast.attach('changes', list_rule => ''); select rowcast.attach('parts', list_rule => '');"
        ),
        &["changes", "parts"],
    )
    .await;
    for table in ["changes", "parts"] {
        feed.run(&format!(
            "insert into {table} (id) values (1); update {table} set n = 8; delete from {table}; insert into {table} (id) values (2);
             truncate {table}"
        ))
        .await;
        let events = feed.events().await;
        assert_eq!(events.len(), 5, "{events:#?}");
        let mut expected = json!({ "id": "1" });
        for name in names {
            expected[name] = json!(7);
        }
        assert_eq!(record(&events[0]), expected, "{table}");
        expected["n"] = json!(8);
        assert_eq!(record(&events[2]), expected, "{table}");
    }
}

#[tokio::test]
async fn every_alteration_is_followed() {
    let mut feed = Feed::open(
        "create schema other; create table posts (id integer primary key, a text, b integer);
         select rowcast.attach('posts', list_rule => '');",
        &["posts"],
    )
    .await;
    // One session throughout, so that its cached plans meet every change.
    for (alteration, write, expected) in [
        (
            "",
            "insert into posts values (1, 'x', 1)",
            json!({"id": "1", "a": "x", "b": 1}),
        ),
        (
            "alter table posts add c text default 'c'",
            "update posts set b = 2",
            json!({"id": "1", "a": "x", "b": 2, "c": "c"}),
        ),
        (
            "alter table posts rename a to title",
            "update posts set b = 3",
            json!({"id": "1", "title": "x", "b": 3, "c": "c"}),
        ),
        (
            "alter table posts alter b type text",
            "update posts set title = 'y'",
            json!({"id": "1", "title": "y", "b": "3", "c": "c"}),
        ),
        (
            "alter table posts drop c",
            "update posts set title = 'z'",
            json!({"id": "1", "title": "z", "b": "3"}),
        ),
        (
            "alter table posts alter b type jsonb using jsonb_build_object('v', b)",
            "update posts set title = 'q'",
            json!({"id": "1", "title": "q", "b": {"v": "3"}}),
        ),
        (
            "alter table posts alter id type text",
            "update posts set title = 'r'",
            json!({"id": "1", "title": "r", "b": {"v": "3"}}),
        ),
        (
            "alter table posts rename id to key",
            "update posts set title = 's'",
            json!({"id": "1", "key": "1", "title": "s", "b": {"v": "3"}}),
        ),
        (
            "alter table posts rename to articles",
            "update articles set title = 't'",
            json!({"id": "1", "key": "1", "title": "t", "b": {"v": "3"}}),
        ),
        (
            "alter table articles set schema other",
            "update other.articles set title = 'u'",
            json!({"id": "1", "key": "1", "title": "u", "b": {"v": "3"}}),
        ),
        (
            "alter table other.articles add moment timestamptz default '2024-05-05T10:00:00Z', drop b",
            "delete from other.articles",
            json!({"id": "1", "key": "1", "title": "u", "moment": "2024-05-05 10:00:00.000Z"}),
        ),
    ] {
        feed.run(alteration).await;
        feed.run(write).await;
        let events = feed.events().await;
        let shown: Vec<_> = events.iter().map(record).collect();
        assert_eq!(shown, [expected], "{alteration}");
        assert_eq!(events[0].name, "posts");
    }
}

#[tokio::test]
async fn alterations_within_a_transaction_fail_no_write_and_lose_no_record() {
    let mut feed = Feed::open(
        "create table posts (id integer primary key, a text); select rowcast.attach('posts', list_rule => '');",
        &["posts"],
    )
    .await;
    let changes = feed
        .changes(
            "begin; insert into posts values (1, 'x'); alter table posts add b text; insert into posts values (2, 'x', 'y');
             alter table posts rename a to c; update posts set c = 'z' where id = 2; alter table posts drop b;
             delete from posts where id = 1; commit",
        )
        .await;
    assert_eq!(
        changes,
        [
            "create posts 1",
            "create posts 2",
            "update posts 2",
            "delete posts 1"
        ]
    );
}

#[tokio::test]
async fn hidden_values_do_not_show_while_columns_are_renamed_under_load() {
    let mut feed = Feed::open(
        "create table posts (id integer primary key, title text, secret text);
         select rowcast.attach('posts', list_rule => '', hidden => array['secret']);
         insert into posts select i, 'shown', 'hush' from generate_series(1, 20) i;",
        &["posts/*"],
    )
    .await;
    let writer = client(&feed.database.url).await;
    let writing = tokio::spawn(async move {
        for _ in 0..300 {
            // Touches no column by name but the key, as the names change all the time.
            run(
                &writer,
                "update posts set id = id where id = 1 + (random() * 19)::integer",
            )
            .await;
        }
    });
    while !writing.is_finished() {
        feed.run(
            "begin; alter table posts rename secret to x; alter table posts rename title to secret;
             alter table posts rename x to title; commit",
        )
        .await;
        feed.run(
            "begin; alter table posts rename title to x; alter table posts rename secret to title;
             alter table posts rename x to secret; commit",
        )
        .await;
    }
    within(DEADLINE, "the writer", writing).await.unwrap();
    let events = feed.events().await;
    assert!(events.len() >= 100, "{}", events.len());
    for event in &events {
        assert!(!event.data.contains("hush"), "{event:?}");
    }
    feed.run("update posts set title = 'after' where id = 1")
        .await;
    let events = feed.events().await;
    assert_eq!(record(&events[0]), json!({"id": "1", "title": "after"}));
}

#[tokio::test]
async fn a_key_that_goes_is_told_and_one_that_comes_back_is_used() {
    let mut feed = Feed::open(
        "create table posts (id integer primary key, other integer); select rowcast.attach('posts', list_rule => '');",
        &["posts"],
    )
    .await;
    feed.run("alter table posts drop constraint posts_pkey; insert into posts values (1, 10)")
        .await;
    feed.events().await;
    feed.run("alter table posts add primary key (other)").await;
    feed.run("update rowcast.collections set name = name").await;
    feed.run("insert into posts values (2, 20)").await;
    let lines: Vec<_> = feed.events().await.iter().map(line).collect();
    assert_eq!(lines, ["create posts 20"]);
}
