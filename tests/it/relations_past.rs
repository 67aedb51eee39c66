//! Deletes under rules that read other records: those are looked at as they were before.

use crate::relations::{MEMBERS_ONLY, docs, heard, teams};
use crate::support::people::stream;
use crate::support::{Feed, Sse};

async fn opened(extra: &str) -> (Feed, Sse, Sse) {
    let topics = ["docs", "tasks"];
    let feed = Feed::open(&[&*teams(), extra].concat(), &topics).await;
    let anna = stream(&feed, "anna", &topics).await;
    let ben = stream(&feed, "ben", &topics).await;
    (feed, anna, ben)
}

#[tokio::test]
async fn what_goes_with_its_team_is_told_to_those_who_were_its_members() {
    let (mut feed, mut anna, mut ben) = opened(&docs("docs", MEMBERS_ONLY)).await;
    feed.run(
        "update members set home = null; insert into docs values ('a', 't1'), ('b', 't1'), ('c', 't2')",
    )
    .await;
    feed.mark().await;
    assert_eq!(heard(&mut anna).await, ["create docs a", "create docs b"]);
    assert_eq!(heard(&mut ben).await, ["create docs c"]);
    heard(&mut feed.stream).await;
    // With the team go its memberships, by the same cascade.
    feed.run("delete from teams where id = 't1'").await;
    feed.mark().await;
    let mut deleted = heard(&mut anna).await;
    deleted.sort();
    assert_eq!(deleted, ["delete docs a", "delete docs b"]);
    assert_eq!(heard(&mut ben).await, [""; 0]);
    assert_eq!(heard(&mut feed.stream).await, [""; 0]);
    // Taken out of the team first, and then deleted, in one transaction: as before it.
    feed.run(
        "begin; delete from memberships where team = 't2'; delete from docs where id = 'c'; commit",
    )
    .await;
    feed.mark().await;
    assert_eq!(heard(&mut ben).await, ["delete docs c"]);
    assert_eq!(heard(&mut anna).await, [""; 0]);
}

#[tokio::test]
async fn a_condition_on_a_parent_does_not_open_because_the_parent_is_gone() {
    let (mut feed, ..) = opened(
        "alter table teams add column secret boolean not null default false;
         create table docs (id text primary key, team text references teams on delete cascade);
         select rowcast.attach('docs', list_rule => 'team.secret != true');
         update members set home = null; update teams set secret = true where id = 't1';",
    )
    .await;
    feed.run("insert into docs values ('hidden', 't1'), ('shown', 't2')")
        .await;
    feed.mark().await;
    assert_eq!(heard(&mut feed.stream).await, ["create docs shown"]);
    feed.run("delete from teams where id = 't1'; delete from teams where id = 't2'")
        .await;
    feed.mark().await;
    assert_eq!(heard(&mut feed.stream).await, ["delete docs shown"]);
}

#[tokio::test]
async fn what_is_set_free_by_its_teams_end_is_judged_as_it_is_then() {
    let (mut feed, mut anna, mut ben) = opened(&format!(
        "create table tasks (id text primary key, team text references teams on delete set null);
         select rowcast.attach('tasks', list_rule => '{}');
         create table docs (id text primary key, team text references teams on delete set null);
         select rowcast.attach('docs', list_rule => 'team = \"\"');
         update members set home = null;",
        MEMBERS_ONLY
    ))
    .await;
    feed.run("insert into tasks values ('a', 't1'); insert into docs values ('b', 't1')")
        .await;
    feed.mark().await;
    assert_eq!(heard(&mut anna).await, ["create tasks a"]);
    heard(&mut ben).await;
    heard(&mut feed.stream).await;
    feed.run("delete from teams where id = 't1'").await;
    feed.mark().await;
    for stream in [&mut anna, &mut ben, &mut feed.stream] {
        assert_eq!(heard(stream).await, ["update docs b"]);
    }
}
