//! Who is sent what: topics, rules and hidden fields, from the statement to the stream.

use std::time::Duration;

use crate::support::feed::{line, run};
use crate::support::{DEADLINE, Feed, Sse, client};

const TABLES: &str = "
    create table posts (id text primary key, title text, secret text);
    create table notes (id text primary key);
    create table locked (id text primary key);
    create table ruled (id text primary key);
    select rowcast.attach('posts', list_rule => '', view_rule => '', hidden => array['secret']);
    select rowcast.attach('notes', view_rule => '');
    select rowcast.attach('locked');
    select rowcast.attach('ruled', list_rule => 'id = \"a\"', view_rule => 'id = \"a\"');";

const WRITES: &str = "
    insert into posts values ('a', 't', 'hush'); insert into notes values ('a');
    insert into locked values ('a'); insert into ruled values ('a'), ('b');";

const TOPICS: [&str; 10] = [
    "posts", "posts/*", "posts/a", "notes", "notes/a", "locked/*", "locked/a", "ruled", "ruled/a",
    "*",
];

async fn superuser(feed: &Feed, topics: &[&str]) -> Sse {
    let admin = client(&feed.database.url).await;
    let token =
        rowcast::auth::issue_superuser_token(&admin, "root@example.com", Duration::from_secs(600))
            .await
            .unwrap();
    let stream = Sse::connect(&feed.server.base).await;
    let topics: Vec<_> = topics.iter().copied().chain(["mark"]).collect();
    stream.subscribe_as(&token.token, &topics).await;
    stream
}

/// Topic and collection of everything up to the mark, the mark's own appearances left out.
async fn heard(stream: &mut Sse) -> Vec<String> {
    let events = Feed::drain(stream).await;
    let others = events
        .iter()
        .filter(|event| !line(event).contains(" mark "));
    let mut heard: Vec<_> = others
        .map(|event| format!("{}: {}", event.name, line(event)))
        .collect();
    heard.sort();
    heard
}

#[tokio::test]
async fn rules_decide_topic_by_topic_and_superusers_pass() {
    let mut feed = Feed::open(TABLES, &TOPICS).await;
    let mut root = superuser(&feed, &TOPICS).await;
    feed.run(WRITES).await;
    feed.mark().await;
    assert_eq!(
        heard(&mut feed.stream).await,
        [
            "*: create posts a",
            "*: create ruled a",
            "notes/a: create notes a",
            "posts/*: create posts a",
            "posts/a: create posts a",
            "posts: create posts a",
            "ruled/a: create ruled a",
            "ruled: create ruled a",
        ]
    );
    assert_eq!(
        heard(&mut root).await,
        [
            "*: create locked a",
            "*: create notes a",
            "*: create posts a",
            "*: create ruled a",
            "*: create ruled b",
            "locked/*: create locked a",
            "locked/a: create locked a",
            "notes/a: create notes a",
            "notes: create notes a",
            "posts/*: create posts a",
            "posts/a: create posts a",
            "posts: create posts a",
            "ruled/a: create ruled a",
            "ruled: create ruled a",
            "ruled: create ruled b",
        ]
    );
    let secrets = |stream: &Sse| {
        stream
            .seen()
            .iter()
            .filter(|event| event.data.contains("hush"))
            .count()
    };
    assert_eq!((secrets(&feed.stream), secrets(&root)), (0, 4));
}

fn with_options(topic: &str, options: &str) -> String {
    format!("{topic}?options={options}")
}

