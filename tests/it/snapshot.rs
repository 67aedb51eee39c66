//! The option `snapshot`: what there is, a marker, and then what happens, with nothing missed or repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::relations::{MEMBERS_ONLY, docs, teams};
use crate::support::feed::run;
use crate::support::people::stream;
use crate::support::{DEADLINE, Event, Feed, Sse, client, with_query};

const TABLES: &str = "
    create table teams (id text primary key, name text);
    create table posts (id integer primary key, status text not null default 'open', n integer not null default 0,
                        team text references teams, secret text default 'hush');
    insert into teams values ('t', 'The team');
    select rowcast.attach('teams', view_rule => '');
    select rowcast.attach('posts', list_rule => 'status = \"open\"', view_rule => '', hidden => array['secret']);";

fn snapshot() -> String {
    with_query("posts/*", json!({ "snapshot": "1" }))
}

/// The events of a topic up to the one that ends the snapshot, which is the last.
async fn up_to_ready(stream: &mut Sse, topic: &str) -> Vec<(String, Value)> {
    let mut told = Vec::new();
    loop {
        let event = stream.next_event(DEADLINE).await;
        if event.name != topic {
            continue;
        }
        let (action, record) = event.change();
        let ends = action == "ready" || action == "resync";
        told.push((action, if ends { event.json() } else { record }));
        if ends {
            return told;
        }
    }
}

/// The next events, as many as are to come, and no more. A mark alone would not do: what a subscription is told of the
/// time since its snapshot may come after what happens meanwhile under another one.
async fn exactly(feed: &mut Feed, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let event = feed.stream.next_event(DEADLINE).await;
        if event.name != "mark" {
            events.push(event);
        }
    }
    let more = feed.events().await;
    assert!(more.is_empty(), "{more:?} after {events:?}");
    events
}

