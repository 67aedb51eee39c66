//! Trimming the log: when, without whom waiting, and who is told.

use std::time::{Duration, Instant};

use rowcast::db::{Database, DatabaseOptions};
use rowcast::embedded::Cluster;
use tokio_postgres::Client;

use crate::support::feed::{line, run, text};
use crate::support::{
    DEADLINE, Feed, TestDatabase, client, cluster_options, database, eventually, within,
};

const POSTS: &str = "create table posts (id integer primary key, body text); select rowcast.attach('posts', list_rule => '');";

async fn rotate(client: &Client, age: &str, changes: &str, bytes: &str) -> String {
    text(
        client,
        &format!("select rowcast.rotate({age}, {changes}, {bytes})"),
    )
    .await
}

const FOREVER: (&str, &str, &str) = ("'1 year'", "1000000000", "1000000000000");

#[tokio::test]
async fn the_log_is_rotated_by_age_by_count_and_by_size() {
    let database = database().await;
    let client = client(&database.url).await;
    run(&client, POSTS).await;
    run(
        &client,
        "insert into posts select i, repeat('x', 1000) from generate_series(1, 100) i",
    )
    .await;
    let (age, count, size) = FOREVER;
    assert_eq!(rotate(&client, age, count, size).await, "kept");
    for (age, count, size) in [
        ("'0'", count, size),
        (age, "10", size),
        (age, count, "10000"),
    ] {
        run(&client, "update posts set body = repeat('y', 1000)").await;
        // The number of rows comes from statistics, which arrive a moment after the commit.
        eventually(DEADLINE, || async {
            match rotate(&client, age, count, size).await.as_str() {
                "rotated" => Ok(()),
                outcome => Err(format!("{outcome} with {age} {count} {size}")),
            }
        })
        .await;
        assert_eq!(
            rotate(&client, FOREVER.0, FOREVER.1, FOREVER.2).await,
            "kept"
        );
    }
    let slot = text(
        &client,
        "select pg_sequence_last_value('rowcast.log_slot')::text",
    )
    .await;
    assert_eq!(slot, "4");
    assert_eq!(rotate(&client, "'0'", "0", "0").await, "rotated");
    let kept = text(
        &client,
        "select count(*)::text from rowcast.changes where op in ('I', 'U')",
    )
    .await;
    assert_eq!(kept, "200", "the oldest of four slots was emptied");
}

#[tokio::test]
async fn rotation_waits_for_no_writer_and_no_writer_for_it() {
    let database = database().await;
    let client_one = client(&database.url).await;
    run(&client_one, POSTS).await;
    // Holds the first slot, for as long as it likes.
    let holder = client(&database.url).await;
    run(&holder, "begin; insert into posts values (0)").await;
    for turn in 1..=3 {
        run(&client_one, &format!("insert into posts values ({turn})")).await;
        assert_eq!(rotate(&client_one, "'0'", "0", "0").await, "rotated");
    }
    run(&client_one, "insert into posts values (4)").await;
    let writer = client(&database.url).await;
    let rotating = tokio::spawn(async move {
        let began = Instant::now();
        (rotate(&client_one, "'0'", "0", "0").await, began.elapsed())
    });
    let mut number = 10;
    let mut longest = Duration::ZERO;
    while !rotating.is_finished() {
        number += 1;
        let began = Instant::now();
        run(&writer, &format!("insert into posts values ({number})")).await;
        longest = longest.max(began.elapsed());
    }
    let (outcome, took) = within(DEADLINE, "rotation", rotating).await.unwrap();
    assert_eq!(outcome, "waiting");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(longest < Duration::from_millis(300), "{longest:?}");
    run(&holder, "commit").await;
    assert_eq!(rotate(&writer, "'0'", "0", "0").await, "rotated");
}

#[tokio::test]
async fn two_nodes_do_not_rotate_at_once() {
    let database = database().await;
    let one = client(&database.url).await;
    run(&one, POSTS).await;
    run(&one, "insert into posts values (1); begin").await;
    assert_eq!(rotate(&one, "'0'", "0", "0").await, "rotated");
    let two = client(&database.url).await;
    assert_eq!(rotate(&two, "'0'", "0", "0").await, "busy");
    run(&one, "commit").await;
}

