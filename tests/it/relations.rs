//! Rules and filters that read other records, from the statement to the stream.

use std::time::Duration;

use reqwest::get;
use rowcast::auth::issue_superuser_token;
use serde_json::Value;

use crate::support::feed::{line, text};
use crate::support::people::{BCRYPT, stream};
use crate::support::{DEADLINE, Feed, Sse, client, eventually};

/// Anna is a member of team t1, Ben of t2, Cleo of none.
pub fn teams() -> String {
    format!(
        "create table teams (id text primary key, name text, members text[] not null default '{{}}');
         create table members (
             id text primary key, email text unique, username text unique, password_hash text not null default '{BCRYPT}',
             home text references teams);
         create table memberships (
             team text references teams on delete cascade, member text references members, primary key (team, member));
         insert into teams values ('t1', 'Red', '{{anna}}'), ('t2', 'Blue', '{{ben}}');
         insert into members (id, username, home) values ('anna', 'anna', 't1'), ('ben', 'ben', 't2'), ('cleo', 'cleo', null);
         insert into memberships values ('t1', 'anna'), ('t2', 'ben');
         select rowcast.attach('members', kind => 'auth', identity => array['email', 'username'],
             password => 'password_hash');
         select rowcast.attach('teams', relations => '{{\"members\": \"members\"}}');
         select rowcast.attach('memberships');"
    )
}

/// Whoever is a member of the record's team.
pub const MEMBERS_ONLY: &str =
    r#"@request.auth.id != "" && team.memberships_via_team.member ?= @request.auth.id"#;

/// A table of records that belong to a team, with this list rule.
pub fn docs(name: &str, rule: &str) -> String {
    let rule = rule.replace('\'', "''");
    format!(
        "create table {name} (id text primary key, team text references teams on delete cascade);
         select rowcast.attach('{name}', list_rule => '{rule}');"
    )
}

/// What came since the last time, in its order.
pub async fn heard(stream: &mut Sse) -> Vec<String> {
    let events = Feed::drain(stream).await;
    events.iter().map(line).collect()
}

