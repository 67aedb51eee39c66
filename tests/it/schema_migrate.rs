//! The schema's own migrations: by whom, how often, how many at once.

use rowcast::db::{Database, DatabaseOptions, migrate};

use crate::support::feed::{run, text};
use crate::support::{client, empty_database};

fn open(url: &str) -> Database {
    Database::new(&DatabaseOptions::new(url)).unwrap()
}

#[tokio::test]
async fn six_processes_may_migrate_at_once() {
    let database = empty_database().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let database = open(&database.url);
        tasks.spawn(async move { migrate(&database).await.expect("migrated").len() });
    }
    let mut applied = tasks.join_all().await;
    applied.sort_unstable();
    assert_eq!(&applied[..5], [0; 5], "{applied:?}");
    assert!(applied[5] > 0, "{applied:?}");
    assert_eq!(migrate(&open(&database.url)).await.unwrap(), []);
}

#[tokio::test]
async fn the_owner_of_a_database_needs_no_more_rights() {
    let database = empty_database().await;
    let admin = client(&database.url).await;
    let role = format!("owner_{}", database.name);
    run(
        &admin,
        &format!(
            "create role {role} login; alter database {} owner to {role}",
            database.name
        ),
    )
    .await;
    let url = as_role(&database.url, &role);
    assert!(!migrate(&open(&url)).await.expect("migrated").is_empty());
    let owner = client(&url).await;
    run(
        &owner,
        "create schema app; create table app.posts (id text primary key, t text);
         select rowcast.attach('app.posts', list_rule => ''); insert into app.posts values ('a');
         select rowcast.open_log(); select rowcast.rotate('0', 0, 0); select * from rowcast.fall_asleep();
         truncate app.posts; select rowcast.tend_triggers(); select rowcast.tend_hidden(); select * from rowcast.status();",
    )
    .await;
    // A table of somebody else, who has granted what attaching needs.
    run(
        &admin,
        &format!("create table public.theirs (id text primary key); grant trigger on public.theirs to {role}"),
    )
    .await;
    let said = text(&owner, "select rowcast.attach('public.theirs')").await;
    assert!(said.contains("4 triggers created"), "{said}");
    run(
        &admin,
        "insert into public.theirs values ('a'); truncate public.theirs",
    )
    .await;
    let logged = text(
        &owner,
        "select string_agg(op::text, '' order by lsn) from rowcast.changes where collection = 2",
    )
    .await;
    assert_eq!(
        logged, "IT",
        "what may not be read is a gap when it is truncated"
    );
    drop(owner);
    run(
        &admin,
        &format!(
            "reassign owned by {role} to current_user; drop owned by {role}; drop role {role}"
        ),
    )
    .await;
}

fn as_role(url: &str, role: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}user={role}")
}

#[tokio::test]
async fn a_copy_without_its_data_lets_writers_write_and_says_what_to_do() {
    let source = crate::support::database().await;
    run(
        &client(&source.url).await,
        "create table posts (id text primary key); select rowcast.attach('posts')",
    )
    .await;
    let copy = empty_database().await;
    super::schema_copies::copy(&source, &copy, &["--schema-only"]);
    let writer = client(&copy.url).await;
    run(&writer, "insert into posts values ('a'); update posts set id = 'b'; delete from posts; truncate posts").await;
    let error = migrate(&open(&copy.url))
        .await
        .expect_err("there is no history");
    assert!(
        error.to_string().contains("drop schema rowcast cascade"),
        "{error}"
    );
    run(
        &writer,
        "drop schema rowcast cascade; insert into posts values ('c')",
    )
    .await;
    assert!(
        !migrate(&open(&copy.url))
            .await
            .expect("migrated")
            .is_empty()
    );
    run(&writer, "select rowcast.attach('posts')").await;
}