#[tokio::test]
async fn a_reader_at_work_reports_no_gap_however_often_the_log_turns() {
    // A server of its own: whether a transaction that ended since the last read wrote to the emptied slot
    // is not known, so it counts as a gap, and other tests' transactions would do.
    let cluster = Cluster::start(&cluster_options()).unwrap();
    let database = TestDatabase {
        url: cluster.url("postgres"),
        name: "nothing_to_drop".to_owned(),
    };
    let options = DatabaseOptions::new(&database.url);
    rowcast::db::migrate(&Database::new(&options).unwrap())
        .await
        .unwrap();
    let mut feed = Feed::open_in(database, POSTS, &["posts"], |_| ()).await;
    let long = client(&feed.database.url).await;
    run(&long, "begin; select pg_current_xact_id()").await;
    for turn in 0..10 {
        assert_eq!(
            feed.changes(&format!("insert into posts values ({turn})"))
                .await,
            [format!("create posts {turn}")]
        );
        assert_eq!(rotate(&feed.client, "'0'", "0", "0").await, "rotated");
    }
    run(&long, "insert into posts values (100); commit").await;
    let lines: Vec<_> = feed.events().await.iter().map(line).collect();
    assert_eq!(lines, ["create posts 100"]);
}

#[tokio::test]
async fn a_reader_that_was_away_for_longer_than_the_log_reports_a_gap() {
    let mut feed = Feed::open_with(POSTS, &["posts"], |options| {
        // Long enough to turn the log while it is away.
        options.capture.reconnect_delay_min = Duration::from_secs(2);
        options.capture.reconnect_delay_max = Duration::from_secs(2);
    })
    .await;
    feed.run("insert into posts values (1)").await;
    feed.events().await;
    feed.run("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'rowcast capture' and datname = current_database()")
        .await;
    for turn in 2..8 {
        feed.run(&format!("insert into posts values ({turn})"))
            .await;
        assert_eq!(rotate(&feed.client, "'0'", "0", "0").await, "rotated");
    }
    let lines: Vec<_> = feed.events().await.iter().map(line).collect();
    assert!(lines.contains(&"resync posts ".to_owned()), "{lines:?}");
    assert!(lines.contains(&"create posts 7".to_owned()), "{lines:?}");
    assert_eq!(
        feed.changes("insert into posts values (9)").await,
        ["create posts 9"]
    );
}

#[tokio::test]
async fn with_nobody_trimming_it_a_full_log_is_closed_with_a_warning() {
    let database = database().await;
    let client = client(&database.url).await;
    run(&client, POSTS).await;
    run(
        &client,
        "update rowcast.settings set value = 100000 where name = 'log_bytes_max'",
    )
    .await;
    for number in 1..200 {
        run(
            &client,
            &format!("insert into posts values ({number}, repeat('x', 10000))"),
        )
        .await;
    }
    let recording = text(
        &client,
        "select value from rowcast.status() where item = 'recording'",
    )
    .await;
    assert_eq!(recording, "no: the log is closed; start rowcast serve");
    let (written, logged): (i64, i64) = {
        let row = client
            .query_one(
                "select (select count(*) from posts), (select count(*) from rowcast.changes)",
                &[],
            )
            .await
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(written, 199);
    assert!(logged < 199, "{logged}");
    assert_eq!(rotate(&client, "'0'", "0", "0").await, "closed");
    assert_eq!(
        text(&client, "select rowcast.open_log()").await,
        "another database"
    );
}

#[tokio::test]
async fn a_closed_log_is_opened_although_a_long_transaction_has_written_to_it() {
    let mut feed = Feed::open(POSTS, &["posts"]).await;
    let long = client(&feed.database.url).await;
    run(&long, "begin; insert into posts values (1)").await;
    feed.run("select setval('rowcast.log_slot', 0)").await;
    let found = text(&feed.client, "select rowcast.open_log()").await;
    assert_eq!(found, "closed");
    run(&long, "commit").await;
    let mut lines: Vec<_> = Vec::new();
    while lines.last().is_none_or(|last| last != "create posts 2") {
        feed.run("insert into posts values (2) on conflict do nothing")
            .await;
        lines.extend(feed.events().await.iter().map(line));
    }
    assert!(lines.contains(&"resync posts ".to_owned()), "{lines:?}");
    assert!(lines.contains(&"create posts 1".to_owned()), "{lines:?}");
}
