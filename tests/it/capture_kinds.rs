//! Every way in which SQL changes rows, and what subscribers are told.

use rowcast::db::{Database, DatabaseOptions};
use rowcast::embedded::Cluster;

use crate::support::feed::{line, run, text};
use crate::support::{DEADLINE, Feed, client, cluster_options, eventually};

const TABLES: &str = "
    create table authors (id text primary key, n integer default 0);
    create table posts (
        id text primary key,
        n integer default 0,
        author text references authors on delete cascade on update cascade,
        previous text references posts on delete set null);
    create table staging (id text, n integer);
    select rowcast.attach('authors', list_rule => '');
    select rowcast.attach('posts', list_rule => '');";

#[tokio::test]
async fn every_kind_of_statement_tells_of_each_record_once() {
    let mut feed = Feed::open(TABLES, &["authors/*", "posts/*"]).await;
    for (what, given, sql, expected) in [
        (
            "several rows",
            "",
            "insert into posts values ('a'), ('b')",
            "create posts a, create posts b",
        ),
        (
            "insert from select",
            "insert into posts values ('a')",
            "insert into posts select id || id from posts",
            "create posts aa",
        ),
        (
            "on conflict do nothing",
            "insert into posts values ('a')",
            "insert into posts values ('a'), ('b') on conflict do nothing",
            "create posts b",
        ),
        (
            "on conflict do update",
            "insert into posts values ('a')",
            "insert into posts values ('a', 1), ('b', 1) on conflict (id) do update set n = excluded.n",
            "update posts a, create posts b",
        ),
        (
            "merge",
            "insert into posts values ('a'), ('b'); insert into staging values ('a', 1), ('b', -1), ('c', 1)",
            "merge into posts p using staging s on p.id = s.id
             when matched and s.n < 0 then delete when matched then update set n = s.n
             when not matched then insert values (s.id, s.n)",
            "create posts c, delete posts b, update posts a",
        ),
        (
            "update from",
            "insert into posts values ('a'), ('b'); insert into staging values ('b', 7)",
            "update posts p set n = s.n from staging s where s.id = p.id",
            "update posts b",
        ),
        (
            "delete using",
            "insert into posts values ('a'), ('b'); insert into staging values ('b', 7)",
            "delete from posts p using staging s where s.id = p.id",
            "delete posts b",
        ),
        (
            "data-modifying CTEs",
            "insert into posts values ('a'), ('b')",
            "with gone as (delete from posts where id = 'a' returning id), changed as (update posts set n = 1 where id = 'b')
             insert into authors select id from gone",
            "delete posts a, create authors a, update posts b",
        ),
        (
            "a row replaced within one statement",
            "insert into posts values ('a', 1)",
            "with gone as (delete from posts returning *) insert into posts select id, n + 1 from gone",
            "delete posts a, create posts a",
        ),
        (
            "cascade of a delete, children first",
            "insert into authors values ('x'); insert into posts values ('a', 0, 'x')",
            "delete from authors",
            "delete posts a, delete authors x",
        ),
        (
            "cascade of a key",
            "insert into authors values ('x'); insert into posts values ('a', 0, 'x')",
            "update authors set id = 'y'",
            "delete authors x, create authors y, update posts a",
        ),
        (
            "set null",
            "insert into posts values ('a', 0, null, null), ('b', 0, null, 'a')",
            "delete from posts where id = 'a'",
            "delete posts a, update posts b",
        ),
        (
            "truncate with cascade",
            "insert into authors values ('x'); insert into posts values ('a', 0, 'x'), ('b', 0, 'x')",
            "truncate authors cascade",
            "delete posts a, delete posts b, delete authors x",
        ),
        (
            "nothing at all",
            "",
            "update posts set n = 1; delete from posts; insert into posts select 'x' where false; truncate posts",
            "",
        ),
        (
            "savepoints",
            "",
            "begin; insert into posts values ('a'); savepoint s; insert into posts values ('b');
             rollback to s; insert into posts values ('c'); release s; commit",
            "create posts a, create posts c",
        ),
        (
            "a caught exception",
            "insert into posts values ('a')",
            "do $$ begin
                insert into posts values ('b');
                begin insert into posts values ('c'); insert into posts values ('a');
                exception when unique_violation then insert into posts values ('d'); end;
             end $$",
            "create posts b, create posts d",
        ),
        (
            "a key that changes and one that does not",
            "insert into posts values ('a'), ('b')",
            "update posts set id = case id when 'a' then 'z' else id end, n = 1",
            "update posts b, delete posts a, create posts z",
        ),
    ] {
        feed.run(&format!("truncate authors, posts, staging; {given}")).await;
        feed.events().await;
        let mut changes = feed.changes(sql).await;
        if what == "merge" {
            // Which kind comes first is not said.
            changes.sort();
        }
        assert_eq!(changes.join(", "), expected, "{what}");
    }
}

