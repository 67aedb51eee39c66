//! `rowcast.attach` and its kin: what they report, what they refuse, and what they leave behind.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use crate::support::feed::{run, text};
use crate::support::{DEADLINE, TestDatabase, client, database, eventually, within};

async fn prepared(setup: &str) -> (TestDatabase, Client) {
    let database = database().await;
    let client = client(&database.url).await;
    run(&client, setup).await;
    (database, client)
}

/// The error that a statement must end with.
async fn refusal(client: &Client, sql: &str) -> DbError {
    match client.batch_execute(sql).await {
        Ok(()) => panic!("accepted: {sql}"),
        Err(error) => error.as_db_error().expect("the database's own").clone(),
    }
}

#[tokio::test]
async fn attach_says_what_it_changed_and_changes_nothing_twice() {
    let (_database, client) =
        prepared("create table posts (id text primary key, title text, secret text)").await;
    for (call, expected) in [
        (
            "attach('posts')",
            "posts: attached public.posts as posts (ID); 4 triggers created",
        ),
        ("attach('posts')", "posts: nothing to change"),
        (
            "attach('posts', list_rule => '')",
            "posts: list rule is now public",
        ),
        (
            "attach('posts', list_rule => 'n = 1', view_rule => '')",
            "posts: list rule is now n = 1; view rule is now public",
        ),
        (
            "attach('posts')",
            "posts: list rule is now locked (superusers only); view rule is now locked (superusers only)",
        ),
        (
            "attach('posts', hidden => array['title', 'secret'])",
            "posts: hidden columns are now: secret, title",
        ),
        (
            "attach('posts', hidden => array['secret', 'title', 'title'])",
            "posts: nothing to change",
        ),
        (
            "attach('posts', hidden => null)",
            "posts: hidden columns are now: none",
        ),
        (
            "attach('posts', name => 'news')",
            "news: renamed posts to news",
        ),
        (
            "attach('posts', name => 'news', include_replicated => true)",
            "news: 2 triggers created",
        ),
        (
            "attach('posts', name => 'news', include_replicated => true)",
            "news: nothing to change",
        ),
        (
            "attach('posts', name => 'news')",
            "news: 4 triggers created",
        ),
        (
            "set_rule('news', 'list', '')",
            "news: list rule is now public",
        ),
        ("set_rule('news', 'list', '')", "news: nothing to change"),
        (
            "set_rule('news', 'view', 'a = ''b''')",
            "news: view rule is now a = 'b'",
        ),
        (
            "set_rule('news', 'view', null)",
            "news: view rule is now locked (superusers only)",
        ),
        ("detach('news')", "news: detached from public.posts"),
        (
            "attach('posts')",
            "posts: attached public.posts as posts (ID); 4 triggers created",
        ),
    ] {
        let said = text(&client, &format!("select rowcast.{call}")).await;
        let id = text(
            &client,
            "select coalesce((select id from rowcast.collections), 'none')",
        )
        .await;
        assert_eq!(said.replace(&id, "ID"), expected, "{call}");
    }
}

