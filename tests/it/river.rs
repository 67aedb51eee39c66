//! A row changes in Postgres, and those who asked for it are told.

use std::time::Duration;

use serde_json::json;
use tokio_postgres::Client;

use crate::support::{DEADLINE, Event, Server, Sse, TestDatabase, client, database};

/// A migrated database with a public collection `posts`.
async fn posts() -> (TestDatabase, Client) {
    let database = database().await;
    let client = client(&database.url).await;
    client
        .batch_execute(
            "create table posts (id text primary key, title text, n integer, secret text);
             select rowcast.attach('posts', list_rule => '', view_rule => '', hidden => array['secret']);",
        )
        .await
        .unwrap();
    (database, client)
}

/// Action, id and title of changes.
fn summary(events: &[Event]) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| {
            let (action, record) = event.change();
            (action, text(&record["id"]), text(&record["title"]))
        })
        .collect()
}

async fn changes(stream: &mut Sse, count: usize) -> Vec<(String, String, String)> {
    summary(&stream.next_events(count, DEADLINE).await)
}

fn owned(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let owned = |(a, b, c): &(&str, &str, &str)| ((*a).into(), (*b).into(), (*c).into());
    expected.iter().map(owned).collect()
}

#[tokio::test]
async fn insert_update_and_delete_arrive_with_the_full_record() {
    let (database, client) = posts().await;
    let server = Server::start(&database).await;
    let mut stream = server.subscribe(&["posts/*"]).await;
    client
        .batch_execute("insert into posts values ('a', 'one', 1, 'hush'); update posts set title = 'two'; delete from posts;")
        .await
        .unwrap();
    let events = stream.next_events(3, DEADLINE).await;
    let id: String = client
        .query_one("select id from rowcast.collections", &[])
        .await
        .unwrap()
        .get(0);
    for (event, action, title) in [
        (&events[0], "create", "one"),
        (&events[1], "update", "two"),
        (&events[2], "delete", "two"),
    ] {
        assert_eq!(event.name, "posts/*");
        assert_eq!(
            event.data,
            format!(
                r#"{{"record":{{"collectionId":"{id}","collectionName":"posts","id":"a","n":1,"title":"{title}"}},"action":"{action}"}}"#
            )
        );
    }
}

#[tokio::test]
async fn a_transaction_of_a_thousand_rows_arrives_whole_and_in_order() {
    let (database, client) = posts().await;
    let server = Server::start(&database).await;
    let mut stream = server.subscribe(&["posts/*"]).await;
    client
        .batch_execute(
            "begin; insert into posts select i::text, 'x', i from generate_series(1, 500) i;
             do $$ begin for i in 501..1000 loop insert into posts values (i::text, 'x', i); end loop; end $$; commit;",
        )
        .await
        .unwrap();
    let events = stream.next_events(1000, DEADLINE).await;
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event.change().1["n"].clone())
        .collect();
    assert_eq!(json!(numbers), json!((1..=1000).collect::<Vec<_>>()));
}

#[tokio::test]
async fn what_is_rolled_back_is_never_seen() {
    let (database, client) = posts().await;
    let server = Server::start(&database).await;
    let mut stream = server.subscribe(&["posts/*"]).await;
    client
        .batch_execute(
            "begin; insert into posts values ('a', 'rolled back'); rollback;
             begin; insert into posts values ('b', 'kept'); savepoint s; insert into posts values ('c', 'undone');
             rollback to s; update posts set title = 'kept too'; commit;",
        )
        .await
        .unwrap();
    assert_eq!(
        changes(&mut stream, 2).await,
        owned(&[("create", "b", "kept"), ("update", "b", "kept too")])
    );
    stream.stays_silent(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn keys_that_move_between_rows_end_up_as_the_table_has_them() {
    let (database, client) = posts().await;
    client
        .batch_execute(
            "create table nodes (id integer primary key deferrable, title text);
             select rowcast.attach('nodes', list_rule => '');
             insert into nodes values (1, 'a'), (2, 'b'), (3, 'c');",
        )
        .await
        .unwrap();
    let server = Server::start(&database).await;
    let mut stream = server.subscribe(&["nodes/*"]).await;
    client
        .batch_execute("update nodes set id = id + 1; update nodes set id = 9 where id = 4;")
        .await
        .unwrap();
    assert_eq!(
        changes(&mut stream, 6).await,
        owned(&[
            ("delete", "1", "a"),
            ("update", "2", "a"),
            ("update", "3", "b"),
            ("create", "4", "c"),
            ("delete", "4", "c"),
            ("create", "9", "c"),
        ])
    );
}
