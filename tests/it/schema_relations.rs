//! What the catalog knows of relations: foreign keys, declarations, unique columns, types.

use rowcast::catalog::{self, Catalog, Field, TypeClass};
use rowcast::db::{Database, DatabaseOptions};
use tokio_postgres::Client;

use crate::support::feed::{run, text};
use crate::support::{TestDatabase, client, database};

async fn prepared(setup: &str) -> (TestDatabase, Client) {
    let database = database().await;
    let client = client(&database.url).await;
    run(&client, setup).await;
    (database, client)
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