#[tokio::test]
async fn what_cannot_be_captured_is_refused_with_a_way_out() {
    let (_database, client) = prepared(
        "create table posts (id text primary key, title text);
         create table taken (id text primary key);
         create view a_view as select 1 as id;
         create materialized view a_matview as select 1 as id;
         create foreign data wrapper nowhere; create server elsewhere foreign data wrapper nowhere;
         create foreign table a_foreign (id text) server elsewhere;
         create temporary table a_temporary (id text primary key);
         create sequence a_sequence;
         create table parts (id int primary key) partition by range (id);
         create table part partition of parts for values from (1) to (10);
         create table mother (id int primary key); create table child () inherits (mother);
         alter table child add primary key (id);
         create table keyless (id text);
         create table nullable (id text unique);
         create table partial (id text not null); create unique index on partial (id) where id <> '';
         create table expression (id text not null); create unique index on expression (lower(id));
         create table deferred (id text not null unique deferrable);
         create table \"no-name\" (id text primary key);
         select rowcast.attach('taken');",
    )
    .await;
    for (call, message, hint) in [
        (
            "attach(null)",
            "attach needs a table",
            "select rowcast.attach(",
        ),
        ("attach('a_view')", "is a view", "Attach the tables"),
        ("attach('a_matview')", "is a view", "Attach the tables"),
        (
            "attach('a_foreign')",
            "is a foreign table",
            "Attach the table in the database it lives in",
        ),
        (
            "attach('a_temporary')",
            "is a temporary table",
            "permanent table",
        ),
        (
            "attach('a_sequence')",
            "is not a table",
            "Attach an ordinary",
        ),
        (
            "attach('taken_pkey')",
            "is not a table",
            "Attach an ordinary",
        ),
        (
            "attach('pg_class')",
            "belongs to the system",
            "table of your own",
        ),
        (
            "attach('rowcast.collections')",
            "belongs to the system",
            "table of your own",
        ),
        (
            "attach('part')",
            "is a partition of",
            "Attach public.parts instead",
        ),
        ("attach('mother')", "table inheritance", "no inherit"),
        ("attach('child')", "table inheritance", "no inherit"),
        (
            "attach('keyless')",
            "has no primary key",
            "alter table public.keyless add primary key",
        ),
        (
            "attach('nullable')",
            "has no primary key",
            "add primary key",
        ),
        ("attach('partial')", "has no primary key", "add primary key"),
        (
            "attach('expression')",
            "has no primary key",
            "add primary key",
        ),
        (
            "attach('deferred')",
            "has no primary key",
            "add primary key",
        ),
        (
            "attach('posts', hidden => array['titel'])",
            "cannot hide 'titel'",
            "Its columns are: id, title",
        ),
        (
            "attach('posts', hidden => array['id'])",
            "part of the key",
            "Leave it out",
        ),
        (
            "attach('posts', name => 'taken')",
            "name 'taken' is taken",
            "Give another one",
        ),
        (
            "attach('posts', name => (select id from rowcast.collections))",
            "is taken",
            "Give another one",
        ),
        (
            "attach('posts', name => '_superusers')",
            "is taken",
            "Give another one",
        ),
        (
            "attach('posts', name => 'PB_CONNECT')",
            "is taken",
            "Give another one",
        ),
        (
            "attach('posts', name => 'a/b')",
            "'a/b' is no name",
            "name => 'posts'",
        ),
        (
            "attach('posts', name => '')",
            "'' is no name",
            "name => 'posts'",
        ),
        (
            "attach('posts', name => E'a\\n')",
            "is no name",
            "name => 'posts'",
        ),
        (
            "attach('\"no-name\"')",
            "'no-name' is no name",
            "name => 'posts'",
        ),
        (
            "set_rule('nothing', 'list', '')",
            "no collection 'nothing'",
            "Attached are: taken",
        ),
        (
            "set_rule(null, 'list', '')",
            "no collection NULL",
            "Attached are: taken",
        ),
        (
            "set_rule('taken', 'read', '')",
            "no 'read' rule",
            "list and view",
        ),
        (
            "set_rule('taken', null, '')",
            "no NULL rule",
            "list and view",
        ),
        (
            "detach('nothing')",
            "no collection 'nothing'",
            "Attached are: taken",
        ),
    ] {
        let error = refusal(&client, &format!("select rowcast.{call}")).await;
        assert!(error.message().starts_with("rowcast: "), "{call}: {error}");
        assert!(error.message().contains(message), "{call}: {error}");
        assert!(
            error.hint().unwrap_or_default().contains(hint),
            "{call}: {error:?}"
        );
    }
    let attached = text(
        &client,
        "select string_agg(name, ',') from rowcast.collections",
    )
    .await;
    assert_eq!(attached, "taken");
    run(&client, "select rowcast.detach('taken')").await;
    let error = refusal(&client, "select rowcast.detach('taken')").await;
    assert!(
        error
            .hint()
            .unwrap_or_default()
            .contains("Nothing is attached yet"),
        "{error:?}"
    );
}