fn ids(told: &[(String, Value)]) -> Vec<i64> {
    let rows = told.iter().filter(|(action, _)| action == "snapshot");
    rows.map(|(_, record)| record["id"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn last(told: &[(String, Value)]) -> &Value {
    &told.last().unwrap().1
}

#[tokio::test]
async fn what_there_is_comes_in_the_order_of_keys_then_the_marker_then_what_happens() {
    let mut feed = Feed::open(TABLES, &[]).await;
    feed.run("insert into posts (id, status, team) values (10, 'open', 't'), (9, 'draft', 't'), (2, 'open', 't')")
        .await;
    let options = json!({ "snapshot": 1, "filter": "n = 0", "fields": "id,expand.team.name", "expand": "team" });
    let (plain, shaped) = (snapshot(), with_query("posts", options));
    let one = with_query("posts/9", json!({ "snapshot": "1" }));
    feed.run("insert into posts (id, n) values (3, 1)").await;
    // Until the next change nobody can say that this one had nothing to tell, so what follows a snapshot waits for it.
    feed.run("select pg_current_xact_id()").await;
    feed.stream.subscribe(&[&plain, "mark"]).await;
    let told = up_to_ready(&mut feed.stream, &plain).await;
    assert_eq!(ids(&told), [2, 3, 10]);
    let record = &told[0].1;
    assert_eq!(record["collectionName"], "posts");
    assert_eq!((record.get("secret"), record.get("expand")), (None, None));
    let ready = last(&told);
    assert_eq!(
        (&ready["action"], &ready["count"]),
        (&json!("ready"), &json!(3))
    );
    assert_eq!(
        (&ready["record"]["id"], &ready["record"]["collectionName"]),
        (&json!(""), &json!("posts"))
    );
    // A list that keeps it goes on, and what is new in it has a snapshot of its own.
    feed.stream.subscribe(&[&plain, &shaped, "mark"]).await;
    let told = up_to_ready(&mut feed.stream, &shaped).await;
    assert_eq!(
        told[0].1,
        json!({ "id": "2", "expand": { "team": { "name": "The team" } } })
    );
    assert_eq!(last(&told)["count"], 2);
    feed.stream
        .subscribe(&[&plain, &shaped, &one, "mark"])
        .await;
    let told = up_to_ready(&mut feed.stream, &one).await;
    assert_eq!((ids(&told), &last(&told)["count"]), (vec![9], &json!(1)));
    feed.run("update posts set status = 'open' where id = 9; delete from posts where id = 2")
        .await;
    let events = exactly(&mut feed, 5).await;
    let mut told: Vec<_> = events
        .iter()
        .map(|event| (event.change().0, &*event.name))
        .collect();
    told.sort();
    let mut expected = [
        ("update", &*plain),
        ("update", &*shaped),
        ("update", &*one),
        ("delete", &*plain),
        ("delete", &*shaped),
    ]
    .map(|(action, topic)| (action.to_owned(), topic));
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn thousands_of_rows_come_page_by_page_without_a_hole() {
    let mut feed = Feed::open(TABLES, &[]).await;
    feed.run("insert into posts (id) select generate_series(1, 5432)")
        .await;
    let topic = snapshot();
    feed.stream.subscribe(&[&topic]).await;
    let told = up_to_ready(&mut feed.stream, &topic).await;
    let expected: Vec<i64> = (1..=5432).collect();
    assert_eq!(ids(&told), expected);
    assert_eq!(last(&told)["count"], 5432);
}

#[tokio::test]
async fn more_rows_than_may_be_are_refused_and_changes_come_all_the_same() {
    let mut feed = Feed::open_with(TABLES, &[], |options| options.hub.snapshot_rows_max = 10).await;
    feed.run("insert into posts (id) select generate_series(1, 11)")
        .await;
    feed.events().await;
    let topic = snapshot();
    feed.stream.subscribe(&[&topic, "mark"]).await;
    let told = up_to_ready(&mut feed.stream, &topic).await;
    let refusal = last(&told);
    assert_eq!(
        (
            &refusal["action"],
            &refusal["reason"],
            &refusal["record"]["id"]
        ),
        (&json!("resync"), &json!("too_many_rows"), &json!(""))
    );
    feed.run("delete from posts where id = 11").await;
    assert_eq!(exactly(&mut feed, 1).await[0].change().0, "delete");
    // Few that may be seen among many: looked at up to twenty times as many.
    feed.run("insert into posts (id, status) select i, 'draft' from generate_series(12, 300) i")
        .await;
    let mut other = feed.subscribe(&[&topic]).await;
    let told = up_to_ready(&mut other, &topic).await;
    assert_eq!(last(&told)["reason"], "too_many_rows");
    feed.run("delete from posts where id > 150").await;
    let mut other = feed.subscribe(&[&topic]).await;
    let told = up_to_ready(&mut other, &topic).await;
    assert_eq!((ids(&told).len(), &last(&told)["count"]), (10, &json!(10)));
}

#[tokio::test]
async fn who_may_see_nothing_is_sent_nothing_but_the_marker_and_of_a_locked_collection_not_even_that()
 {
    let tables = "
        create table mine (id text primary key, owner text);
        create table locked (id text primary key);
        insert into mine values ('a', 'ann'), ('b', 'bob');
        insert into locked values ('secret');
        select rowcast.attach('mine', list_rule => 'owner = @request.auth.id && @request.auth.id != \"\"');
        select rowcast.attach('locked');";
    let mut feed = Feed::open(tables, &[]).await;
    let topics = ["mine/*", "locked/*", "nowhere/*", "locked/secret"]
        .map(|topic| with_query(topic, json!({ "snapshot": "1" })));
    let mut names: Vec<&str> = topics.iter().map(String::as_str).collect();
    names.push("mark");
    feed.stream.subscribe(&names).await;
    let told = up_to_ready(&mut feed.stream, &topics[0]).await;
    assert_eq!((told.len(), &last(&told)["count"]), (1, &json!(0)));
    feed.run("insert into mine values ('c', 'ann'); insert into locked values ('other')")
        .await;
    assert_eq!(feed.events().await.len(), 0);
    let seen = feed.stream.seen().iter();
    assert!(
        seen.clone()
            .all(|event| !event.data.contains("locked") && !event.data.contains("ann"))
    );
}

/// The record that is created last.
const LAST: i64 = 1_000_000;

/// The table as a client knows it, from what it was told.
#[derive(Debug, Default)]
struct Copy {
    rows: BTreeMap<i64, i64>,
    ready: bool,
}

impl Copy {
    fn take(&mut self, event: &Event) {
        let (action, record) = event.change();
        let id: i64 = record["id"].as_str().unwrap().parse().unwrap_or_default();
        let n = record["n"].as_i64().unwrap_or_default();
        match &*action {
            "snapshot" => {
                assert!(!self.ready, "a row of the snapshot after the marker");
                assert_eq!(self.rows.insert(id, n), None, "{id} twice");
            }
            "ready" => {
                assert_eq!(event.json()["count"], self.rows.len());
                self.ready = true;
            }
            "create" => assert_eq!(self.rows.insert(id, n), None, "{id} created twice"),
            "update" => {
                let before = self.rows.insert(id, n);
                // Each update adds one, so that one that is missed or repeated shows.
                assert_eq!(before, Some(n - 1), "{id} updated from what it was not");
            }
            "delete" => assert_eq!(self.rows.remove(&id), Some(n), "{id} deleted"),
            other => panic!("{other}: {event:?}"),
        }
        assert!(
            self.ready || action == "snapshot",
            "{action} before the marker"
        );
    }
}

#[tokio::test]
async fn with_writers_at_work_the_snapshot_and_what_follows_are_the_table_exactly() {
    // The streams are not read while others begin.
    let feed = Feed::open_with(TABLES, &[], |options| options.hub.mailbox_frames = 200_000).await;
    feed.run("insert into posts (id) select generate_series(1, 1500)")
        .await;
    let topic = snapshot();
    let url = feed.database.url.clone();
    let until = Instant::now() + Duration::from_secs(6);
    let writers: Vec<_> = (0..4i64)
        .map(|writer| {
            let url = url.clone();
            tokio::spawn(async move {
                let client = client(&url).await;
                let mut step = 0i64;
                while Instant::now() < until {
                    step += 1;
                    let (id, fresh) = (
                        1 + (step * 37 + writer * 11) % 1500,
                        10_000 * (writer + 1) + step,
                    );
                    let sql = format!(
                        "begin; update posts set n = n + 1 where id = {id};
                         insert into posts (id) values ({fresh}); commit;
                         delete from posts where id = {};
                         begin; delete from posts where id = {fresh}; rollback",
                        10_000 * (writer + 1) + step - 5
                    );
                    // Two who wait for each other are none of our business.
                    if client.batch_execute(&sql).await.is_err() {
                        let _ = client.batch_execute("rollback").await;
                    }
                }
            })
        })
        .collect();
    let mut copies = Vec::new();
    for _ in 0..4 {
        let stream = feed.subscribe(&[&topic]).await;
        copies.push((stream, Copy::default()));
        tokio::task::yield_now().await;
        let (stream, copy) = copies.last_mut().unwrap();
        while !copy.ready {
            let event = stream.next_event(DEADLINE).await;
            if event.name == topic {
                copy.take(&event);
            }
        }
    }
    for writer in writers {
        timeout(DEADLINE, writer).await.unwrap().unwrap();
    }
    feed.run(&format!("insert into posts (id) values ({LAST})"))
        .await;
    let rows = feed
        .client
        .query("select id, n from posts", &[])
        .await
        .unwrap();
    let table: BTreeMap<i64, i64> = rows
        .iter()
        .map(|row| {
            (
                i64::from(row.get::<_, i32>(0)),
                i64::from(row.get::<_, i32>(1)),
            )
        })
        .collect();
    for (stream, mut copy) in copies {
        let mut stream = stream;
        // Whatever a subscription is told comes in order, so nothing comes after this.
        while !copy.rows.contains_key(&LAST) {
            let event = stream.next_event(DEADLINE).await;
            if event.name == topic {
                copy.take(&event);
            }
        }
        let wrong: Vec<_> = table
            .iter()
            .filter(|(id, n)| copy.rows.get(id) != Some(n))
            .chain(copy.rows.iter().filter(|(id, _)| !table.contains_key(id)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_or_unsubscribes_takes_its_snapshot_with_it() {
    let mut feed = Feed::open(TABLES, &[]).await;
    feed.run("insert into posts (id) select generate_series(1, 9000)")
        .await;
    let topic = snapshot();
    for _ in 0..6 {
        drop(feed.subscribe(&[&topic]).await);
        let gone = feed.subscribe(&[&topic]).await;
        gone.subscribe(&["mark"]).await;
    }
    feed.stream.subscribe(&[&topic, "mark"]).await;
    let told = up_to_ready(&mut feed.stream, &topic).await;
    assert_eq!(last(&told)["count"], 9000);
    let open = "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'";
    crate::support::eventually(DEADLINE, || async {
        let row = feed.client.query_one(open, &[]).await.unwrap();
        match row.get::<_, i64>(0) {
            0 => Ok(()),
            more => Err(format!("{more} transactions are open")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_name_to_resume_by_does_not_replace_the_snapshot() {
    let feed = Feed::open(TABLES, &[]).await;
    feed.run("insert into posts (id) values (1), (2)").await;
    let options = json!({ "snapshot": "1", "resume": "0123456789abcdef0123" });
    let topic = with_query("posts/*", options);
    for expected in [vec![1, 2], vec![1, 2, 3]] {
        let mut stream = Sse::connect(&feed.server.base).await;
        stream.subscribe(&[&topic]).await;
        let told = up_to_ready(&mut stream, &topic).await;
        assert_eq!(ids(&told), expected);
        assert_eq!(told.len(), expected.len() + 1, "{told:?}");
        drop(stream);
        feed.run("insert into posts (id) values (3) on conflict do nothing")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_cannot_be_decided_about_are_not_left_out_in_silence() {
    let setup = [teams(), docs("docs", MEMBERS_ONLY), docs("open", "")].concat();
    let feed = Feed::open(&setup, &["open"]).await;
    feed.run("insert into docs values ('a', 't1')").await;
    let topic = with_query("docs/*", json!({ "snapshot": "1" }));
    let migration = client(&feed.database.url).await;
    run(
        &migration,
        "begin; lock table memberships in access exclusive mode",
    )
    .await;
    // The first one waits for the lock in vain; the second one finds the rows held back.
    for _ in 0..2 {
        let mut anna = stream(&feed, "anna", &[&topic]).await;
        let told = up_to_ready(&mut anna, &topic).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(last(&told)["action"], "resync");
        assert_eq!(last(&told)["reason"], "unavailable");
    }
    run(&migration, "rollback").await;
}
