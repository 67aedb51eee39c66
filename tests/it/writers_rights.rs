//! What a writer may be, set up and do without being hindered or helped by our triggers.

use crate::support::Feed;
use crate::support::feed::{line, run, text};
use crate::support::{client, database};

const POSTS: &str = "
    create table posts (id text primary key, n integer);
    select rowcast.attach('posts', list_rule => '', view_rule => '');";

#[tokio::test]
async fn a_writer_needs_no_right_on_our_schema() {
    let mut feed = Feed::open(POSTS, &["posts"]).await;
    let role = format!("writer_{}", feed.database.name);
    feed.run(&format!(
        "create role {role}; grant insert, update, delete, select, truncate on posts to {role}"
    ))
    .await;
    let changes = feed
        .changes(&format!(
            "set role {role}; insert into posts values ('a', 1); update posts set n = 2; delete from posts;
             insert into posts values ('b', 1); truncate posts; reset role"
        ))
        .await;
    assert_eq!(
        changes,
        [
            "create posts a",
            "update posts a",
            "delete posts a",
            "create posts b",
            "delete posts b"
        ]
    );
    for table in [
        "changes",
        "collections",
        "casbin_rule",
        "secrets",
        "superusers",
    ] {
        let denied = feed
            .client
            .batch_execute(&format!(
                "begin; set local role {role}; select * from rowcast.{table}"
            ))
            .await;
        assert!(denied.is_err(), "{table}");
        feed.run("rollback").await;
    }
    feed.run(&format!("drop owned by {role}; drop role {role}"))
        .await;
}

#[tokio::test]
async fn a_hostile_session_changes_nothing() {
    let mut feed = Feed::open(POSTS, &["posts"]).await;
    // Not through this session: everything in it may be bewitched.
    let writer = client(&feed.database.url).await;
    run(
        &writer,
        "create schema evil;
         create function evil.lies(bigint, integer) returns boolean language plpgsql as $$ begin raise 'bewitched'; end $$;
         create function evil.lies(bigint, bigint) returns boolean language plpgsql as $$ begin raise 'bewitched'; end $$;
         create function evil.lies(text, text) returns boolean language plpgsql as $$ begin raise 'bewitched'; end $$;
         create operator evil.= (leftarg = bigint, rightarg = integer, function = evil.lies);
         create operator evil.= (leftarg = bigint, rightarg = bigint, function = evil.lies);
         create operator evil.= (leftarg = text, rightarg = text, function = evil.lies);
         create operator evil.> (leftarg = bigint, rightarg = integer, function = evil.lies);
         create function evil.row_to_json(anyelement) returns json language sql as $$ select '{}'::json $$;
         create function evil.pg_notify(text, text) returns void language plpgsql as $$ begin raise 'bewitched'; end $$;
         create function evil.row_number() returns bigint language plpgsql as $$ begin raise 'bewitched'; end $$;
         create function evil.right(text, integer) returns text language plpgsql as $$ begin raise 'bewitched'; end $$;
         create function evil.pg_current_xact_id() returns xid8 language plpgsql as $$ begin raise 'bewitched'; end $$;
         create function evil.pg_sequence_last_value(regclass) returns bigint language sql as $$ select 0::bigint $$;
         create domain evil.text as pg_catalog.text check (false);
         create table evil.changes (slot integer); create table evil.settings (name text, value bigint);
         create table evil.rowcast_new (id text); create table evil.rowcast_old (id text);
         create temporary table changes (slot integer); create temporary table rowcast_new (id text);
         create temporary table pg_trigger (tgrelid oid); create temporary table pg_class (oid oid);
         create temporary table settings (name text, value bigint);
         create function pg_temp.row_to_json(anyelement) returns json language sql as $$ select '{}'::json $$;
         set search_path = pg_temp, evil, pg_catalog, public;",
    )
    .await;
    run(
        &writer,
        "insert into posts values ('a', 1); update posts set n = 2; delete from posts where n operator(pg_catalog.=) 2;
         insert into posts values ('b', 1); truncate posts",
    )
    .await;
    let lines: Vec<_> = feed.events().await.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "create posts a",
            "update posts a",
            "delete posts a",
            "create posts b",
            "delete posts b"
        ]
    );
}

#[tokio::test]
async fn sequences_of_the_session_are_as_if_there_were_no_triggers() {
    let database = database().await;
    let client = client(&database.url).await;
    run(
        &client,
        "create table numbered (id serial primary key, t text); create table posts (id text primary key);
         select rowcast.attach('numbered'); select rowcast.attach('posts');
         select setval('rowcast.bell', (extract(epoch from now()) * 2000000)::bigint / 2 * 2 + 1);
         alter sequence numbered_id_seq restart 41; insert into numbered (t) values ('x');
         insert into posts values ('a'); delete from numbered where false; truncate posts;",
    )
    .await;
    let seen = text(
        &client,
        "select lastval()::text || currval('numbered_id_seq')",
    )
    .await;
    assert_eq!(seen, "4141");
}

