//! The option `leave`: what an update is to those who want to know when a record leaves what they see.

use serde_json::{Value, json};

use crate::support::{Event, Feed, Sse, TestDatabase, client, database, with_query};

const TABLES: &str = "
    create table people (id text primary key, name text);
    create table posts (id text primary key, status text not null, n integer not null, author text references people,
                        secret text default 'hush', body text default 'the body');
    insert into people values ('ann', 'Ann'), ('bob', 'Bob');
    select rowcast.attach('people');
    select rowcast.attach('posts', list_rule => 'status = \"open\"', view_rule => 'status != \"gone\"',
                          hidden => array['secret']);";

/// The action and the whole record of each event of one topic.
fn told<'e>(events: &'e [Event], topic: &str) -> Vec<(String, &'e str)> {
    let of_topic = events.iter().filter(|event| event.name == topic);
    of_topic
        .map(|event| (event.change().0, &*event.data))
        .collect()
}

fn actions(events: &[Event], topic: &str) -> Vec<String> {
    let told = told(events, topic);
    told.into_iter().map(|(action, _)| action).collect()
}

#[tokio::test]
async fn an_update_is_told_by_what_the_rule_and_the_filter_say_of_both_rows() {
    let plain = "posts/*";
    let leave = with_query("posts/*", json!({ "leave": "1" }));
    let both = with_query("posts/*", json!({ "leave": 1, "filter": "n > 10" }));
    let filtered = with_query("posts/*", json!({ "filter": "n > 10" }));
    let mut feed = Feed::open(TABLES, &[plain, &leave, &both, &filtered]).await;
    // The row before, the row after, and what each of the topics is told of it.
    for (row, (before, after, [plainly, leaving, exactly, plainly_filtered])) in [
        (
            "('open', 20)",
            "('open', 30)",
            ["update", "update", "update", "update"],
        ),
        (
            "('open', 20)",
            "('open', 1)",
            ["update", "update", "leave", ""],
        ),
        (
            "('open', 1)",
            "('open', 20)",
            ["update", "update", "create", "update"],
        ),
        ("('open', 1)", "('open', 2)", ["update", "update", "", ""]),
        ("('open', 20)", "('draft', 20)", ["", "leave", "leave", ""]),
        ("('open', 20)", "('draft', 1)", ["", "leave", "leave", ""]),
        ("('open', 1)", "('draft', 20)", ["", "leave", "", ""]),
        (
            "('draft', 20)",
            "('open', 20)",
            ["update", "create", "create", "update"],
        ),
        ("('draft', 20)", "('open', 1)", ["update", "create", "", ""]),
        ("('draft', 1)", "('draft', 20)", ["", "", "", ""]),
        ("('draft', 20)", "('gone', 20)", ["", "", "", ""]),
    ]
    .into_iter()
    .enumerate()
    {
        feed.run(&format!(
            "insert into posts (id, status, n) select 'p{row}', * from (values {before}) v"
        ))
        .await;
        feed.events().await;
        feed.run(&format!(
            "update posts set (status, n) = (select * from (values {after}) v) where id = 'p{row}'"
        ))
        .await;
        let events = feed.events().await;
        for (topic, expected) in [
            (plain, plainly),
            (&leave, leaving),
            (&both, exactly),
            (&filtered, plainly_filtered),
        ] {
            let expected: Vec<&str> = Some(expected)
                .filter(|word| !word.is_empty())
                .into_iter()
                .collect();
            assert_eq!(
                actions(&events, topic),
                expected,
                "{before} to {after} for {topic}"
            );
        }
    }
}

#[tokio::test]
async fn who_leaves_tells_nothing_but_which_record_it_was() {
    let topics = [
        json!({ "leave": "1" }),
        json!({ "leave": "1", "expand": "author" }),
        json!({ "leave": "1", "fields": "body,author" }),
        json!({ "leave": "1", "fields": "*", "expand": "author" }),
    ]
    .map(|query| with_query("posts/*", query));
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut feed = Feed::open(TABLES, &names).await;
    feed.run("insert into posts values ('a', 'open', 1, 'ann')")
        .await;
    feed.events().await;
    feed.run(
        "update posts set status = 'classified', n = 4711, author = 'bob', body = 'the new body'",
    )
    .await;
    let events = feed.events().await;
    assert_eq!(events.len(), names.len());
    for event in &events {
        let (action, record) = event.change();
        let (id, name) = (&record["collectionId"], &record["collectionName"]);
        assert_eq!((&*action, name), ("leave", &json!("posts")));
        let expected = json!({ "collectionId": id, "collectionName": "posts", "id": "a" });
        assert_eq!(record, expected, "{}", event.name);
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data.as_object().unwrap().len(), 2);
    }
    // What comes into view comes whole, as the options say.
    feed.run("update posts set status = 'open'").await;
    let events = feed.events().await;
    assert_eq!(
        told(&events, names[2]),
        [(
            "create".to_owned(),
            r#"{"record":{"author":"bob","body":"the new body"},"action":"create"}"#
        )]
    );
    let (action, record) = events[0].change();
    assert_eq!((&*action, &record["n"]), ("create", &json!(4711)));
    assert!(events.iter().all(|event| !event.data.contains("hush")));
}

