//! Keys of every type and tables of every name: the id is the key's text, and topics find it.

use crate::support::Feed;
use crate::support::feed::line;

#[tokio::test]
async fn ids_are_the_text_of_the_key() {
    let cases = [
        (
            "id text primary key",
            "('x y'), (''), ('a/b?c*d')",
            vec!["x y", "", "a/b?c*d"],
        ),
        (
            "id text primary key",
            "(E'line\\nbreak\\r\\t\\u0085\\u2028')",
            vec!["line\nbreak\r\t\u{85}\u{2028}"],
        ),
        ("id text primary key", "('é\"\\<>&')", vec!["é\"\\<>&"]),
        (
            "id uuid primary key",
            "('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')",
            vec!["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        ),
        ("id integer primary key", "(-1), (0)", vec!["-1", "0"]),
        (
            "id bigint primary key",
            "(9223372036854775807)",
            vec!["9223372036854775807"],
        ),
        (
            "id numeric primary key",
            "(1.50), (10000000000000000000000000)",
            vec!["1.50", "10000000000000000000000000"],
        ),
        ("id boolean primary key", "(true)", vec!["true"]),
        ("id bytea primary key", "('\\x0aff')", vec!["\\x0aff"]),
        ("id char(4) primary key", "('ab')", vec!["ab  "]),
        ("id date primary key", "('2024-05-05')", vec!["2024-05-05"]),
        ("id int4range primary key", "('[1,5)')", vec!["[1,5)"]),
        ("id integer[] primary key", "('{1,2}')", vec!["[1,2]"]),
        (
            "a text, b text, primary key (b, a)",
            "('1', '2'), ('x,y', 'z/?%'), ('', '')",
            vec!["2,1", "z%2F%3F%25,x%2Cy", ","],
        ),
        ("a integer, id integer not null unique", "(1, 2)", vec!["2"]),
        (
            "a integer not null, b integer not null, unique (b, a)",
            "(1, 2)",
            vec!["2,1"],
        ),
        (
            "id integer generated always as identity primary key, n integer default 0",
            "(default), (default)",
            vec!["1", "2"],
        ),
    ];
    let tables: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(at, (key, ..))| {
            format!("create table things{at} ({key}); select rowcast.attach('things{at}', list_rule => '');")
        })
        .collect();
    let topics: Vec<_> = (0..cases.len()).map(|at| format!("things{at}")).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    let mut feed = Feed::open(&tables.join("\n"), &topics).await;
    for (at, (key, values, ids)) in cases.iter().enumerate() {
        feed.run(&format!(
            "insert into things{at} values {values}; delete from things{at}"
        ))
        .await;
        let events = feed.events().await;
        let (made, gone) = events.split_at(events.len() / 2);
        for events in [made, gone] {
            let found: Vec<_> = events
                .iter()
                .map(|event| event.change().1["id"].clone())
                .collect();
            assert_eq!(found, *ids, "{key}");
        }
    }
}

#[tokio::test]
async fn a_time_in_the_key_has_one_text_in_all_time_zones() {
    let mut feed = Feed::open(
        "create domain moment as timestamptz;
         create table things (id timestamptz primary key, n integer); create table domains (id moment primary key, n integer);
         create table pairs (a integer, b timestamptz, primary key (a, b));
         select rowcast.attach('things', list_rule => ''); select rowcast.attach('domains', list_rule => '');
         select rowcast.attach('pairs', list_rule => '');",
        &["things", "domains", "pairs"],
    )
    .await;
    for zone in ["UTC", "Asia/Kolkata", "America/St_Johns"] {
        let changes = feed
            .changes(&format!(
                "set timezone = '{zone}'; insert into things values ('2024-05-05T10:00:00Z'); insert into domains values ('2024-05-05T10:00:00Z');
                 insert into pairs values (1, '2024-05-05T10:00:00Z'); delete from things; delete from domains; delete from pairs"
            ))
            .await;
        let time = "2024-05-05T10:00:00+00:00";
        assert_eq!(
            changes,
            [
                format!("create things {time}"),
                format!("create domains {time}"),
                format!("create pairs 1,{time}"),
                format!("delete things {time}"),
                format!("delete domains {time}"),
                format!("delete pairs 1,{time}")
            ],
            "{zone}"
        );
    }
}

#[tokio::test]
async fn names_may_be_anything_postgres_allows() {
    let mut feed = Feed::open(
        r#"create schema "My ""Schema'";
           create table "My ""Schema'"."Ünï 'cødé %s $1 \table" ("The ""Key' %I" text primary key, "select" integer, "ключ" text, "a.b" text);
           select rowcast.attach('"My ""Schema''"."Ünï ''cødé %s $1 \table"', name => 'things', list_rule => '', view_rule => '',
               hidden => array['a.b']);
           create table "My ""Schema'"."Parted ""%s'" ("Id" integer primary key) partition by range ("Id");
           create table "My ""Schema'"."Part 'of ""%s" partition of "My ""Schema'"."Parted ""%s'" default;
           select rowcast.attach('"My ""Schema''"."Parted ""%s''"', name => 'parted', list_rule => '', include_replicated => true);"#,
        &["things/*", "parted"],
    )
    .await;
    feed.run(
        r#"insert into "My ""Schema'"."Ünï 'cødé %s $1 \table" values ('k', 1, 'ж', 'hush');
           insert into "My ""Schema'"."Parted ""%s'" values (1); truncate "My ""Schema'"."Parted ""%s'""#,
    )
    .await;
    let events = feed.events().await;
    let lines: Vec<_> = events.iter().map(line).collect();
    assert_eq!(
        lines,
        ["create things k", "create parted 1", "delete parted 1"]
    );
    let record = events[0].change().1;
    assert_eq!(record["ключ"], "ж");
    assert_eq!(record["The \"Key' %I"], "k");
    assert!(!events[0].data.contains("hush"));
    feed.run("select rowcast.detach('things'); select rowcast.detach('parted')")
        .await;
}

#[tokio::test]
async fn no_id_breaks_a_frame_and_ordinary_ones_are_found_by_their_topic() {
    let mut feed = Feed::open(
        "create table things (id text primary key, n integer default 0); select rowcast.attach('things', list_rule => '', view_rule => '');",
        &["things/a b", "things/a/b", "things/*", "things/é", "things/x?y"],
    )
    .await;
    feed.run(
        "insert into things values ('a b'), ('a/b'), ('*'), ('é'), ('x?y'), ('x'), (E'line\\nbreak'), (E'\\r'), (E'\\u0085'), (E'\\u2028'),
            (E'data: x\\n\\nevent: y\\n\\n')",
    )
    .await;
    let events = feed.events().await;
    let heard = |topic: &str| -> Vec<String> {
        let of_topic = events.iter().filter(|event| event.name == topic);
        of_topic
            .map(|event| event.change().1["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(heard("things/*").len(), 11, "{events:#?}");
    assert_eq!(heard("things/a b"), ["a b"]);
    assert_eq!(heard("things/a/b"), ["a/b"]);
    assert_eq!(heard("things/é"), ["é"]);
    // The part behind the question mark is options, as in PocketBase: this is the topic of record x.
    assert_eq!(heard("things/x?y"), ["x"]);
    for event in &events {
        assert_eq!(
            event.raw.lines().count(),
            if event.id.is_some() { 3 } else { 2 },
            "{event:?}"
        );
    }
}