#[tokio::test]
async fn what_matches_nothing_stays_a_reading_transaction() {
    let database = database().await;
    let client = client(&database.url).await;
    run(
        &client,
        "create table posts (id text primary key); select rowcast.attach('posts');
         select setval('rowcast.bell', (extract(epoch from now()) * 2000000)::bigint / 2 * 2 + 1);",
    )
    .await;
    for statement in [
        "update posts set id = 'x'",
        "delete from posts",
        "insert into posts select 'x' where false",
    ] {
        run(&client, &format!("begin; {statement}")).await;
        let assigned = text(
            &client,
            "select coalesce(pg_current_xact_id_if_assigned()::text, 'none')",
        )
        .await;
        assert_eq!(assigned, "none", "{statement}");
        run(&client, "commit").await;
    }
    let logged = text(
        &client,
        "select count(*)::text from rowcast.changes where collection <> 0",
    )
    .await;
    assert_eq!(logged, "0");
}

#[tokio::test]
async fn a_closed_log_stops_nobody_and_is_opened_with_a_gap() {
    let mut feed = Feed::open_with(POSTS, &["posts", "posts/a", "other"], |options| {
        options.capture.retention_interval = std::time::Duration::from_millis(100);
    })
    .await;
    feed.run("select setval('rowcast.log_slot', 0); insert into posts values ('lost', 1); update posts set n = 2").await;
    let mut lines = Vec::new();
    while lines.len() < 2 {
        let event = feed.stream.next_event(crate::support::DEADLINE).await;
        if event.name != "mark" {
            assert_eq!(line(&event), "resync posts ");
            lines.push(event.name);
        }
    }
    lines.sort();
    assert_eq!(lines, ["posts", "posts/a"]);
    assert_eq!(
        feed.changes("insert into posts values ('heard', 1)").await,
        ["create posts heard"]
    );
}

#[tokio::test]
async fn settings_of_the_writers_session_do_not_show() {
    let mut feed = Feed::open(
        "create type pair as (took interval, bits bytea);
         create table posts (id timestamptz primary key, took interval, bits bytea, during tstzrange, during2 tsrange, days daterange,
            at timestamptz, at2 timestamp, day date, hour time, hour2 timetz, real4 real, real8 double precision, pairs pair[],
            class regclass, numbers double precision[], multi tstzmultirange, money money);
         create table plain (id integer primary key, real8 double precision);
         select rowcast.attach('posts', list_rule => ''); select rowcast.attach('plain', list_rule => '');",
        &["posts", "plain"],
    )
    .await;
    let insert = "insert into public.posts values ('2024-05-05T10:00:00.5Z', '1 year 2 mons 3 days 04:05:06.7', '\\xdeadbeef',
        '[2024-01-01T00:00:00Z,2024-02-01T00:00:00Z)', '[2024-01-01,2024-02-01)', '[2024-01-01,2024-02-01)',
        '2024-05-05T10:00:00Z', '2024-05-05 10:00:00', '2024-05-05', '10:00', '10:00+02', 0.1::real + 0.2::real,
        0.1::float8 + 0.2::float8, array[row('1 day 2 hours'::interval, '\\x00'::bytea)::public.pair], 'public.posts',
        array[0.1::float8 + 0.2::float8], '{[2024-01-01T00:00:00Z,2024-02-01T00:00:00Z)}', 12.5);
        insert into public.plain values (1, 0.1::float8 + 0.2::float8);
        update public.plain set id = id; delete from public.plain; delete from public.posts";
    let mut first = None;
    for settings in [
        "select 1",
        "set datestyle = 'german, dmy'; set intervalstyle = iso_8601; set timezone = 'Asia/Kolkata'; set bytea_output = escape;
         set extra_float_digits = -15; set search_path = pg_catalog; set xmloption = document",
        "set datestyle = 'sql, mdy'; set intervalstyle = sql_standard; set timezone = 'America/St_Johns'; set extra_float_digits = 0",
        "set datestyle = 'postgres, ymd'; set intervalstyle = postgres_verbose; set extra_float_digits = 3",
    ] {
        feed.run(&format!("{settings}; {insert}")).await;
        let kept = text(&feed.client, "select current_setting('extra_float_digits') || current_setting('timezone')").await;
        feed.run("reset all").await;
        let expected_digits = match settings {
            s if s.contains("-15") => "-15",
            s if s.contains("digits = 0") => "0",
            s if s.contains("digits = 3") => "3",
            _ => "1",
        };
        assert!(kept.starts_with(expected_digits), "{kept} after {settings}");
        let data: Vec<_> = feed.events().await.into_iter().map(|event| event.data).collect();
        assert_eq!(data.len(), 5, "{data:#?}");
        assert!(data[1].contains("0.30000000000000004"), "{}", data[1]);
        match &first {
            None => first = Some(data),
            Some(first) => assert_eq!(&data, first, "{settings}"),
        }
    }
}
