//! A stream that comes back with its last id, and has subscriptions with a snapshot beside others.
//!
//! Found by the oracle (soak seed 7000006): the end of a snapshot told the newest position while the others were still
//! being told what they had missed. A stream cut just then came back with it, and never heard of the rest.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::feed::{run, with_query};
use crate::support::server::{Server, options};
use crate::support::{DEADLINE, Event, Sse, client, database};

/// Transactions that are missed, each of so many records, larger together than what waits for a client that does not read.
const MISSED: usize = 40;
const RECORDS: usize = 10;

/// The record, if it is a change or a record of a snapshot.
fn id(event: &Event) -> Option<String> {
    let record = (!event.data.is_empty()).then(|| event.change().1)?;
    record["id"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_position_passes_over_what_is_still_to_be_told_under_another_subscription() {
    let database = database().await;
    let writer = client(&database.url).await;
    run(
        &writer,
        "create table posts (id text primary key, body text);
         create table notes (id text primary key);
         select rowcast.attach('posts', list_rule => ''), rowcast.attach('notes', list_rule => '')",
    )
    .await;
    let mut options = options(&database.url);
    options.hub.mailbox_frames = 16;
    let server = Server::start_with(options).await;
    let notes = with_query("notes/*", json!({ "snapshot": "1" }));
    let topics = ["posts/*", &notes];
    let open = async |last_id: &str| {
        Sse::connect_plain(&server.base, &topics, Some(last_id), |request| request).await
    };
    let mut first = Sse::connect_plain(&server.base, &topics, None, |request| request).await;
    let begin = loop {
        if let Some(id) = first.next_event(DEADLINE).await.id {
            break id;
        }
    };
    drop(first);
    let mut all = BTreeSet::new();
    for transaction in 0..MISSED {
        let sql = format!(
            "insert into posts select '{transaction:02}.' || i, repeat('x', 50000) from generate_series(0, {RECORDS} - 1) i"
        );
        run(&writer, &sql).await;
        all.extend((0..RECORDS).map(|record| format!("{transaction:02}.{record}")));
    }
    let mut stream = open(&begin).await;
    // Some positions that the stream has told, all of those that were no post's, and what it had told of posts until then.
    let mut positions: Vec<(String, BTreeSet<String>)> = Vec::new();
    let mut told = BTreeSet::new();
    let mut has_noted = false;
    while told != all {
        let event = stream.next_event(DEADLINE).await;
        if event.name == "posts/*" {
            told.extend(id(&event));
        } else if event.name == notes && !has_noted {
            // The snapshot is over, and what is new is told at once.
            has_noted = true;
            assert!(
                told.len() < all.len() / 2,
                "{} posts before the snapshot",
                told.len()
            );
            run(&writer, "insert into notes values ('new')").await;
        }
        if let Some(id) = event.id
            && (event.name != "posts/*" || told.len() % 77 == 5)
        {
            positions.push((id, told.clone()));
        }
    }
    assert!(
        has_noted && positions.len() >= 5,
        "{} positions",
        positions.len()
    );
    drop(stream);
    run(&writer, "insert into posts values ('end')").await;
    for (last_id, told) in &positions {
        let mut again = open(last_id).await;
        let mut rest = BTreeSet::new();
        while !rest.contains("end") {
            let event = again.next_event(DEADLINE).await;
            rest.extend(id(&event).filter(|_| event.name == "posts/*"));
        }
        let missing: Vec<_> = all
            .iter()
            .filter(|id| !told.contains(*id) && !rest.contains(*id))
            .collect();
        assert!(
            missing.is_empty(),
            "{} told before, never told: {missing:?}",
            told.len()
        );
        let again = told.intersection(&rest).count();
        assert!(again <= RECORDS, "{again} of {} told again", told.len());
    }
}