#[tokio::test]
async fn keys_that_cascade_within_their_own_table_end_up_as_the_table_has_them() {
    let mut feed = Feed::open(
        "create table nodes (id integer primary key, parent integer references nodes on update cascade on delete cascade);
         select rowcast.attach('nodes', list_rule => '');
         insert into nodes values (1, null), (2, 1), (3, 2);",
        &["nodes"],
    )
    .await;
    feed.run("update nodes set id = id + 100").await;
    let events = feed.events().await;
    let last_of = |id: &str| {
        let of_one = events
            .iter()
            .rev()
            .find(|event| event.change().1["id"] == id);
        of_one.map(|event| {
            (
                event.change().0,
                event.change().1["parent"].as_i64().unwrap(),
            )
        })
    };
    for (id, action, parent) in [
        ("1", "delete", 0),
        ("2", "delete", 1),
        ("3", "delete", 2),
        ("101", "create", 0),
        ("102", "create", 101),
        ("103", "create", 102),
    ] {
        assert_eq!(
            last_of(id),
            Some((action.to_owned(), parent)),
            "{id} in {events:#?}"
        );
    }
    let mut changes = feed.changes("delete from nodes where id = 101").await;
    changes.sort();
    assert_eq!(
        changes,
        ["delete nodes 101", "delete nodes 102", "delete nodes 103"]
    );
}

#[tokio::test]
async fn copy_is_an_insert() {
    let mut feed = Feed::open(TABLES, &["posts/*"]).await;
    let sink = feed
        .client
        .copy_in("copy posts (id, n) from stdin")
        .await
        .unwrap();
    let rows = bytes::Bytes::from("a\t1\nb\t2\n");
    let mut sink = std::pin::pin!(sink);
    futures_util::SinkExt::send(&mut sink, rows).await.unwrap();
    sink.finish().await.unwrap();
    let lines: Vec<_> = feed.events().await.iter().map(line).collect();
    assert_eq!(lines, ["create posts a", "create posts b"]);
}

#[tokio::test]
async fn a_trigger_that_changes_the_record_it_fires_for_comes_after_it() {
    let mut feed = Feed::open(
        &format!(
            "{TABLES}
             create function bump() returns trigger language plpgsql as $$
             begin
                if new.n < 3 then update posts set n = n + 1 where id = new.id; end if;
                return null;
             end $$;
             create trigger bump after insert or update on posts for each row execute function bump();"
        ),
        &["posts/*"],
    )
    .await;
    feed.run("insert into posts values ('a', 1), ('b', 2)")
        .await;
    let seen: Vec<_> = feed
        .events()
        .await
        .iter()
        .map(|event| format!("{} {}", line(event), event.change().1["n"]))
        .collect();
    for (id, expected) in [
        (
            "a",
            vec!["create posts a 1", "update posts a 2", "update posts a 3"],
        ),
        ("b", vec!["create posts b 2", "update posts b 3"]),
    ] {
        let of_one: Vec<_> = seen
            .iter()
            .filter(|line| line.contains(&format!("posts {id} ")))
            .collect();
        assert_eq!(of_one, expected, "{seen:?}");
    }
}

#[tokio::test]
async fn a_trigger_may_undo_or_redo_what_it_fires_for() {
    let mut feed = Feed::open(
        &format!(
            "{TABLES}
             create function swallow() returns trigger language plpgsql as $$
             begin
                if tg_op = 'INSERT' and new.id like 'gone%' then delete from posts where id = new.id; end if;
                if tg_op = 'DELETE' and old.id like 'kept%' then insert into posts values (old.id, 100); end if;
                return null;
             end $$;
             create trigger swallow after insert or delete on posts for each row execute function swallow();
             insert into posts values ('kept', 1);"
        ),
        &["posts/*"],
    )
    .await;
    assert_eq!(
        feed.changes("insert into posts values ('gone1'), ('stays')")
            .await,
        [
            "create posts gone1",
            "delete posts gone1",
            "create posts stays"
        ]
    );
    assert_eq!(
        feed.changes("delete from posts where id = 'kept'").await,
        ["delete posts kept", "create posts kept"]
    );
}

#[tokio::test]
async fn triggers_that_write_other_tables_and_at_commit_are_heard() {
    let mut feed = Feed::open(
        &format!(
            "{TABLES}
             create function count_up() returns trigger language plpgsql as $$
             begin
                insert into authors values (new.id, 1) on conflict (id) do update set n = authors.n + 1;
                return null;
             end $$;
             create trigger count_up after insert on staging for each row execute function count_up();
             create function late() returns trigger language plpgsql as $$
             begin insert into authors values ('late ' || new.id); return null; end $$;
             create constraint trigger late after insert on posts deferrable initially deferred
                for each row execute function late();"
        ),
        &["authors/*", "posts/*"],
    )
    .await;
    assert_eq!(
        feed.changes("insert into staging values ('s'), ('s')")
            .await,
        ["create authors s", "update authors s"]
    );
    assert_eq!(
        feed.changes(
            "begin; insert into posts values ('a'); insert into posts values ('b'); commit"
        )
        .await,
        [
            "create posts a",
            "create posts b",
            "create authors late a",
            "create authors late b"
        ]
    );
}

