//! Messages of the application: rows of the log, told in its order, once committed, and again to who was away.

use rowcast::app::AppOptions;
use rowcast::event::PrincipalName;
use rowcast::messages::{NewMessage, SendError};
use serde_json::json;
use tokio_postgres::error::DbError;

use crate::support::feed::run;
use crate::support::{
    DEADLINE, Event, Feed, Server, Sse, client, database, eventually, server::options, with_query,
};

const POSTS: &str = "create table posts (id text primary key, n integer);
     select rowcast.attach('posts', list_rule => '', view_rule => '');";
const KEY: &str = "0123456789abcdef_-";

/// A message's data, or a change's action and id.
fn told(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match event.json()["action"].as_str() {
        Some(_) => {
            let (action, record) = event.change();
            format!("{action} {}", record["id"].as_str().unwrap())
        }
        None => format!("{} {}", event.name, event.data),
    };
    events.iter().map(word).collect()
}

async fn refusal(feed: &Feed, sql: &str) -> DbError {
    let error = feed.client.batch_execute(sql).await;
    let error = error.expect_err(sql);
    error.as_db_error().cloned().expect("an answer of Postgres")
}

#[tokio::test]
async fn a_message_stands_among_the_changes_of_its_transaction_and_ends_with_it() {
    let mut feed = Feed::open(POSTS, &["posts/*", "chat"]).await;
    feed.run(
        "begin; select rowcast.send('chat', '{\"n\":0}'); insert into posts values ('gone'); rollback;
         begin;
         select rowcast.send('chat', '{\"n\":1}');
         insert into posts values ('a'), ('b');
         select rowcast.send('chat', '{\"n\":2}'), rowcast.send('chat', '{\"n\":3}');
         update posts set n = 1 where id = 'a';
         commit;
         select rowcast.send('chat', '\"alone\"');
         select rowcast.send('other', '{}');",
    )
    .await;
    assert_eq!(
        told(&feed.events().await),
        [
            r#"chat {"n": 1}"#,
            "create a",
            "create b",
            r#"chat {"n": 2}"#,
            r#"chat {"n": 3}"#,
            "update a",
            r#"chat "alone""#,
        ]
    );
}

#[tokio::test]
async fn what_a_trigger_sends_does_not_turn_round_the_changes_of_a_record() {
    let setup = format!(
        "{POSTS}
         create function follow() returns trigger language plpgsql as $$ begin
             update posts set n = 2 where id = new.id;
             perform rowcast.send('chat', to_jsonb(new.id));
             return null;
         end $$;
         create trigger follow after insert on posts for each row execute function follow();"
    );
    let mut feed = Feed::open(&setup, &["posts/*", "chat"]).await;
    feed.run("insert into posts values ('a', 1)").await;
    let events = feed.events().await;
    let told = told(&events);
    let changes: Vec<_> = told
        .iter()
        .filter(|told| !told.starts_with("chat"))
        .collect();
    assert_eq!(changes, ["create a", "update a"], "{told:?}");
    assert_eq!(
        told.iter().filter(|told| *told == "chat \"a\"").count(),
        1,
        "{told:?}"
    );
    let last = events.iter().rfind(|event| event.name == "posts/*");
    assert_eq!(last.unwrap().change().1["n"], 2);
}

#[tokio::test]
async fn large_and_odd_data_arrives_as_one_line_intact() {
    let mut feed = Feed::open("", &["chat", "chat/é 7"]).await;
    let long = "ü\n\r\u{2028}\\\"'".repeat(10_000);
    let data = json!({ "long": long, "list": [1.5, null, true, {"a": []}] });
    assert!(data.to_string().len() > 100_000);
    let send = "select rowcast.send($1, $2::text::jsonb)";
    for topic in ["chat", "chat/é 7"] {
        let sent = feed.client.query(send, &[&topic, &data.to_string()]).await;
        sent.unwrap();
    }
    for (event, topic) in feed.events().await.iter().zip(["chat", "chat/é 7"]) {
        assert_eq!((event.name.as_str(), event.json()), (topic, data.clone()));
        assert_eq!(event.raw.lines().count(), 3, "id, event and data");
    }
}

