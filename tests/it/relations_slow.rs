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
async fn a_lookup_that_takes_too_long_is_tried_again_after_a_pause() {
    // Writing a team as JSON takes as long as the knob says.
    let slow_teams = "
        create table knob (seconds int);
        insert into knob values (0);
        create type pace as enum ('slow');
        create function pace_as_json(pace) returns json language plpgsql as
            $$begin perform pg_catalog.pg_sleep(seconds) from public.knob; return '1'; end$$;
        create cast (pace as json) with function pace_as_json(pace);
        alter table teams add column pace pace default 'slow';";
    let setup = [
        &*teams(),
        slow_teams,
        &docs("docs", r#"team.name = "Red""#),
        &docs("open", ""),
    ]
    .concat();
    let mut feed = Feed::open(&setup, &["docs", "open"]).await;
    feed.run("insert into docs values ('a', 't1')").await;
    assert_eq!(next(&mut feed.stream).await, "create a");
    feed.run("update knob set seconds = 60").await;
    let began = Instant::now();
    feed.run("insert into docs values ('b', 't1'); insert into open values ('b', null)")
        .await;
    assert_eq!(next(&mut feed.stream).await, "resync");
    assert_eq!(next(&mut feed.stream).await, "create b");
    assert!(began.elapsed() < Duration::from_secs(5), "{began:?}");
    feed.run("insert into docs values ('c', 't1'); insert into open values ('c', null)")
        .await;
    assert_eq!(next(&mut feed.stream).await, "create c");
    feed.run("update knob set seconds = 0").await;
    assert_eq!(next(&mut feed.stream).await, "resync");
    feed.run("insert into docs values ('d', 't1')").await;
    assert_eq!(next(&mut feed.stream).await, "create d");
    assert_eq!(metric(&feed, "rowcast_rule_errors_total"), 0.0);
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
