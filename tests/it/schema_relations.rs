//! What the catalog knows of relations: foreign keys, declarations, unique columns, types.

use std::fs;

use rowcast::catalog::{self, Catalog, Field, TypeClass};
use rowcast::db::{Database, DatabaseOptions};
use tokio_postgres::Client;

use crate::support::feed::{run, text};
use crate::support::{TestDatabase, client, database, empty_database};

async fn prepared(setup: &str) -> (TestDatabase, Client) {
    let database = database().await;
    let client = client(&database.url).await;
    run(&client, setup).await;
    (database, client)
}

async fn client_for(database: &TestDatabase) -> Client {
    client(&database.url).await
}

async fn load(database: &TestDatabase) -> Catalog {
    let database = Database::new(&DatabaseOptions::new(&database.url)).unwrap();
    catalog::load(&database).await.unwrap()
}

fn field<'a>(catalog: &'a Catalog, name: &str) -> &'a Field {
    let (collection, field) = name.split_once('.').unwrap();
    let collection = catalog.find(collection).unwrap();
    &collection.fields[collection.field(field).unwrap()]
}

/// Where a field points to, as `collection.field`; `-` if nowhere.
fn target(catalog: &Catalog, name: &str) -> String {
    match &field(catalog, name).relation {
        Some(to) => format!("{}.{}", catalog.get(to.collection).unwrap().name, to.field),
        None => "-".to_owned(),
    }
}

#[track_caller]
fn expect_targets(catalog: &Catalog, expected: &[(&str, &str)]) {
    for (name, to) in expected {
        assert_eq!(target(catalog, name), *to, "{name}");
    }
}

#[tokio::test]
async fn a_foreign_key_of_one_column_to_an_attached_table_is_a_relation() {
    let (database, client) = prepared(
        "create table members (id uuid primary key, email text unique, secret text unique);
         create table strangers (id integer primary key);
         create table pairs (a integer, b integer, primary key (a, b));
         create table posts (
             id integer primary key, parent integer references posts, author uuid references members,
             mail text references members (email), unseen text references members (secret),
             stranger integer references strangers, a integer, b integer, plain integer,
             later uuid, foreign key (a, b) references pairs);
         alter table posts add constraint later_fk foreign key (later) references members not valid;
         create table parts (id integer, post integer references posts, primary key (id)) partition by range (id);
         create table parts_a partition of parts default;
         create table notes (id integer primary key, part integer references parts);
         select rowcast.attach('members', never_captured => array['secret']);
         select rowcast.attach('pairs'); select rowcast.attach('posts', name => 'articles');
         select rowcast.attach('parts'); select rowcast.attach('notes')",
    )
    .await;
    let catalog = load(&database).await;
    expect_targets(
        &catalog,
        &[
            ("articles.parent", "articles.id"),
            ("articles.author", "members.id"),
            ("articles.mail", "members.email"),
            ("articles.unseen", "-"),
            ("articles.stranger", "-"),
            ("articles.a", "-"),
            ("articles.b", "-"),
            ("articles.plain", "-"),
            ("articles.later", "members.id"),
            ("parts.post", "articles.id"),
            ("notes.part", "parts.id"),
        ],
    );
    run(
        &client,
        "select rowcast.attach('strangers'); alter table posts rename author to writer;
         alter table members rename email to address",
    )
    .await;
    let catalog = load(&database).await;
    expect_targets(
        &catalog,
        &[
            ("articles.stranger", "strangers.id"),
            ("articles.writer", "members.id"),
            ("articles.mail", "members.address"),
        ],
    );
}

#[tokio::test]
async fn of_two_foreign_keys_the_first_to_an_attached_table_counts() {
    let (database, client) = prepared(
        "create table a (id integer primary key); create table b (id integer primary key);
         create table posts (id integer primary key, x integer,
             constraint x_1 foreign key (x) references a, constraint x_2 foreign key (x) references b);
         select rowcast.attach('b'); select rowcast.attach('posts')",
    )
    .await;
    expect_targets(&load(&database).await, &[("posts.x", "b.id")]);
    run(&client, "select rowcast.attach('a')").await;
    expect_targets(&load(&database).await, &[("posts.x", "a.id")]);
}