#[tokio::test]
async fn bad_arguments_are_refused_with_their_name_and_a_remedy() {
    let mut feed = Feed::open(POSTS, &["posts/*", "posts", "chat", "*"]).await;
    let id = feed
        .client
        .query_one(
            "select id from rowcast.collections where name = 'posts'",
            &[],
        )
        .await
        .unwrap()
        .get::<_, String>(0);
    for (arguments, argument, problem) in [
        ("null, '{}'", "topic", "needs a topic"),
        ("'', '{}'", "topic", "needs a topic"),
        ("e'chat\\ndata:x', '{}'", "topic", "line breaks"),
        ("e'chat\\u0085', '{}'", "topic", "control characters"),
        ("'chat?x', '{}'", "topic", "question mark"),
        ("repeat('x', 256), '{}'", "topic", "255 bytes, not 256"),
        ("'*', '{}'", "topic", "reserved"),
        ("'PB_CONNECT', '{}'", "topic", "reserved"),
        ("'posts', '{}'", "topic", "belongs to the collection posts"),
        (
            "'posts/*', '{}'",
            "topic",
            "belongs to the collection posts",
        ),
        (
            "'posts/a', '{}'",
            "topic",
            "belongs to the collection posts",
        ),
        (
            &format!("'{id}/a', '{{}}'"),
            "topic",
            "belongs to the collection posts",
        ),
        ("'chat', null", "data", "needs data"),
        ("'chat', '7'", "data", "not a bare number"),
        ("'chat', 'null'", "data", "not a bare null"),
        (
            "'chat', to_jsonb(repeat('x', 1048576))",
            "data",
            "1048576 bytes as text, not 1048578",
        ),
        ("'chat'", "data", "needs data"),
        (
            "'chat', '{}', template => 'line.html'",
            "data",
            "data or a template, not both",
        ),
        (
            "'chat', template => ''",
            "template",
            "the name of a template",
        ),
        ("'chat', '{}', context => '{}'", "context", "there is none"),
        (
            "'chat', template => 'line.html', context => '[]'",
            "context",
            "must be an object, not a bare array",
        ),
        (
            "'chat', template => 'line.html', context => jsonb_build_object('x', repeat('x', 1048576))",
            "context",
            "1048576 bytes as text",
        ),
        ("'chat', '{}', to_client => ''", "to_client", "client id"),
        (
            "'chat', '{}', to_principal => 'ann'",
            "to_principal",
            "a collection and an id",
        ),
        ("'chat', '{}', filter => ''", "filter", "65536 bytes"),
    ] {
        let error = refusal(&feed, &format!("select rowcast.send({arguments})")).await;
        assert_eq!(error.column(), Some(argument), "{arguments}: {error}");
        assert!(error.message().contains(problem), "{arguments}: {error}");
        assert!(
            error.hint().is_some_and(|hint| hint.len() > 20),
            "{arguments}: {error:?}"
        );
    }
    feed.run("select rowcast.send('postscript', to_jsonb(repeat('x', 1048574)))")
        .await;
    assert_eq!(told(&feed.events().await), [] as [&str; 0]);
}

