//! Related tables that do not answer in time.

use std::time::{Duration, Instant};

use reqwest::get;
use serde_json::Value;

use crate::relations::{MEMBERS_ONLY, docs, metric, teams};
use crate::support::feed::{line, run};
use crate::support::people::stream;
use crate::support::{DEADLINE, Feed, Sse, client};

/// Action and id of the next event.
async fn next(stream: &mut Sse) -> String {
    let (action, record) = stream.next_event(DEADLINE).await.change();
    match record["id"].as_str() {
        Some(id) if !id.is_empty() => format!("{action} {id}"),
        _ => action,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_stops_nobody_and_those_it_concerns_are_told_to_load_afresh() {
    let setup = [teams(), docs("docs", MEMBERS_ONLY), docs("open", "")].concat();
    let mut feed = Feed::open(&setup, &["open"]).await;
    let mut anna = stream(&feed, "anna", &["docs"]).await;
    feed.run("insert into docs values ('a', 't1')").await;
    assert_eq!(next(&mut anna).await, "create a");

    let migration = client(&feed.database.url).await;
    run(
        &migration,
        "begin; lock table memberships in access exclusive mode",
    )
    .await;
    let began = Instant::now();
    feed.run("insert into docs values ('b', 't1'); insert into open values ('b', null)")
        .await;
    assert_eq!(next(&mut anna).await, "resync");
    assert_eq!(next(&mut feed.stream).await, "create b");
    assert!(began.elapsed() < Duration::from_secs(4), "{began:?}");

    // Nobody waits for the lock any more, and nobody is told again with every event.
    let before = metric(
        &feed,
        "rowcast_related_fetches_total{outcome=\"held_back\"}",
    );
    for n in 0..20 {
        let began = Instant::now();
        feed.run(&format!(
            "insert into docs values ('c{n}', 't1'); insert into open values ('c{n}', null)"
        ))
        .await;
        assert_eq!(next(&mut feed.stream).await, format!("create c{n}"));
        assert!(began.elapsed() < Duration::from_secs(1), "{began:?}");
    }
    let after = metric(
        &feed,
        "rowcast_related_fetches_total{outcome=\"held_back\"}",
    );
    assert!(after >= before + 20.0, "{before} {after}");
    let ready = format!("{}/api/ready", feed.server.base);
    let answer: Value = get(&ready).await.unwrap().json().await.unwrap();
    assert_eq!(answer["code"], 200, "{answer}");
    assert_eq!(
        answer["data"]["lookups"][0]["collection"], "memberships",
        "{answer}"
    );

    run(&migration, "rollback").await;
    // The end of the pause: what was missed during it is told of once.
    let event = anna.next_event(DEADLINE).await;
    assert_eq!(event.change().0, "resync", "{}", line(&event));
    feed.run("insert into docs values ('d', 't1')").await;
    assert_eq!(next(&mut anna).await, "create d");
    let answer: Value = get(&ready).await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"]["lookups"], serde_json::json!([]), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alteration_that_locks_a_table_for_a_moment_is_waited_for() {
    let setup = [teams(), docs("docs", MEMBERS_ONLY)].concat();
    let feed = Feed::open(&setup, &[]).await;
    let mut anna = stream(&feed, "anna", &["docs"]).await;
    let migration = client(&feed.database.url).await;
    run(
        &migration,
        "begin; alter table memberships add column since date; insert into docs values ('a', 't1'); commit",
    )
    .await;
    assert_eq!(next(&mut anna).await, "create a");
}