#[tokio::test]
async fn truncate_beyond_the_limit_is_a_gap_and_later_changes_come() {
    let mut feed = Feed::open(TABLES, &["posts/*"]).await;
    feed.run(
        "update rowcast.settings set value = 3 where name = 'truncate_rows_max';
         insert into posts values ('a'), ('b'), ('c')",
    )
    .await;
    feed.events().await;
    assert_eq!(
        feed.changes("truncate posts").await,
        ["delete posts a", "delete posts b", "delete posts c"]
    );
    feed.run("insert into posts select i::text from generate_series(1, 4) i")
        .await;
    feed.events().await;
    assert_eq!(
        feed.changes("begin; insert into posts values ('x'); truncate posts; insert into posts values ('y'); commit")
            .await,
        ["create posts x", "resync posts ", "create posts y"]
    );
}

#[tokio::test]
async fn truncate_in_a_transaction_that_sees_the_past_is_a_gap() {
    let mut feed = Feed::open(TABLES, &["posts/*"]).await;
    feed.run("begin isolation level repeatable read; select 1")
        .await;
    let other = client(&feed.database.url).await;
    run(&other, "insert into posts values ('unseen')").await;
    assert_eq!(
        feed.changes("truncate posts; commit").await,
        ["create posts unseen", "resync posts "]
    );
}

#[tokio::test]
async fn replicated_writes_are_heard_where_that_was_asked_for() {
    let mut feed = Feed::open(
        &format!("{TABLES} select rowcast.attach('authors', list_rule => '', include_replicated => true);"),
        &["authors/*", "posts/*"],
    )
    .await;
    assert_eq!(
        feed.changes(
            "set session_replication_role = replica;
             insert into posts values ('a'); insert into authors values ('x'), ('y');
             update authors set n = 1 where id = 'x'; truncate authors cascade; reset session_replication_role;
             insert into authors values ('z')"
        )
        .await,
        [
            "create authors x",
            "create authors y",
            "update authors x",
            "delete authors y",
            "delete authors x",
            "create authors z"
        ]
    );
}

#[tokio::test]
async fn what_a_subscription_writes_is_heard_where_that_was_asked_for() {
    let mut options = cluster_options();
    for (name, value) in [("wal_level", "logical"), ("max_wal_senders", "4")] {
        options.settings.push((name.to_owned(), value.to_owned()));
    }
    let cluster = Cluster::start(&options).unwrap();
    let (here, there) = (cluster.url("postgres"), cluster.url("template1"));
    rowcast::db::migrate(&Database::new(&DatabaseOptions::new(&here)).unwrap())
        .await
        .unwrap();
    let (reader, writer) = (client(&here).await, client(&there).await);
    let table = "create table posts (id integer primary key, n integer default 0)";
    run(
        &writer,
        &format!("{table}; create publication p for table posts"),
    )
    .await;
    run(
        &writer,
        "select pg_create_logical_replication_slot('it', 'pgoutput')",
    )
    .await;
    run(
        &reader,
        &format!("{table}; select rowcast.attach('posts', include_replicated => true)"),
    )
    .await;
    run(
        &reader,
        &format!(
            "create subscription s connection '{there}' publication p with (create_slot = false, slot_name = 'it', copy_data = false)"
        ),
    )
    .await;
    run(
        &writer,
        "insert into posts values (1), (2); update posts set n = 1; delete from posts where id = 1; truncate posts",
    )
    .await;
    eventually(DEADLINE, || async {
        let logged = text(
            &reader,
            "select coalesce(string_agg(op::text, '' order by lsn, n), '') from rowcast.changes where collection = 1",
        )
        .await;
        if logged == "IIUUDD" { Ok(()) } else { Err(logged) }
    })
    .await;
}

#[tokio::test]
async fn prepared_transactions_work_and_arrive_when_they_are_committed() {
    let mut feed = Feed::open_with(TABLES, &["posts/*"], |options| {
        options.capture.bell = rowcast::capture::Bell::Auto;
    })
    .await;
    assert_eq!(
        feed.changes(
            "begin; insert into posts values ('a'); prepare transaction 'it_semantics_a';
             begin; insert into posts values ('b'); prepare transaction 'it_semantics_b';
             insert into posts values ('c')"
        )
        .await,
        ["create posts c"]
    );
    feed.run("rollback prepared 'it_semantics_b'").await;
    assert_eq!(
        feed.changes("commit prepared 'it_semantics_a'").await,
        ["create posts a"]
    );
}