#[tokio::test]
async fn what_pretends_to_be_a_change_or_cannot_be_read_is_told_to_nobody() {
    let topics = ["posts/*", "posts", "posts/a", "*", "chat"];
    let mut feed = Feed::open(POSTS, &topics).await;
    for (envelope, data) in [
        (r#"{"topic":"posts/*"}"#, "{}"),
        (r#"{"topic":"posts/a"}"#, "{}"),
        (r#"{"topic":"*"}"#, "{}"),
        (r#"{"topic":"chat","unless":"guest"}"#, "{}"),
        (r#"{"topic":"chat"}"#, "{"),
        ("", "{}"),
    ] {
        let sql = "insert into rowcast.changes (slot, xid, lsn, n, collection, op, old, new)
             values (1, pg_current_xact_id(), pg_current_wal_insert_lsn(), 1, 0, 'M', $1, $2)";
        feed.client.execute(sql, &[&envelope, &data]).await.unwrap();
    }
    feed.run("select rowcast.send('chat', '{}')").await;
    assert_eq!(told(&feed.events().await), ["chat {}"]);
    let text = feed.server.metrics.encode();
    assert!(text.contains(r#"gaps_total{reason="message"} 3"#), "{text}");
}

#[tokio::test]
async fn only_roles_with_the_right_to_send_may_send() {
    let mut feed = Feed::open("", &["chat"]).await;
    let role = format!("app_{}", feed.database.name);
    feed.run(&format!("create role {role}; set role {role}"))
        .await;
    for grant in [
        "usage on schema rowcast",
        "execute on function rowcast.send",
    ] {
        let error = refusal(&feed, "select rowcast.send('chat', '{}')").await;
        assert_eq!(error.code().code(), "42501", "{error:?}");
        feed.run(&format!(
            "reset role; grant {grant} to {role}; set role {role}"
        ))
        .await;
    }
    feed.run("select rowcast.send('chat', '[1]')").await;
    refusal(&feed, "select * from rowcast.changes").await;
    feed.run("reset role").await;
    assert_eq!(told(&feed.events().await), ["chat [1]"]);
    feed.run(&format!("drop owned by {role}; drop role {role}"))
        .await;
}

#[tokio::test]
async fn a_sleeping_server_is_rung_by_a_message_alone() {
    let mut feed = Feed::open("", &["chat"]).await;
    let asleep = "select pg_sequence_last_value('rowcast.bell') & 1 = 1";
    eventually(DEADLINE, || async {
        let row = feed.client.query_one(asleep, &[]).await.unwrap();
        row.get::<_, bool>(0).then_some(()).ok_or("awake")
    })
    .await;
    feed.run("select rowcast.send('chat', '{}')").await;
    assert_eq!(feed.stream.next_event(DEADLINE).await.name, "chat");
}

/// Reads up to a message with this data; the data of all, and the last id.
async fn read_to(stream: &mut Sse, last: &str) -> (Vec<String>, String) {
    let (mut seen, mut last_id) = (Vec::new(), String::new());
    loop {
        let event = stream.next_event(DEADLINE).await;
        last_id = event.id.unwrap_or(last_id);
        if event.data.is_empty() {
            continue;
        }
        seen.push(event.data);
        if seen.last().is_some_and(|data| data == last) {
            return (seen, last_id);
        }
    }
}

#[tokio::test]
async fn a_stream_that_was_cut_hears_the_messages_it_missed() {
    let database = database().await;
    let writer = client(&database.url).await;
    let start = |history: usize| {
        let mut options: AppOptions = options(&database.url);
        options.hub.history_frames = history;
        Server::start_with(options)
    };
    let send = async |data: &str| {
        let sql = format!("select rowcast.send('chat', '\"{data}\"')");
        run(&writer, &sql).await;
    };
    let keyed = with_query("chat", json!({ "resume": KEY }));
    let mut server = start(65_536).await;
    let mut plain = Sse::connect_plain(&server.base, &["chat"], None, |request| request).await;
    let mut by_key = server.subscribe(&[&keyed]).await;
    send("first").await;
    let (_, mut last_id) = read_to(&mut plain, "\"first\"").await;
    assert_eq!(by_key.next_event(DEADLINE).await.name, keyed);
    // Out of the hub's memory; then out of the log, after a restart and with no memory at all.
    for (turn, history) in [(1, 65_536), (2, 1)] {
        drop((plain, by_key));
        send(&format!("missed {turn}")).await;
        if turn > 1 {
            server.stop().await;
            server = start(history).await;
        }
        send(&format!("missed again {turn}")).await;
        let base = &server.base;
        let last = format!("\"live {turn}\"");
        plain = Sse::connect_plain(base, &["chat"], Some(&last_id), |request| request).await;
        by_key = server.subscribe(&[&keyed]).await;
        send(&format!("live {turn}")).await;
        let (seen, id) = read_to(&mut plain, &last).await;
        last_id = id;
        let missed = [
            format!("\"missed {turn}\""),
            format!("\"missed again {turn}\""),
            last.clone(),
        ];
        assert_eq!(seen, missed);
        // What was told shortly before the cut may come again.
        let (seen, _) = read_to(&mut by_key, &last).await;
        assert!(seen.ends_with(&missed), "{seen:?}");
    }
}

#[tokio::test]
async fn messages_that_cannot_be_told_any_more_are_a_resync() {
    let database = database().await;
    let writer = client(&database.url).await;
    let server = Server::start(&database).await;
    let stream = Sse::connect_plain(&server.base, &["chat"], Some("x:1:1:"), |request| request);
    let mut stream = stream.await;
    run(&writer, "select rowcast.send('chat', '\"live\"')").await;
    let (seen, _) = read_to(&mut stream, "\"live\"").await;
    assert_eq!(seen, [r#"{"action":"resync"}"#, "\"live\""]);
}

#[tokio::test]
async fn an_embedding_application_sends_through_the_log_or_at_once() {
    let mut feed = Feed::open(POSTS, &["chat"]).await;
    let mut other = feed.subscribe(&["chat"]).await;
    let messenger = feed.server.messenger.clone();
    let hello = || NewMessage::new("chat", json!({"text": "hello"}));
    messenger.send(&hello()).await.unwrap();
    let id = feed.stream.client_id.clone();
    messenger.send(&hello().to_client(&id)).await.unwrap();
    let nobody = PrincipalName::parse("members/1").unwrap();
    messenger.send(&hello().to_principal(nobody)).await.unwrap();
    messenger
        .send(&hello().to_those(&format!("@client.id != '{id}'")))
        .await
        .unwrap();
    assert_eq!(feed.events().await.len(), 2);
    assert_eq!(Feed::drain(&mut other).await.len(), 2);
    let refused = messenger.send(&NewMessage::new("posts", json!({}))).await;
    assert!(
        matches!(&refused, Err(SendError::Invalid { argument, .. }) if argument == "topic"),
        "{refused:?}"
    );
    let refused = messenger.send(&hello().to_those("@client.store.")).await;
    assert!(matches!(refused, Err(SendError::Filter(_))), "{refused:?}");
    let refused = messenger
        .send(&NewMessage::new("chat", json!({"a": "\0"})))
        .await;
    assert!(
        matches!(&refused, Err(SendError::Invalid { argument, .. }) if argument == "data"),
        "{refused:?}"
    );
}