#[tokio::test]
async fn columns_that_records_have_no_place_for_are_pointed_out() {
    let (database, _client) = prepared(
        "create table posts (key text primary key, id integer, expand text, \"collectionId\" text)",
    )
    .await;
    let output = Command::new("/usr/lib/postgresql/15/bin/psql")
        .args([&database.url, "-Xqc", "select rowcast.attach('posts')"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for column in [
        "column id of public.posts",
        "column expand",
        "column \"collectionId\"",
    ] {
        assert!(said.contains(column), "{said}");
    }
}

#[tokio::test]
async fn a_busy_table_is_left_alone_and_its_writers_do_not_queue() {
    let (database, holder) =
        prepared("create table posts (id integer primary key, n integer)").await;
    run(&holder, "begin; insert into posts values (0)").await;
    let attacher = client(&database.url).await;
    let attaching =
        tokio::spawn(async move { refusal(&attacher, "select rowcast.attach('posts')").await });
    let writer = client(&database.url).await;
    let mut longest = Duration::ZERO;
    let mut writes = 0;
    while !attaching.is_finished() {
        writes += 1;
        let began = Instant::now();
        run(&writer, &format!("insert into posts values ({writes})")).await;
        longest = longest.max(began.elapsed());
    }
    let error = within(DEADLINE, "attach to give up", attaching)
        .await
        .unwrap();
    assert_eq!(error.code().code(), "55P03", "{error}");
    assert!(
        error
            .hint()
            .unwrap_or_default()
            .contains("Nothing was changed"),
        "{error:?}"
    );
    // 100 ms by design; the rest is for a busy machine.
    assert!(
        longest < Duration::from_millis(400),
        "{longest:?} in {writes} writes"
    );
    run(&holder, "commit; select rowcast.attach('posts')").await;
}

#[tokio::test]
async fn attach_is_part_of_the_transaction_it_is_called_in() {
    let (_database, client) = prepared(
        "begin; create schema shop; create table shop.items (id integer primary key); select rowcast.attach('shop.items');
         insert into shop.items values (1); rollback;",
    )
    .await;
    let left = text(&client, "select count(*)::text from rowcast.collections").await;
    assert_eq!(left, "0");
    run(
        &client,
        "begin; create schema shop; create table shop.items (id integer primary key); select rowcast.attach('shop.items');
         insert into shop.items values (1); commit;",
    )
    .await;
    let logged = text(
        &client,
        "select string_agg(op::text, '' order by lsn) from rowcast.changes where op <> 'C'",
    )
    .await;
    assert_eq!(logged, "I");
}

#[tokio::test]
async fn after_detach_the_schema_is_as_it_was() {
    let (database, client) = prepared(
        "create table posts (id text primary key, n integer);
         create function own() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger own after insert on posts for each row execute function own();
         create table parts (id integer primary key) partition by range (id);
         create table parts_a partition of parts for values from (0) to (10);
         create table parts_b partition of parts for values from (10) to (20) partition by range (id);
         create table parts_b_a partition of parts_b default;
         create table parts_c partition of parts default;",
    )
    .await;
    let before = dump_schema(&database);
    for replicated in ["false", "true"] {
        run(
            &client,
            &format!(
                "select rowcast.attach('posts', hidden => array['n'], include_replicated => {replicated});
                 select rowcast.attach('parts', name => 'pieces', include_replicated => {replicated});
                 create table parts_new partition of parts for values from (30) to (40);
                 select rowcast.tend_triggers();
                 alter table parts detach partition parts_c"
            ),
        )
        .await;
        assert_ne!(dump_schema(&database), before);
        run(
            &client,
            "select rowcast.detach('posts'); select rowcast.detach('pieces'); drop table parts_new;
             alter table parts attach partition parts_c default",
        )
        .await;
        assert_eq!(dump_schema(&database), before, "replicated: {replicated}");
    }
    let rules = text(&client, "select count(*)::text from rowcast.casbin_rule").await;
    assert_eq!(rules, "0");
}

fn dump_schema(database: &TestDatabase) -> String {
    let output = Command::new("/usr/lib/postgresql/15/bin/pg_dump")
        .args(["--schema-only", "--exclude-schema=rowcast", &database.url])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // From 15.14 on dumps begin and end with a random word.
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('\\'))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn a_table_that_was_dropped_leaves_its_name_to_its_successor() {
    let (_database, client) = prepared(
        "create table posts (id text primary key); select rowcast.attach('posts', list_rule => '');
         drop table posts; create table posts (id text primary key, title text);",
    )
    .await;
    let said = text(&client, "select rowcast.attach('posts')").await;
    assert!(
        said.contains("was dropped") && said.contains("attached public.posts"),
        "{said}"
    );
    let (collections, rules): (i64, i64) = {
        let row = client
            .query_one(
                "select (select count(*) from rowcast.collections), (select count(*) from rowcast.casbin_rule)",
                &[],
            )
            .await
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!((collections, rules), (1, 0));
    run(
        &client,
        "drop table posts; select rowcast.detach('posts'); select * from rowcast.status()",
    )
    .await;
}

#[tokio::test]
async fn status_tells_whether_changes_are_recorded() {
    let (database, client) =
        prepared("create table posts (id text primary key); select rowcast.attach('posts')").await;
    for (slot, expected) in [
        (1, "yes"),
        (0, "no: the log is closed; start rowcast serve"),
    ] {
        run(
            &client,
            &format!("select setval('rowcast.log_slot', {slot})"),
        )
        .await;
        let said = text(
            &client,
            "select value from rowcast.status() where item = 'recording'",
        )
        .await;
        assert_eq!(said, expected);
    }
    let _server = crate::support::Server::start(&database).await;
    eventually(DEADLINE, || async {
        let readers = text(
            &client,
            "select value from rowcast.status() where item = 'readers'",
        )
        .await;
        if readers.starts_with("asleep") {
            Ok(())
        } else {
            Err(readers)
        }
    })
    .await;
}

#[tokio::test]
async fn a_column_that_needs_it_later_gets_the_slower_trigger() {
    let (_database, client) =
        prepared("create table posts (id text primary key); select rowcast.attach('posts')").await;
    run(
        &client,
        "alter table posts add column took interval; select rowcast.tend_triggers()",
    )
    .await;
    let functions = text(
        &client,
        "select string_agg(distinct tgfoid::regproc::text, ',') from pg_trigger where tgrelid = 'posts'::regclass and not tgisinternal",
    )
    .await;
    assert_eq!(
        functions,
        "rowcast.capture_delete_pinned,rowcast.capture_insert_pinned,rowcast.capture_truncate,rowcast.capture_update_pinned"
    );
}