#[tokio::test]
async fn arrays_and_columns_without_a_foreign_key_are_declared() {
    let (database, client) = prepared(
        "create domain key as integer; create domain keys as key[];
         create table members (id bigint primary key, tag varchar(10));
         create table teams (id text primary key, members int[], boss key, all_of keys, lead text, others int[]);
         select rowcast.attach('members');
         select rowcast.attach('teams', relations =>
             '{\"members\": \"members\", \"boss\": \"members\", \"all_of\": \"members\", \"lead\": \"teams\",
               \"others\": \"coming\", \"mates\": \"members.teams_via_boss\"}')",
    )
    .await;
    let catalog = load(&database).await;
    expect_targets(
        &catalog,
        &[
            ("teams.members", "members.id"),
            ("teams.boss", "members.id"),
            ("teams.all_of", "members.id"),
            ("teams.lead", "teams.id"),
            ("teams.others", "-"),
        ],
    );
    let teams = catalog.find("teams").unwrap();
    assert_eq!(teams.aliases.len(), 1, "{:?}", teams.aliases);
    assert_eq!(&*teams.aliases["mates"], "members.teams_via_boss");
    assert!(field(&catalog, "teams.members").is_list());
    run(
        &client,
        "create table coming (id integer primary key); select rowcast.attach('coming')",
    )
    .await;
    expect_targets(&load(&database).await, &[("teams.others", "coming.id")]);
    // What no longer fits is no relation, and a new column takes its name back.
    run(
        &client,
        "alter table coming alter id type text; alter table teams add mates text;
         select rowcast.attach('members', name => 'people');
         alter table teams rename boss to chief",
    )
    .await;
    let catalog = load(&database).await;
    expect_targets(
        &catalog,
        &[
            ("teams.others", "-"),
            ("teams.members", "people.id"),
            ("teams.chief", "-"),
        ],
    );
    assert!(catalog.find("teams").unwrap().aliases.is_empty());
}

#[tokio::test]
async fn what_is_declared_goes_before_a_foreign_key() {
    let (database, _client) = prepared(
        "create table a (id integer primary key); create table b (id integer primary key);
         create table posts (id integer primary key, x integer references a, y integer references a);
         select rowcast.attach('a'); select rowcast.attach('b');
         select rowcast.attach('posts', relations => '{\"x\": \"b\", \"y\": \"none\"}')",
    )
    .await;
    expect_targets(
        &load(&database).await,
        &[("posts.x", "b.id"), ("posts.y", "-")],
    );
}

#[tokio::test]
async fn relations_stay_when_they_are_not_given_and_follow_a_new_name() {
    let (_database, client) = prepared(
        "create table members (id integer primary key, friends integer[], name text);
         create table teams (id integer primary key, members integer[]);
         select rowcast.attach('members', relations => '{\"friends\": \"members\"}');
         select rowcast.attach('teams', relations => '{\"members\": \"members\"}')",
    )
    .await;
    for (call, expected) in [
        ("attach('teams')", "teams: nothing to change"),
        (
            "attach('teams', relations => '{\"members\": \"members\"}')",
            "teams: nothing to change",
        ),
        (
            "attach('members', name => 'people')",
            "people: renamed members to people",
        ),
        (
            "attach('teams', relations => '{\"members\": \"people\"}')",
            "teams: nothing to change",
        ),
        (
            "attach('people', name => 'people', relations => '{\"friends\": \"people\"}')",
            "people: nothing to change",
        ),
        (
            "attach('teams', relations => '{\"members\": \"people\", \"boss\": \"members.boss\"}')",
            "teams: relations are now: boss = members.boss, members = people",
        ),
        (
            "attach('teams', relations => '{}')",
            "teams: relations are now: none",
        ),
    ] {
        let call = call.replace("'people', name", "'members', name");
        let said = text(&client, &format!("select rowcast.{call}")).await;
        assert_eq!(said, expected, "{call}");
    }
}

#[tokio::test]
async fn a_column_is_unique_by_an_index_over_itself_alone() {
    let (database, _client) = prepared(
        "create table posts (id integer primary key, slug text unique, late text unique deferrable, two text, three text,
             part text, lowered text, covering text, plain text, unique (two, three));
         create unique index on posts (part) where plain is not null;
         create unique index on posts (lower(lowered));
         create unique index on posts (covering) include (plain);
         create index on posts (plain);
         create table parts (id integer, other integer, primary key (id)) partition by range (id);
         create table parts_a partition of parts default;
         create unique index on parts_a (other);
         select rowcast.attach('posts'); select rowcast.attach('parts')",
    )
    .await;
    let catalog = load(&database).await;
    for (name, unique) in [
        ("posts.id", true),
        ("posts.slug", true),
        ("posts.late", true),
        ("posts.covering", true),
        ("posts.two", false),
        ("posts.three", false),
        ("posts.part", false),
        ("posts.lowered", false),
        ("posts.plain", false),
        ("parts.id", true),
        ("parts.other", false),
    ] {
        assert_eq!(field(&catalog, name).unique, unique, "{name}");
    }
}

