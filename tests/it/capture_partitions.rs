//! Partitioned tables: one collection, however its rows are spread and reached.

use crate::support::Feed;

const TABLES: &str = "
    create table logs (region text, id integer, note text, primary key (region, id)) partition by list (region);
    create table logs_eu partition of logs for values in ('eu');
    create table logs_us (note text, id integer not null, region text not null, primary key (region, id));
    alter table logs attach partition logs_us for values in ('us');
    create table logs_rest partition of logs default;
    create table logs_asia partition of logs for values in ('jp', 'in') partition by list (region);
    create table logs_jp partition of logs_asia for values in ('jp');
    select rowcast.attach('logs', list_rule => '');";

#[tokio::test]
async fn rows_are_heard_however_they_reach_their_partition() {
    let mut feed = Feed::open(TABLES, &["logs/*"]).await;
    for (what, sql, expected) in [
        (
            "through the parent",
            "insert into logs values ('eu', 1, 'x'), ('us', 1, 'x'), ('xx', 1, 'x'), ('jp', 1, 'x')",
            "create logs eu,1, create logs us,1, create logs xx,1, create logs jp,1",
        ),
        ("an update", "update logs set note = 'y' where id = 1 and region <> 'jp'",
            "update logs eu,1, update logs us,1, update logs xx,1"),
        (
            "directly",
            "insert into logs_eu values ('eu', 2, 'x'); insert into logs_us values ('x', 2, 'us');
             update logs_us set note = 'y' where id = 2; delete from logs_eu where id = 2; delete from logs_us where id = 2",
            "create logs eu,2, create logs us,2, update logs us,2, delete logs eu,2, delete logs us,2",
        ),
        (
            "on conflict",
            "insert into logs values ('eu', 1, 'z'), ('eu', 3, 'z') on conflict (region, id) do update set note = excluded.note",
            "update logs eu,1, create logs eu,3",
        ),
        (
            "a partition made later",
            "create table logs_cn partition of logs for values in ('cn'); insert into logs values ('cn', 1);
             insert into logs_cn values ('cn', 2)",
            "create logs cn,1, create logs cn,2",
        ),
        (
            "a partition made later is truncated with the others",
            "truncate logs",
            "delete logs cn,1, delete logs cn,2, delete logs eu,1, delete logs eu,3, delete logs jp,1, delete logs us,1, \
             delete logs xx,1",
        ),
        (
            "a sub-partition made later",
            "create table logs_in partition of logs_asia for values in ('in'); insert into logs values ('in', 1), ('jp', 2);
             truncate logs",
            "create logs in,1, create logs jp,2, delete logs in,1, delete logs jp,2",
        ),
        (
            "one partition truncated",
            "insert into logs values ('eu', 1), ('us', 1); truncate logs_us",
            "create logs eu,1, create logs us,1, delete logs us,1",
        ),
        (
            "the middle truncated",
            "insert into logs values ('jp', 1), ('in', 1); truncate logs_asia",
            "create logs jp,1, create logs in,1, delete logs in,1, delete logs jp,1",
        ),
        (
            "a detached partition is nobody's business",
            "alter table logs detach partition logs_eu; insert into logs_eu values ('eu', 9); update logs_eu set note = 'q';
             truncate logs_eu; insert into logs_eu values ('eu', 10)",
            "",
        ),
        (
            "and attached again it is",
            "alter table logs attach partition logs_eu for values in ('eu'); update logs set note = 'back';
             insert into logs_eu values ('eu', 11); truncate logs_eu",
            "update logs eu,10, create logs eu,11, delete logs eu,10, delete logs eu,11",
        ),
    ] {
        let mut changes = feed.changes(sql).await;
        if sql.contains("truncate logs") {
            // In which order partitions are emptied is not said.
            let deletes = changes.iter().position(|change| change.starts_with("delete"));
            changes[deletes.unwrap_or(0)..].sort();
        }
        assert_eq!(changes.join(", "), expected, "{what}");
    }
}

#[tokio::test]
async fn a_move_between_partitions_is_one_update_if_the_id_stays() {
    let mut feed = Feed::open(
        "create table events (id integer, place text, n integer) partition by list (place);
         create table events_a partition of events for values in ('a');
         create table events_b (n integer, place text, gone text, id integer);
         alter table events_b drop column gone;
         alter table events attach partition events_b for values in ('b');
         create unique index on events (id, place);
         alter table events alter id set not null, alter place set not null;
         create table items (id integer not null, place text) partition by list (place);
         select rowcast.attach('events', list_rule => '');
         insert into events select i, 'a', 0 from generate_series(1, 3) i;",
        &["events/*"],
    )
    .await;
    assert_eq!(
        feed.changes("update events set place = 'b' where id = 1")
            .await,
        ["delete events 1,a", "create events 1,b"],
        "the partition key is part of the id, as it must be part of every unique key"
    );
    assert_eq!(
        feed.changes("update events set n = n + 1; delete from events")
            .await,
        [
            "update events 2,a",
            "update events 3,a",
            "update events 1,b",
            "delete events 2,a",
            "delete events 3,a",
            "delete events 1,b"
        ]
    );
}

#[tokio::test]
async fn values_come_from_their_columns_whatever_the_partitions_order() {
    let mut feed = Feed::open(TABLES, &["logs/*"]).await;
    feed.run(
        "insert into logs values ('us', 1, 'one'); alter table logs add column more integer default 5;
         update logs set note = 'two'; alter table logs rename note to remark; update logs set remark = 'three';
         alter table logs drop column more; delete from logs",
    )
    .await;
    let records: Vec<_> = feed
        .events()
        .await
        .iter()
        .map(|event| {
            let (action, mut record) = event.change();
            let record = record.as_object_mut().unwrap();
            record.retain(|key, _| !key.starts_with("collection"));
            (action, serde_json::Value::from(record.clone()).to_string())
        })
        .collect();
    let expected = [
        ("create", r#"{"id":"us,1","note":"one","region":"us"}"#),
        (
            "update",
            r#"{"id":"us,1","more":5,"note":"two","region":"us"}"#,
        ),
        (
            "update",
            r#"{"id":"us,1","more":5,"region":"us","remark":"three"}"#,
        ),
        ("delete", r#"{"id":"us,1","region":"us","remark":"three"}"#),
    ];
    assert_eq!(records.len(), expected.len(), "{records:?}");
    // Changes that are read after their table was altered again are shown in its new shape.
    assert_eq!(records[3].1, expected[3].1);
}

#[tokio::test]
async fn replicated_writes_to_partitions_are_heard_where_that_was_asked_for() {
    let mut feed = Feed::open(
        &format!(
            "{TABLES} select rowcast.attach('logs', list_rule => '', include_replicated => true);"
        ),
        &["logs/*"],
    )
    .await;
    assert_eq!(
        feed.changes(
            "create table logs_cn partition of logs for values in ('cn');
             set session_replication_role = replica;
             insert into logs values ('eu', 1), ('cn', 1), ('jp', 1); delete from logs_jp"
        )
        .await,
        [
            "create logs eu,1",
            "create logs cn,1",
            "create logs jp,1",
            "delete logs jp,1"
        ]
    );
}
