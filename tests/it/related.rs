//! Rows of other collections, looked up in a real database.

use std::sync::Arc;

use rowcast::catalog::{self, Collection, ColumnType, TypeClass};
use rowcast::db::{Database, DatabaseOptions};
use rowcast::related::{DatabaseLibrary, Found, Library, ROWS_MAX, Reading, Want};
use rowcast::telemetry::Metrics;
use tokio_postgres::Client;

use crate::support::feed::{run, text};
use crate::support::{DEADLINE, TestDatabase, client, database, eventually};

/// A database with tables in it, and the way to their rows.
struct World {
    database: TestDatabase,
    client: Client,
    pool: Database,
}

impl World {
    async fn new(setup: &str) -> Self {
        let database = database().await;
        let client = client(&database.url).await;
        run(&client, setup).await;
        let pool = pool(&database.url);
        Self {
            database,
            client,
            pool,
        }
    }

    fn reading(&self) -> Box<dyn Reading> {
        reading(&self.pool)
    }

    async fn collection(&self, name: &str) -> Arc<Collection> {
        let catalog = catalog::load(&self.pool).await.unwrap();
        let found = catalog.find(name).unwrap();
        let types = self
            .client
            .query(
                "select a.attname::text, format_type(t.oid, a.atttypmod), coalesce(b.typname, t.typname)::text
                 from pg_attribute a
                 join pg_type own on own.oid = a.atttypid
                 join pg_type t on t.oid = case when own.typcategory = 'A' then own.typelem else own.oid end
                 left join pg_type b on b.oid = t.typbasetype
                 where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped",
                &[&format!("public.{name}")],
            )
            .await
            .unwrap();
        let mut fields = found.fields.clone();
        for row in types {
            let (name, sql, base): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let class = match base.as_str() {
                "int2" | "int4" | "int8" => TypeClass::Integer,
                "uuid" => TypeClass::Uuid,
                "text" | "varchar" | "bpchar" | "name" => TypeClass::Text,
                _ => TypeClass::Other,
            };
            if let Some(field) = fields.iter_mut().find(|field| *field.name == name) {
                let sql = sql.into();
                field.column_type = ColumnType { sql, class };
            }
        }
        let mut collection = Collection::new(found.key, name, fields);
        collection.table = found.table.clone();
        collection.key_fields = found.key_fields.clone();
        Arc::new(collection)
    }

    async fn run(&self, sql: &str) {
        run(&self.client, sql).await;
    }

    /// Runs statements in one transaction and tells which it was.
    async fn transaction(&self, sql: &str) -> u64 {
        self.run(&format!("begin; {sql}")).await;
        let xid = text(&self.client, "select pg_current_xact_id()::text").await;
        self.run("commit").await;
        xid.parse().unwrap()
    }
}

fn pool(url: &str) -> Database {
    let mut options = DatabaseOptions::new(url);
    // A connection that is not given back would be missed.
    options.pool_size_max = 1;
    Database::new(&options).unwrap()
}

fn reading(pool: &Database) -> Box<dyn Reading> {
    DatabaseLibrary::new(pool.clone(), Metrics::new()).open()
}

fn want(collection: &Arc<Collection>, equals: &[(&str, &str)]) -> Want {
    let equal = |(field, text): &(&str, &str)| (collection.field(field).unwrap(), (*text).into());
    Want {
        collection: Arc::clone(collection),
        equals: equals.iter().map(equal).collect(),
        before: None,
    }
}

fn before(xid: u64, want: Want) -> Want {
    Want {
        before: Some(xid),
        ..want
    }
}

/// The ids, joined by blanks, or what there is instead.
fn ids(found: &Found) -> String {
    match found {
        Found::Rows(rows) => {
            let ids: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
            ids.join(" ")
        }
        other => format!("{other:?}"),
    }
}

async fn look_up(reading: &mut dyn Reading, want: Want) -> String {
    let found = reading.fetch(vec![want]).await.unwrap();
    ids(&found[0].1)
}

const UUIDS: [&str; 2] = [
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a22",
];