#[tokio::test]
async fn a_record_topic_goes_by_the_view_rule_and_a_delete_by_the_last_row() {
    let view = with_query("posts/a", json!({ "leave": true }));
    let listing = with_query("posts", json!({ "leave": "1" }));
    let mut feed = Feed::open(TABLES, &[&view, &listing]).await;
    for (change, viewed, listed) in [
        (
            "insert into posts values ('a', 'open', 1)",
            "create",
            "create",
        ),
        ("update posts set status = 'draft'", "update", "leave"),
        ("update posts set n = 2", "update", ""),
        ("update posts set status = 'gone'", "leave", ""),
        ("update posts set n = 3", "", ""),
        ("update posts set status = 'open'", "create", "create"),
        ("update posts set id = 'b'", "delete", "delete create"),
        ("update posts set id = 'a'", "create", "delete create"),
        ("update posts set status = 'gone'", "leave", "leave"),
        ("delete from posts", "", ""),
    ] {
        feed.run(change).await;
        let events = feed.events().await;
        assert_eq!(actions(&events, &view).join(" "), viewed, "{change}");
        assert_eq!(actions(&events, &listing).join(" "), listed, "{change}");
    }
}

#[tokio::test]
async fn what_a_rule_reads_of_other_records_is_as_of_now_for_both_rows() {
    let tables = "
        create table teams (id text primary key, open boolean not null);
        create table jobs (id text primary key, team text references teams on delete set null, n integer default 0);
        insert into teams values ('t1', true), ('t2', false);
        select rowcast.attach('teams', list_rule => '');
        select rowcast.attach('jobs', list_rule => 'team.open = true');";
    let leave = with_query("jobs/*", json!({ "leave": "1" }));
    let mut feed = Feed::open(tables, &[&leave]).await;
    for (change, told) in [
        ("insert into jobs values ('j', 't1')", "create"),
        ("update jobs set n = 1", "update"),
        ("update jobs set team = 't2'", "leave"),
        ("update jobs set n = 2", ""),
        ("update jobs set team = 't1'", "create"),
        // Not an update of the record: it is still told as before when it changes next.
        ("update teams set open = false where id = 't1'", ""),
        ("update jobs set n = 3", ""),
        ("update teams set open = true where id = 't1'", ""),
        ("update jobs set n = 4", "update"),
    ] {
        feed.run(change).await;
        let events = feed.events().await;
        assert_eq!(actions(&events, &leave).join(" "), told, "{change}");
    }
}

#[tokio::test]
async fn a_principal_is_told_what_leaves_its_own_view_and_no_other() {
    let database: TestDatabase = database().await;
    let setup = format!(
        "create table users (id text primary key, email text unique, password_hash text);
         insert into users select who, who || '@x.org', '{}' from unnest('{{ann,bob}}'::text[]) who;
         create table notes (id text primary key, owner text);
         select rowcast.attach('users', kind => 'auth', identity => array['email'], password => 'password_hash');
         select rowcast.attach('notes', list_rule => 'owner = @request.auth.id && @request.auth.id != \"\"');",
        "$2b$04$4Sz1wKlPKSB8UhOiQbHROe3MNoJYWdDnX66A/x8L/UlkJHyh8A08u"
    );
    let leave = with_query("notes/*", json!({ "leave": "1" }));
    let mut feed = Feed::open_in(database, &setup, &[&leave], |_| ()).await;
    let admin = client(&feed.database.url).await;
    let mut streams = Vec::new();
    for who in ["ann", "bob"] {
        let url = format!(
            "{}/api/collections/users/auth-with-password",
            feed.server.base
        );
        let body = json!({ "identity": format!("{who}@x.org"), "password": "correct horse" });
        let answer = reqwest::Client::new()
            .post(url)
            .json(&body)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let stream = Sse::connect(&feed.server.base).await;
        let token = answer["token"].as_str().unwrap();
        stream.subscribe_as(token, &[&leave, "mark"]).await;
        streams.push(stream);
    }
    for (change, anns, bobs) in [
        ("insert into notes values ('n', 'ann')", "create", ""),
        ("update notes set owner = 'bob'", "leave", "create"),
        ("update notes set owner = 'nobody'", "", "leave"),
        ("update notes set owner = 'ann'", "create", ""),
        ("delete from notes", "delete", ""),
    ] {
        admin.batch_execute(change).await.unwrap();
        assert_eq!(
            actions(&feed.events().await, &leave).join(" "),
            "",
            "{change}"
        );
        for (stream, expected) in streams.iter_mut().zip([anns, bobs]) {
            let events = Feed::drain(stream).await;
            assert_eq!(actions(&events, &leave).join(" "), expected, "{change}");
        }
    }
}