#[tokio::test]
async fn types_are_known_by_names_that_any_session_understands() {
    let (database, client) = prepared(
        "create schema \"my types\"; create type \"my types\".\"Mood\" as enum ('good');
         create domain \"my types\".code as varchar(20) check (value <> '');
         create table posts (id uuid primary key, short smallint, long bigint, name name, fixed char(4), shortened varchar(9),
             code \"my types\".code, mood \"my types\".\"Mood\", moods \"my types\".\"Mood\"[], codes \"my types\".code[],
             price numeric(10, 2), at timestamptz(3), one \"char\", bits bit(4));
         select rowcast.attach('posts');
         do $$ begin execute format('alter database %I set search_path = \"my types\", public', current_database()); end $$",
    )
    .await;
    let catalog = load(&database).await;
    for (name, sql, class) in [
        ("id", "uuid", TypeClass::Uuid),
        ("short", "smallint", TypeClass::Integer),
        ("long", "bigint", TypeClass::Integer),
        ("name", "name", TypeClass::Text),
        ("fixed", "bpchar", TypeClass::Text),
        ("shortened", "character varying", TypeClass::Text),
        ("code", "character varying", TypeClass::Text),
        ("mood", "\"my types\".\"Mood\"", TypeClass::Other),
        ("moods", "\"my types\".\"Mood\"", TypeClass::Other),
        ("codes", "character varying", TypeClass::Text),
        ("price", "numeric", TypeClass::Other),
        ("at", "timestamp with time zone", TypeClass::Other),
        ("one", "\"char\"", TypeClass::Other),
        ("bits", "\"bit\"", TypeClass::Other),
    ] {
        let column_type = &field(&catalog, &format!("posts.{name}")).column_type;
        assert_eq!(
            (&*column_type.sql, column_type.class),
            (sql, class),
            "{name}"
        );
        run(&client, &format!("select null::{sql}")).await;
    }
}

#[tokio::test]
async fn relations_that_cannot_be_are_refused_with_a_way_out() {
    let (_database, client) = prepared(
        "create table members (id integer primary key); create table pairs (a integer, b integer, primary key (a, b));
         create table teams (id integer primary key, members integer[], names text[], secret integer, never integer,
             price numeric);
         create table prices (id numeric(4, 2) primary key);
         select rowcast.attach('members'); select rowcast.attach('pairs'); select rowcast.attach('prices');
         select rowcast.attach('teams', relations => '{\"price\": \"prices\", \"Later\": \"a.b\"}')",
    )
    .await;
    let crowd: Vec<String> = (0..65).map(|n| format!("\"a{n}\": \"a.b\"")).collect();
    let crowd = format!("{{{}}}", crowd.join(", "));
    for (relations, message, hint) in [
        ("[]", "of type array, not an object", "For example"),
        ("null", "of type null, not an object", "For example"),
        (&crowd, "more than 64 relations", "Leave out"),
        (
            r#"{"members": 1}"#,
            "'members' is of type number",
            "name of a collection",
        ),
        (
            r#"{"members": null}"#,
            "'members' is of type null",
            "name of a collection",
        ),
        (
            r#"{"member": "members"}"#,
            "column 'member', which public.teams has not got",
            "has a dot",
        ),
        (
            r#"{"member": "members"}"#,
            "has not got",
            "The columns are: id, members",
        ),
        (
            r#"{"ctid": "members"}"#,
            "has not got",
            "The columns are: id, members",
        ),
        (
            r#"{"members": ""}"#,
            "'' of 'members' is no collection",
            "whose keys it holds",
        ),
        (
            r#"{"members": "a b"}"#,
            "is no collection",
            "whose keys it holds",
        ),
        (
            r#"{"secret": "members"}"#,
            "'secret' is hidden or never captured",
            "or show it",
        ),
        (
            r#"{"never": "members"}"#,
            "'never' is hidden or never captured",
            "or show it",
        ),
        (
            r#"{"members": "pairs"}"#,
            "key is not one column",
            "primary key of one column",
        ),
        (
            r#"{"names": "members"}"#,
            "type text, but the keys of 'members' are of type integer",
            "array of it",
        ),
        (
            r#"{"names": "teams"}"#,
            "type text, but the keys of 'teams' are of type integer",
            "array of it",
        ),
        (
            r#"{"members": "prices"}"#,
            "type integer, but the keys of 'prices' are of type numeric",
            "array of it",
        ),
        (
            r#"{"members": "a.b"}"#,
            "'members' cannot be a name for a path",
            "another name",
        ),
        (r#"{"id": "a.b"}"#, "'id' cannot be a name", "another name"),
        (
            r#"{"expand": "a.b"}"#,
            "'expand' cannot be a name",
            "another name",
        ),
        (
            r#"{"a_via_b": "a.b"}"#,
            "'a_via_b' is no name for a path",
            "without _via_",
        ),
        (
            r#"{"a b": "a.b"}"#,
            "'a b' is no name for a path",
            "letters, digits",
        ),
        (
            r#"{"x": "a..b"}"#,
            "'a..b', which is no path",
            "dots between them",
        ),
        (r#"{"x": ".a"}"#, "which is no path", "dots between them"),
        (r#"{"x": "a.b\n"}"#, "which is no path", "dots between them"),
        (
            r#"{"x": "a.b; drop"}"#,
            "which is no path",
            "dots between them",
        ),
    ] {
        let call = format!(
            "select rowcast.attach('teams', hidden => array['secret'], never_captured => array['never'],
                relations => '{relations}')"
        );
        let error = client.batch_execute(&call).await.expect_err(relations);
        let error = error.as_db_error().expect("the database's own");
        assert!(
            error.message().starts_with("rowcast: "),
            "{relations}: {error}"
        );
        assert!(error.message().contains(message), "{relations}: {error}");
        let said = error.hint().unwrap_or_default();
        assert!(said.contains(hint), "{relations}: {error:?}");
    }
    let kept = text(
        &client,
        "select relations::text from rowcast.collections where name = 'teams'",
    )
    .await;
    assert_eq!(kept, r#"{"Later": "a.b", "price": "prices"}"#);
}

/// How often the log says that the catalog has changed.
async fn reloads(client: &Client) -> String {
    text(
        client,
        "select count(*)::text from rowcast.changes where op = 'C'",
    )
    .await
}

#[tokio::test]
async fn servers_read_the_catalog_again_when_relations_or_tables_change() {
    let (_database, client) = prepared(
        "create table members (id integer primary key);
         create table teams (id integer primary key, members integer[], boss integer);
         select rowcast.attach('members'); select rowcast.attach('teams'); select rowcast.open_log();",
    )
    .await;
    let tend = "select rowcast.tend_triggers(), rowcast.tend_hidden(), rowcast.tend_shapes()";
    let mut before = reloads(&client).await;
    for (change, reloaded) in [
        (
            "select rowcast.attach('teams', relations => '{\"members\": \"members\"}')",
            true,
        ),
        ("select rowcast.attach('teams')", true),
        (tend, false),
        (
            "alter table teams add constraint f foreign key (boss) references members",
            false,
        ),
        (tend, true),
        (tend, false),
        (
            "alter table teams drop constraint f; select rowcast.attach('teams')",
            true,
        ),
        (tend, false),
        ("create unique index on teams (boss)", false),
        (tend, true),
        (
            "create index on teams (boss); insert into teams values (1)",
            false,
        ),
        (tend, false),
        ("alter table teams alter boss type bigint", false),
        (tend, true),
        (tend, false),
        ("drop table members cascade", false),
        (tend, true),
        (tend, false),
    ] {
        run(&client, change).await;
        let now = reloads(&client).await;
        assert_eq!(now != before, reloaded, "{change}: {before}, {now}");
        before = now;
    }
}

#[tokio::test]
async fn an_upgrade_keeps_every_collection_as_it_was() {
    let database = empty_database().await;
    let client = client(&database.url).await;
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = fs::read_dir(migrations)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    run(
        &client,
        "create schema rowcast; create table rowcast.schema_history (version integer)",
    )
    .await;
    for file in &files[..4] {
        run(&client, &fs::read_to_string(file).unwrap()).await;
    }
    run(
        &client,
        "create table members (id integer primary key, email text unique, hash text);
         create table posts (id integer primary key, author integer references members, note text);
         select rowcast.attach('members', kind => 'auth', password => 'hash', list_rule => '');
         select rowcast.attach('posts', name => 'articles', view_rule => 'id = 1', hidden => array['note'])",
    )
    .await;
    let kept = "select jsonb_agg(to_jsonb(c) - 'relations' - 'shape' - 'templates' order by key)::text
        || (select jsonb_agg(to_jsonb(p) order by id)::text from rowcast.casbin_rule p)
        || (select string_agg(tgname || tgfoid::regproc::text, ',' order by oid) from pg_trigger where not tgisinternal)
        from rowcast.collections c";
    let before = text(&client, kept).await;
    for file in &files[4..] {
        run(&client, &fs::read_to_string(file).unwrap()).await;
    }
    assert_eq!(text(&client, kept).await, before);
    for (call, expected) in [
        (
            "attach('members', kind => 'auth', password => 'hash', list_rule => '')",
            "members: nothing to change",
        ),
        (
            "attach('posts', name => 'articles', view_rule => 'id = 1', hidden => array['note'])",
            "articles: nothing to change",
        ),
        ("tend_shapes()::text", "0"),
    ] {
        let said = text(&client, &format!("select rowcast.{call}")).await;
        assert_eq!(said, expected, "{call}");
    }
    let catalog = load(&database).await;
    expect_targets(&catalog, &[("articles.author", "members.id")]);
    let open = text(
        &client,
        "select count(*)::text from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         where p.pronamespace = 'rowcast'::regnamespace and a.grantee = 0",
    )
    .await;
    assert_eq!(open, "0", "functions that everybody may call");
}

#[tokio::test]
async fn reading_the_catalog_waits_for_no_lock_and_holds_none() {
    let (database, client) = prepared(
        "create table first (id integer primary key) partition by range (id);
         create table first_part partition of first default;
         create table second (id integer primary key, first integer references first);
         select rowcast.attach('first'); select rowcast.attach('second');",
    )
    .await;
    // Whoever truncates or alters a table has it for itself until the transaction ends.
    run(
        &client,
        "begin; lock table first, second in access exclusive mode",
    )
    .await;
    let catalog = load(&database).await;
    expect_targets(&catalog, &[("second.first", "first.id")]);
    let tending = client_for(&database).await;
    run(
        &tending,
        "set lock_timeout = '1ms'; select rowcast.tend_shapes()",
    )
    .await;
    run(&client, "rollback").await;
}