#[tokio::test]
async fn rows_are_found_by_values_of_any_type() {
    let world = World::new(&format!(
        r#"create domain positive as integer check (value > 0);
        create table things (
            id integer primary key, small smallint, big bigint, pos positive, u uuid, t text, v varchar(3), c char(4),
            d numeric, ts timestamptz, b boolean, "a ""b" text, x text,
            ints integer[], uuids uuid[], texts text[], vs varchar(3)[], secret text);
        insert into things values
            (1, 1, 1, 1, '{0}', 'one', 'abc', 'ab', 1.0, '2026-01-01 00:00:00+00', true, 'q', 'y',
                '{{1,2}}', '{{{0}}}', '{{one,two}}', '{{abc}}', 's'),
            (2, 2, 2, 2, '{1}', 'two', 'abd', 'ac', 2.5, '2026-01-02 00:00:00+00', false, null, null,
                '{{2,3}}', '{{{0},{1}}}', '{{two}}', '{{abd}}', 's'),
            (10, null, null, null, null, '', '', '', null, null, null, null, null, null, null, null, null, null);
        create table pairs (a integer, b text, primary key (a, b));
        insert into pairs values (1, 'x,y'), (1, 'z'), (2, 'z');
        select rowcast.attach('things', never_captured => array['secret']);
        select rowcast.attach('pairs')"#,
        UUIDS[0], UUIDS[1]
    ))
    .await;
    let things = world.collection("things").await;
    let pairs = world.collection("pairs").await;
    assert_eq!(things.field("secret"), None);
    let mut reading = world.reading();
    for (equals, expected) in [
        (&[("id", "1")][..], "1"),
        (&[("id", "3000000000")], ""),
        (&[("id", "99999999999999999999")], ""),
        (&[("id", "x")], ""),
        (&[("small", "40000")], ""),
        (&[("big", "2")], "2"),
        (&[("pos", "-1")], ""),
        (&[("u", UUIDS[1])], "2"),
        (&[("u", "1")], ""),
        (&[("t", "one")], "1"),
        (&[("t", "")], "10"),
        (&[("t", "a\0b")], ""),
        (&[("t", "' or true --")], ""),
        (&[("v", "abcd")], ""),
        (&[("v", "abc")], "1"),
        (&[("c", "ab")], "1"),
        (&[("d", "1.00")], "1"),
        (&[("ts", "2026-01-02T00:00:00+00:00")], "2"),
        (&[("b", "true")], "1"),
        (&[("a \"b", "q")], "1"),
        (&[("x", "y")], "1"),
        (&[("ints", "2")], "1 2"),
        (&[("ints", "3")], "2"),
        (&[("ints", "3000000000")], ""),
        (&[("uuids", UUIDS[0])], "1 2"),
        (&[("texts", "one")], "1"),
        (&[("vs", "abcd")], ""),
        (&[("vs", "abd")], "2"),
        (&[("ints", "2"), ("t", "two")], "2"),
        (&[("ints", "2"), ("t", "three")], ""),
        (&[], "1 10 2"),
    ] {
        let found = look_up(&mut *reading, want(&things, equals)).await;
        assert_eq!(found, expected, "{equals:?}");
    }
    let found = look_up(&mut *reading, want(&pairs, &[("a", "1")])).await;
    assert_eq!(found, "1,x%2Cy 1,z");
    let found = reading.fetch(vec![want(&things, &[("id", "1")])]).await;
    let Found::Rows(rows) = &found.unwrap()[0].1 else {
        panic!("one row");
    };
    assert!(!rows[0].image.json().contains("secret"));
}

#[tokio::test]
async fn many_wants_are_answered_together_and_too_many_rows_are_none() {
    let world = World::new(
        "create table members (id integer primary key, team integer, filler text);
         create index on members (team);
         insert into members select n, n % 1000 from generate_series(1, 20000) n;
         insert into members select n, 5000 from generate_series(20001, 21001) n;
         insert into members select n, 5001 from generate_series(21002, 22001) n;
         analyze members;
         select rowcast.attach('members')",
    )
    .await;
    let members = world.collection("members").await;
    let mut reading = world.reading();
    let wants: Vec<_> = (0..500)
        .map(|team| want(&members, &[("team", &team.to_string())]))
        .collect();
    let found = reading.fetch(wants.clone()).await.unwrap();
    assert_eq!(found.len(), 500);
    for (want, found) in &found {
        let Found::Rows(rows) = found else {
            panic!("{want:?}: {found:?}");
        };
        assert_eq!(rows.len(), 20, "{want:?}");
    }
    for (team, expected) in [("5000", "TooMany"), ("5001", "rows"), ("6000", "")] {
        let found = look_up(&mut *reading, want(&members, &[("team", team)])).await;
        let expected = match expected {
            "rows" => found.split(' ').count() == ROWS_MAX,
            word => found == word,
        };
        assert!(expected, "{team}: {found}");
    }
    assert_eq!(look_up(&mut *reading, want(&members, &[])).await, "TooMany");
    // More than one go can take: what is left out is never answered in part.
    let wants: Vec<_> = (0..1_000)
        .map(|team| want(&members, &[("team", &team.to_string())]))
        .chain([want(&members, &[("team", "5001")])])
        .collect();
    let found = reading.fetch(wants).await.unwrap();
    assert!((900..=1_000).contains(&found.len()), "{}", found.len());
    for (want, found) in &found {
        assert!(
            matches!(found, Found::Rows(rows) if rows.len() == 20),
            "{want:?}"
        );
    }
}