/// The sum of a metric's samples whose line begins like this.
pub fn metric(feed: &Feed, start: &str) -> f64 {
    let text = feed.server.metrics.encode();
    let lines = text.lines().filter(|line| line.starts_with(start));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

#[tokio::test]
async fn records_are_seen_by_whom_other_records_entitle() {
    // Who sees the record of team t1, and who that of t2.
    let cases = [
        (MEMBERS_ONLY, "anna", "ben"),
        (
            r#"@request.auth.id != "" && team.members.id ?= @request.auth.id"#,
            "anna",
            "ben",
        ),
        (
            r#"@request.auth.id != "" && team.members ?~ @request.auth.id"#,
            "anna",
            "ben",
        ),
        (
            r#"@request.auth.id != "" && people.id ?= @request.auth.id"#,
            "anna",
            "ben",
        ),
        (
            r#"@request.auth.id != "" && @collection.memberships.member ?= @request.auth.id
               && @collection.memberships.team ?= team"#,
            "anna",
            "ben",
        ),
        (
            r#"@request.auth.id != "" && @collection.memberships:own.member ?= @request.auth.id
               && @collection.memberships:its.team ?= team && @collection.memberships:its.member ?= "ben""#,
            "",
            "anna ben",
        ),
        (
            r#"@request.auth.id != "" && @request.auth.home.name = team.name"#,
            "anna",
            "ben",
        ),
        (
            r#"@request.auth.memberships_via_member.team ?= team"#,
            "anna",
            "ben",
        ),
        (r#"team.name = "Red""#, "anna ben cleo guest", ""),
        (
            r#"team.memberships_via_team.member.username ?= "ben""#,
            "",
            "anna ben cleo guest",
        ),
    ];
    let mut setup = teams();
    let mut topics = Vec::new();
    for (number, (rule, ..)) in cases.iter().enumerate() {
        setup.push_str(&docs(&format!("d{number}"), rule));
        topics.push(format!("d{number}"));
    }
    setup.push_str(r#"select rowcast.attach('d3', relations => '{"people": "team.memberships_via_team.member"}',
        list_rule => '@request.auth.id != "" && people.id ?= @request.auth.id');"#);
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut feed = Feed::open(&setup, &topics).await;
    let mut streams = Vec::new();
    for name in ["anna", "ben", "cleo"] {
        streams.push((name, stream(&feed, name, &topics).await));
    }
    for topic in &topics {
        let insert = format!("insert into {topic} values ('of_t1', 't1'), ('of_t2', 't2')");
        feed.run(&insert).await;
    }
    feed.mark().await;
    let mut seen = Vec::new();
    for (name, stream) in &mut streams {
        seen.push((*name, heard(stream).await));
    }
    seen.push(("guest", heard(&mut feed.stream).await));
    for (number, (rule, first, second)) in cases.iter().enumerate() {
        for (id, expected) in [("of_t1", first), ("of_t2", second)] {
            let line = format!("create d{number} {id}");
            let hearers = seen.iter().filter(|(_, lines)| lines.contains(&line));
            let hearers: Vec<_> = hearers.map(|(name, _)| *name).collect();
            assert_eq!(hearers.join(" "), *expected, "{id} under {rule}");
        }
    }
}

#[tokio::test]
async fn filters_look_only_at_related_records_that_their_author_may_list() {
    let mut setup = teams();
    // Teams of three kinds, and records that belong to them and are public.
    for (kind, rule) in [
        ("locked", "null"),
        ("open", "''"),
        ("annas", "'@request.auth.id = \"anna\"'"),
    ] {
        setup += &format!(
            "create table {kind} (id text primary key, name text);
             insert into {kind} values ('r', 'Red'), ('b', 'Blue');
             create table of_{kind} (id text primary key, parent text references {kind});
             select rowcast.attach('{kind}', list_rule => {rule});
             select rowcast.attach('of_{kind}', list_rule => '');"
        );
    }
    let filters = [r#"parent.name = \"Red\""#, r#"parent.name != \"Blue\""#];
    let mut topics = Vec::new();
    for kind in ["locked", "open", "annas"] {
        for filter in filters {
            let options = format!(r#"{{"query":{{"filter":"{filter}"}}}}"#);
            topics.push(format!("of_{kind}?options={options}"));
        }
    }
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut feed = Feed::open(&setup, &topics).await;
    let admin = client(&feed.database.url).await;
    let token = issue_superuser_token(&admin, "root@example.com", Duration::from_secs(600)).await;
    let mut root = Sse::connect(&feed.server.base).await;
    let with_mark: Vec<_> = topics.iter().copied().chain(["mark"]).collect();
    root.subscribe_as(&token.unwrap().token, &with_mark).await;
    let mut anna = stream(&feed, "anna", &topics).await;
    let mut ben = stream(&feed, "ben", &topics).await;
    for kind in ["locked", "open", "annas"] {
        feed.run(&format!(
            "insert into of_{kind} values ('red', 'r'), ('blue', 'b')"
        ))
        .await;
    }
    feed.mark().await;
    // Once for each of the two filters.
    let open = ["create of_open red"; 2];
    let annas = ["create of_annas red"; 2];
    assert_eq!(heard(&mut feed.stream).await, open);
    assert_eq!(heard(&mut ben).await, open);
    assert_eq!(heard(&mut anna).await, [open, annas].concat());
    // A superuser's filter is judged without a superuser's rights.
    assert_eq!(heard(&mut root).await, open);
}

#[tokio::test]
async fn a_membership_counts_from_the_same_transaction_on_until_it_is_revoked() {
    let setup = [teams(), docs("docs", MEMBERS_ONLY)].concat();
    let feed = Feed::open(&setup, &["docs"]).await;
    let mut cleo = stream(&feed, "cleo", &["docs"]).await;
    for (what, sql, seen) in [
        (
            "no member yet",
            "insert into docs values ('a', 't1')",
            false,
        ),
        (
            "in the same transaction, the record first",
            "begin; insert into docs values ('b', 't1'); insert into memberships values ('t1', 'cleo'); commit",
            true,
        ),
        ("a member", "insert into docs values ('c', 't1')", true),
        (
            "of another team",
            "insert into docs values ('d', 't2')",
            false,
        ),
        (
            "revoked just before",
            "delete from memberships where member = 'cleo'; insert into docs values ('e', 't1')",
            false,
        ),
        (
            "given just before",
            "insert into memberships values ('t2', 'cleo'); insert into docs values ('f', 't2')",
            true,
        ),
        (
            "revoked in the same transaction",
            "begin; delete from memberships where member = 'cleo'; insert into docs values ('g', 't2'); commit",
            false,
        ),
    ] {
        feed.run(sql).await;
        feed.mark().await;
        let heard = heard(&mut cleo).await;
        assert_eq!(heard.len(), usize::from(seen), "{what}: {heard:?}");
    }
}

#[tokio::test]
async fn of_fifty_thousand_memberships_only_those_that_matter_are_read() {
    const RULE: &str = r#"@request.auth.id != "" && @collection.memberships.member ?= @request.auth.id
        && @collection.memberships.team ?= team"#;
    let setup = [teams(), docs("docs", RULE)].concat();
    // A guest is there, too, for whom nothing is to be read.
    let mut feed = Feed::open(&setup, &["docs"]).await;
    feed.run(
        "insert into teams (id) select 'big' || n from generate_series(1, 50) n;
         insert into members (id) select 'm' || n from generate_series(1, 1000) n;
         insert into memberships select 'big' || t, 'm' || n
             from generate_series(1, 50) t, generate_series(1, 1000) n;
         analyze memberships",
    )
    .await;
    let mut anna = stream(&feed, "anna", &["docs"]).await;
    feed.run(
        "insert into memberships values ('big7', 'anna');
         insert into docs select 'd' || n, 'big' || n from generate_series(1, 50) n",
    )
    .await;
    feed.mark().await;
    assert_eq!(heard(&mut anna).await, ["create docs d7"]);
    assert_eq!(heard(&mut feed.stream).await, [""; 0]);
    // Team 7 has more members than a decision may look at, and nobody looked.
    assert_eq!(metric(&feed, "rowcast_rule_errors_total"), 0.0);
    // A backend reports at its end what it has not reported yet.
    feed.server.stop().await;
    // Entries of the index: rows read by it are counted only where vacuum has not marked their page as visible to all.
    // Nobody but lookups reads memberships, so that all there is since the beginning counts.
    let read = "select concat_ws(' ', sum(t.seq_tup_read), sum(i.idx_scan), sum(i.idx_tup_read))
        from pg_stat_user_tables t join pg_stat_user_indexes i using (relid)
        where t.relname = 'memberships' and not exists (
            select from pg_stat_activity
            where datname = current_database() and application_name like 'rowcast%')";
    let seen = eventually(DEADLINE, || async {
        let seen = text(&feed.client, read).await;
        let scans = seen.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
        // Before Postgres 15 a report takes its time.
        match scans {
            Some(50..) => Ok(seen),
            _ => Err(seen),
        }
    })
    .await;
    assert_eq!(seen, "0 50 1", "sequentially, scans, by index");
}

#[tokio::test]
async fn a_transaction_of_a_thousand_rows_under_two_rules_takes_few_lookups_and_keeps_its_order() {
    let other = r#"@request.auth.id != "" && @collection.memberships.member ?= @request.auth.id
        && @collection.memberships.team ?= team"#;
    let setup = [teams(), docs("docs", MEMBERS_ONLY), docs("notes", other)].concat();
    let feed = Feed::open(&setup, &["docs"]).await;
    let mut anna = stream(&feed, "anna", &["docs", "notes"]).await;
    let mut ben = stream(&feed, "ben", &["docs", "notes"]).await;
    let before = metric(&feed, "rowcast_related_fetch_seconds_count");
    let mut sql = "begin;".to_owned();
    for n in 0..500 {
        let team = ["t1", "t2"][n % 2];
        sql += &format!(
            "insert into docs values ('d{n}', '{team}'); insert into notes values ('n{n}', '{team}');"
        );
    }
    feed.run(&(sql + "commit")).await;
    feed.mark().await;
    for (stream, odd) in [(&mut anna, 0), (&mut ben, 1)] {
        let mine = (0..500).filter(|n| n % 2 == odd);
        let expected =
            mine.flat_map(|n| [format!("create docs d{n}"), format!("create notes n{n}")]);
        assert_eq!(heard(stream).await, expected.collect::<Vec<_>>());
    }
    let fetches = metric(&feed, "rowcast_related_fetch_seconds_count") - before;
    // Batches depend on how fast capture is; each takes two steps.
    assert!((2.0..=60.0).contains(&fetches), "{fetches} fetches");
}

#[tokio::test]
async fn a_rule_whose_related_column_is_dropped_denies_and_is_told() {
    let rule = r#"team.name = "Red""#;
    let setup = [teams(), docs("docs", rule), docs("open", "")].concat();
    let mut feed = Feed::open(&setup, &["docs", "open"]).await;
    let changes = feed.changes("insert into docs values ('a', 't1')").await;
    assert_eq!(changes, ["create docs a"]);
    feed.run("alter table teams drop column name").await;
    let changes = "insert into docs values ('b', 't1'); insert into open values ('c', null)";
    assert_eq!(feed.changes(changes).await, ["create open c"]);
    // The next change of the altered table itself tells the server.
    feed.run("update teams set members = '{}' where id = 't1'")
        .await;
    broken(&feed, &["docs"]).await;
    assert!(metric(&feed, "rowcast_rule_errors_total") >= 1.0);
    feed.run("alter table teams add column name text; update teams set name = 'Red'")
        .await;
    broken(&feed, &[]).await;
    let changes = feed.changes("insert into docs values ('d', 't1')").await;
    assert_eq!(changes, ["create docs d"]);
}

/// Waits until these are the collections with broken rules.
async fn broken(feed: &Feed, expected: &[&str]) {
    let ready = format!("{}/api/ready", feed.server.base);
    eventually(DEADLINE, || async {
        let answer: Value = get(&ready).await.unwrap().json().await.unwrap();
        let broken = answer["data"]["rules"]["broken"].as_array().unwrap();
        let names = broken.iter().map(|rule| &rule["collection"]);
        match names.eq(expected) {
            true => Ok(()),
            false => Err(answer),
        }
    })
    .await;
}