#[tokio::test]
async fn filters_and_options_decide_beside_the_rule() {
    let filtered = |topic, filter: &str| {
        let filter = filter.replace('"', "\\\"");
        with_options(topic, &format!(r#"{{"query":{{"filter":"{filter}"}}}}"#))
    };
    let texts = [
        filtered("posts", "title ~ 'T'"),
        filtered("posts/*", "title = 'other' || id = 'b'"),
        filtered("posts/a", "title = 't'"),
        filtered("posts", "secret = 'hush'"),
        filtered("posts", "title ="),
        filtered("posts", "@request.auth.id = ''"),
        filtered("posts", ""),
        filtered("locked", "id = 'a'"),
        filtered("ruled", "id != 'a'"),
        with_options("shared", r#"{"query":{"key":"b"}}"#),
        with_options("shared", r#"{"headers":{"X-Key":"a"}}"#),
        "shared".to_owned(),
        "broken".to_owned(),
    ];
    let topics: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tables = format!(
        "{TABLES}
        create table shared (id text primary key);
        create table broken (id text primary key);
        select rowcast.attach('shared', list_rule => '@request.query.key = id || @request.headers.x_key = id');
        select rowcast.attach('broken', list_rule => 'idd != \"a\"');"
    );
    let mut feed = Feed::open(&tables, &topics).await;
    feed.run(WRITES).await;
    feed.run(
        "insert into posts values ('b', 'u'); insert into shared values ('a'), ('b');
         insert into broken values ('x')",
    )
    .await;
    feed.mark().await;
    let heard = heard(&mut feed.stream).await;
    let mut expected = [
        format!("{}: create posts a", texts[0]),
        format!("{}: create posts b", texts[1]),
        format!("{}: create posts a", texts[2]),
        format!("{}: create posts a", texts[6]),
        format!("{}: create posts b", texts[6]),
        format!("{}: create shared b", texts[9]),
        format!("{}: create shared a", texts[10]),
    ];
    expected.sort();
    assert_eq!(heard, expected);
    let metrics = rowcast::telemetry::Metrics::encode(&feed.server.metrics);
    assert!(
        metrics.contains("rowcast_rule_errors_total{reason=\"invalid\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_wildcard_may_be_switched_off() {
    let mut feed = Feed::open_with(TABLES, &["*", "notes/a"], |options| {
        options.hub.wildcard = false
    })
    .await;
    let mut root = superuser(&feed, &["*"]).await;
    feed.run(WRITES).await;
    feed.mark().await;
    assert_eq!(heard(&mut feed.stream).await, ["notes/a: create notes a"]);
    assert!(heard(&mut root).await.is_empty());
}

#[tokio::test]
async fn names_ids_and_options_are_echoed_byte_for_byte_once_each() {
    let feed = Feed::open(TABLES, &[]).await;
    let id = crate::support::feed::text(
        &feed.client,
        "select id from rowcast.collections where name = 'posts'",
    )
    .await;
    let texts = [
        "posts".to_owned(),
        "posts/*".to_owned(),
        "posts/a".to_owned(),
        id.clone(),
        format!("{id}/*"),
        format!("{id}/a"),
        "posts?x=é%20".to_owned(),
        "posts/*?options={\"query\":{}}".to_owned(),
        "posts/a?".to_owned(),
        format!("{id}/a?options=%7B%7D"),
    ];
    let never = [
        "Posts",
        "posts/",
        "posts/A",
        "posts/a/",
        "post",
        "posts/**",
        " posts",
        "posts/a ",
        "PB_CONNECT",
        "@x",
        "\u{1F600}",
    ];
    let mut topics: Vec<&str> = texts.iter().map(String::as_str).collect();
    topics.extend(never);
    topics.extend(["posts", "posts/*"]);
    let mut stream = feed.subscribe(&topics).await;
    feed.run("insert into posts values ('a')").await;
    feed.mark().await;
    let mut names: Vec<_> = Feed::drain(&mut stream)
        .await
        .into_iter()
        .map(|event| event.name)
        .collect();
    names.sort();
    let mut expected = texts.to_vec();
    expected.sort();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_new_rule_holds_from_the_next_change_on() {
    let mut feed = Feed::open(TABLES, &["posts", "posts/a", "news", "news/a"]).await;
    for (change, expected) in [
        (
            "select 1",
            vec!["posts: update posts a", "posts/a: update posts a"],
        ),
        (
            "select rowcast.set_rule('posts', 'list', null)",
            vec!["posts/a: update posts a"],
        ),
        ("select rowcast.set_rule('posts', 'view', 'id = 1')", vec![]),
        (
            "select rowcast.set_rule('posts', 'list', '')",
            vec!["posts: update posts a"],
        ),
        (
            "insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values ('p', 'anyone', 'posts', 'list', '', 'deny')",
            vec![],
        ),
        (
            "delete from rowcast.casbin_rule where v4 = 'deny'",
            vec!["posts: update posts a"],
        ),
        (
            "insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values ('p', 'anyone', 'posts', 'list', 'id = 1', 'allow')",
            vec!["posts: update posts a"],
        ),
        (
            "select rowcast.set_rule('posts', 'list', ''); select rowcast.set_rule('posts', 'view', '')",
            vec!["posts: update posts a", "posts/a: update posts a"],
        ),
        (
            "select rowcast.attach('posts', name => 'news', list_rule => '', view_rule => '')",
            vec!["news: update news a", "news/a: update news a"],
        ),
        ("select rowcast.detach('news')", vec![]),
        (
            "select rowcast.attach('posts', list_rule => '')",
            vec!["posts: update posts a"],
        ),
    ] {
        feed.run("insert into posts values ('a') on conflict do nothing")
            .await;
        feed.events().await;
        // In one transaction and in one read of the log: the order within the log decides.
        feed.run(&format!(
            "begin; {change}; update posts set title = 'x'; commit"
        ))
        .await;
        let events = feed.events().await;
        let heard: Vec<_> = events
            .iter()
            .map(|event| format!("{}: {}", event.name, line(event)))
            .collect();
        assert_eq!(heard, expected, "{change}");
    }
}

#[tokio::test]
async fn who_reads_too_slowly_is_let_go_alone() {
    let mut feed = Feed::open_with(
        "create table posts (id integer primary key, body text);
         alter table posts alter body set storage external;
         select rowcast.attach('posts', list_rule => '');",
        &["posts"],
        |options| options.hub.mailbox_frames = 16,
    )
    .await;
    // Connected, subscribed, and never read until the end.
    let mut slow = feed.subscribe(&["posts"]).await;
    let writer = client(&feed.database.url).await;
    let metrics = feed.server.metrics.clone();
    let slow_gone = || {
        let labels = rowcast::telemetry::Metrics::encode(&metrics);
        labels.lines().any(|line| {
            line.contains("disconnects") && line.contains("slow") && !line.ends_with(" 0")
        })
    };
    let mut written = 0;
    while !slow_gone() {
        written += 1;
        assert!(written < 500, "the slow one still holds on");
        run(
            &writer,
            &format!("insert into posts values ({written}, repeat('x', 200000))"),
        )
        .await;
        let event = feed.stream.next_event(DEADLINE).await;
        assert_eq!(line(&event), format!("create posts {written}"));
    }
    assert_eq!(
        feed.changes("insert into posts values (0)").await,
        ["create posts 0"]
    );
    let mut last = 0;
    while let Some(event) = slow.next_or_end(DEADLINE).await {
        last += 1;
        assert_eq!(
            line(&event),
            format!("create posts {last}"),
            "no hole before the end"
        );
    }
    assert!(last < written, "{last} of {written}");
}