#[tokio::test]
async fn a_table_that_has_grown_since_it_was_analyzed_is_read_by_the_index_that_fits() {
    // All are of one member, so that by what Postgres knows either index, or none, is as good.
    let world = World::new(
        "create table memberships (id integer primary key, team text, member text);
         alter table memberships set (autovacuum_enabled = off);
         create index by_member on memberships (member);
         create index by_team on memberships (team, member);
         insert into memberships select n, 't' || n, 'm1' from generate_series(1, 30) n;
         analyze memberships;
         select rowcast.attach('memberships')",
    )
    .await;
    let memberships = world.collection("memberships").await;
    let wants: Vec<_> = (1..=50)
        .map(|n| want(&memberships, &[("member", &format!("m{n}"))]))
        .collect();
    let found_by_all = || async {
        let found = world.reading().fetch(wants.clone()).await.unwrap();
        let found = found.iter().map(|(_, found)| match found {
            Found::Rows(rows) => rows.len(),
            other => panic!("{other:?}"),
        });
        found.sum::<usize>()
    };
    // On one connection: after five plans for these very keys Postgres may keep one for any.
    for _ in 0..7 {
        assert_eq!(found_by_all().await, 30);
    }
    world
        .run(
            "insert into memberships select n, 't' || n % 50, 'm' || n
             from generate_series(31, 50000) n",
        )
        .await;
    assert_eq!(found_by_all().await, 50);
    let World {
        database: _database,
        client,
        pool,
    } = world;
    // A backend reports at its end what it has not reported yet.
    drop(pool);
    // Nobody but lookups reads memberships: eight times fifty wants, of which the last fifty are for the fitting index.
    let read = "select concat_ws(' ', t.seq_tup_read, t.idx_scan >= 400, i.idx_scan >= 50)
        from pg_stat_user_tables t join pg_stat_user_indexes i using (relid)
        where i.indexrelname = 'by_member' and (
            select count(*) = 1 from pg_stat_activity where datname = current_database())";
    eventually(DEADLINE, || async {
        match client.query_opt(read, &[]).await.unwrap() {
            Some(row) if row.get::<_, &str>(0) == "0 t t" => Ok(()),
            seen => Err(seen.map(|row| row.get::<_, String>(0))),
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_that_cannot_be_read_spoils_nothing_else() {
    let world = World::new(
        "create table good (id integer primary key);
         create table locked (id integer primary key);
         create table secured (id integer primary key, name text);
         create table altered (id integer primary key, name text);
         insert into good values (1);
         insert into locked values (1);
         insert into secured values (1);
         insert into altered values (1);
         select rowcast.attach(name) from unnest(array['good', 'locked', 'secured', 'altered']::regclass[]) name",
    )
    .await;
    let mut wants = Vec::new();
    for name in ["good", "locked", "good", "secured", "altered"] {
        let id = (wants.len() % 2 + 1).to_string();
        let collection = world.collection(name).await;
        wants.push(want(&collection, &[("id", &id)]));
    }
    let role = format!("reader_{}", world.database.name);
    world
        .run(&format!(
            "create role {role} login; grant select on good, secured, altered to {role};
             alter table secured enable row level security;
             create policy few on secured using (id > 100);
             alter table altered drop column name"
        ))
        .await;
    let separator = if world.database.url.contains('?') {
        '&'
    } else {
        '?'
    };
    let pool = pool(&format!("{}{separator}user={role}", world.database.url));
    let mut reading = reading(&pool);
    for _ in 0..2 {
        let found = reading.fetch(wants.clone()).await.unwrap();
        let mut lines: Vec<_> = found
            .iter()
            .map(|(want, found)| {
                format!(
                    "{} {}: {}",
                    want.collection.name,
                    want.equals[0].1,
                    ids(found)
                )
            })
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "altered 1: Failed",
                "good 1: 1",
                "good 1: 1",
                "locked 2: Failed",
                "secured 2: Failed"
            ]
        );
    }
    drop(reading);
    world
        .run(&format!("drop owned by {role}; drop role {role}"))
        .await;
}

#[tokio::test]
async fn a_reading_shows_one_moment_and_gives_its_connection_back() {
    let world = World::new(
        "create table teams (id integer primary key, name text);
         insert into teams values (1, 'a');
         select rowcast.attach('teams')",
    )
    .await;
    let teams = world.collection("teams").await;
    let mut reading = world.reading();
    assert_eq!(look_up(&mut *reading, want(&teams, &[])).await, "1");
    world.run("insert into teams values (2, 'b')").await;
    assert_eq!(look_up(&mut *reading, want(&teams, &[])).await, "1");
    drop(reading);
    // The pool has one connection only.
    let mut reading = world.reading();
    assert_eq!(look_up(&mut *reading, want(&teams, &[])).await, "1 2");
    let terminated = "select count(pg_terminate_backend(pid))::text from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()";
    assert_ne!(text(&world.client, terminated).await, "0");
    let lost = reading.fetch(vec![want(&teams, &[])]).await;
    assert!(lost.is_err(), "{lost:?}");
    let mut reading = world.reading();
    assert_eq!(look_up(&mut *reading, want(&teams, &[])).await, "1 2");
}

#[tokio::test]
async fn rows_before_a_transaction_are_as_it_found_them() {
    let world = World::new(
        "create table teams (id integer primary key, code numeric);
         create table members (id integer primary key, team integer references teams on delete cascade);
         create table guests (id integer primary key, team integer references teams on delete set null, tags text[]);
         insert into teams select n, n from generate_series(1, 9) n;
         insert into members select n, n % 9 + 1 from generate_series(1, 18) n;
         insert into guests select n, n % 9 + 1, array['t' || n] from generate_series(1, 18) n;
         select rowcast.attach(name) from unnest(array['teams', 'members', 'guests']::regclass[]) name",
    )
    .await;
    let teams = world.collection("teams").await;
    let members = world.collection("members").await;
    let guests = world.collection("guests").await;
    for (what, sql, wanted) in [
        (
            "a cascade",
            "delete from teams where id = 1",
            vec![
                (want(&teams, &[("id", "1")]), "1"),
                (want(&members, &[("team", "1")]), "18 9"),
                (want(&guests, &[("team", "1")]), "18 9"),
                (want(&guests, &[("tags", "t9")]), "9"),
                (want(&teams, &[("id", "2")]), "2"),
            ],
        ),
        (
            "a parent that changed first",
            "update teams set code = 20 where id = 2; update teams set code = 21 where id = 2;
             delete from members where team = 2",
            vec![
                (want(&teams, &[("code", "2.0")]), "2"),
                (want(&teams, &[("code", "21")]), ""),
                (want(&members, &[("team", "2")]), "1 10"),
            ],
        ),
        (
            "a parent that was created and deleted",
            "insert into teams values (100, 7); insert into members values (100, 100); delete from teams where id = 100",
            vec![
                (want(&teams, &[("id", "100")]), ""),
                (want(&members, &[("team", "100")]), ""),
                (want(&teams, &[("code", "7")]), "7"),
            ],
        ),
        (
            "keys that move along",
            "update teams set id = id + 1000 where id = 3 and false; delete from guests;
             insert into guests values (9, 4, '{new}')",
            vec![
                (want(&guests, &[("tags", "new")]), ""),
                (want(&guests, &[("team", "4")]), "12 3"),
                (want(&guests, &[("tags", "t9")]), "9"),
            ],
        ),
        (
            "truncated",
            "truncate members",
            vec![(want(&members, &[("team", "5")]), "13 4")],
        ),
    ] {
        let xid = world.transaction(sql).await;
        let mut reading = world.reading();
        for (want, expected) in wanted {
            let found = look_up(&mut *reading, before(xid, want.clone())).await;
            let equals = &want.equals;
            assert_eq!(
                found, expected,
                "{what}: {} {equals:?}",
                want.collection.name
            );
        }
    }
    let xid = world.transaction("delete from teams where id = 4").await;
    let four = before(xid, want(&teams, &[("id", "4")]));
    assert_eq!(look_up(&mut *world.reading(), four.clone()).await, "4");
    world
        .run("select rowcast.rotate('0', 0, 0) from generate_series(1, 1)")
        .await;
    assert_eq!(look_up(&mut *world.reading(), four.clone()).await, "4");
    for _ in 0..3 {
        world.run("select rowcast.rotate('0', 0, 0)").await;
    }
    assert_eq!(look_up(&mut *world.reading(), four).await, "Failed");
}
