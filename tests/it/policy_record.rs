//! `rowcast policy explain --record`: one record, the rules that decide about it, and which part of them.

use serde_json::{Value, json};

use crate::support::{TestDatabase, client, database};

/// Members 1 (ada) and 2 (bob), posts of ada and of nobody, and a policy with a role and a denial.
async fn blog() -> TestDatabase {
    let database = database().await;
    client(&database.url)
        .await
        .batch_execute(
            r#"create table members (id int primary key, name text, email text unique, password_hash text);
               insert into members values (1, 'ada', 'ada@example.com', 'x'), (2, 'bob', 'bob@example.com', 'x');
               create table posts (id int primary key, owner text, status text, meta jsonb, secret text);
               insert into posts values (7, '1', 'draft', '{"n": 5}', 'hush'), (8, null, 'public', null, 'hush'),
                   (9, '2', 'locked', null, 'hush');
               create table parts (a text, b int, primary key (a, b));
               insert into parts values ('x,y', 3);
               select rowcast.attach('members', kind => 'auth', identity => '{email}', password => 'password_hash'),
                   rowcast.attach('posts', hidden => '{secret}', view_rule => '(status = "public" || owner = @request.auth.id)'
                       || ' && @request.auth.id != ""'),
                   rowcast.attach('parts', view_rule => '');
               insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values
                   ('p', 'role:editor', '*', 'view', '', 'allow'),
                   ('p', 'anyone', 'posts', 'view', 'status = "locked"', 'deny'),
                   ('g', 'members/2', 'role:editor', '', '', '')"#,
        )
        .await
        .unwrap();
    database
}

#[tokio::test]
async fn the_exit_code_says_whether_the_record_is_seen() {
    let database = blog().await;
    for (who, record, code) in [
        ("members/1", "posts/7", 0),
        ("members/1", "posts/8", 0),
        ("members/1", "posts/9", 1),
        ("members/2", "posts/7", 0),
        ("members/2", "posts/9", 1),
        ("guest", "posts/8", 1),
        ("superuser", "posts/9", 0),
        ("guest", "parts/x%2Cy,3", 0),
    ] {
        let (collection, id) = record.split_once('/').unwrap();
        let (found, result, notes) = explain(
            &database,
            &[
                "--as",
                who,
                "--collection",
                collection,
                "--record",
                id,
                "--view",
            ],
        )
        .await;
        assert_eq!(found, code, "{who} {record}: {result}{notes}");
        let seen = if code == 0 { "seen" } else { "not seen" };
        assert!(
            result.contains(&format!("{record} (view): {seen} by {who}")),
            "{result}"
        );
        assert_eq!(notes, "", "{who} {record}");
    }
    // Both kinds, and the list rule is locked.
    let both = [
        "--as",
        "members/1",
        "--collection",
        "posts",
        "--record",
        "7",
    ];
    let (code, result, _) = explain(&database, &both).await;
    assert_eq!(code, 1);
    assert!(
        result.contains("posts/7 (list): not seen by members/1\n  no row of the policy applies"),
        "{result}"
    );
    assert!(
        result.contains("posts/7 (view): seen by members/1"),
        "{result}"
    );
}

#[tokio::test]
async fn each_part_of_a_rule_is_shown_with_what_it_comes_to() {
    let database = blog().await;
    let guest = ["--collection", "posts", "--record", "7", "--view"];
    let (_, result, _) = explain(&database, &guest).await;
    for line in [
        "(guest → anyone): does not allow",
        "    fails     (status = \"public\" || owner = @request.auth.id) && @request.auth.id != \"\"",
        "    fails       status = \"public\" || owner = @request.auth.id",
        "    fails         status = \"public\"   <- first",
        "    fails         owner = @request.auth.id\n",
        "    fails       @request.auth.id != \"\"\n",
        "(guest → anyone): does not deny",
    ] {
        assert!(result.contains(line), "{line}: {result}");
    }
    assert!(
        !result.contains("draft"),
        "values are shown only if asked for: {result}"
    );
    let with_values = [
        &guest[..],
        &["--as", "members/2", "--show-values", "--json"],
    ]
    .concat();
    let (code, result, _) = explain(&database, &with_values).await;
    assert_eq!(code, 0, "{result}");
    let result: Value = serde_json::from_str(&result).unwrap();
    let rule = &result["kinds"][0]["rows"][0];
    assert_eq!(rule["verdict"], "does not allow", "{result:#}");
    let owner = &rule["parts"]["parts"][0]["parts"][1];
    assert_eq!(owner["text"], "owner = @request.auth.id");
    assert_eq!(
        owner["values"],
        json!({"owner": "1", "@request.auth.id": "2"})
    );
    let editors = &result["kinds"][0]["rows"][1];
    assert_eq!(editors["through"], json!(["members/2", "role:editor"]));
    assert_eq!(
        (&editors["holds"], &editors["parts"]),
        (&json!(true), &Value::Null)
    );
}

#[tokio::test]
async fn rules_that_read_other_records_are_decided_with_those_records() {
    let database = blog().await;
    client(&database.url)
        .await
        .batch_execute(
            r#"create table teams (id text primary key, name text);
               create table memberships (id int primary key, team text references teams, member int references members);
               alter table posts add column team text references teams;
               insert into teams values ('red', 'Red');
               insert into memberships values (1, 'red', 1);
               update posts set team = 'red' where id in (7, 9);
               select rowcast.attach('teams'), rowcast.attach('memberships');
               select rowcast.set_rule('posts', 'view',
                   'team.memberships_via_team.member ?= @request.auth.id && team.name = "Red"')"#,
        )
        .await
        .unwrap();
    for (who, record, code, lines) in [
        (
            "members/1",
            "7",
            0,
            &["    holds       team.memberships_via_team.member ?= @request.auth.id"][..],
        ),
        (
            "members/1",
            "8",
            1,
            &["    fails       team.memberships_via_team.member ?= @request.auth.id   <- first"],
        ),
        (
            "guest",
            "7",
            1,
            &[
                "    fails       team.memberships_via_team.member ?= @request.auth.id   <- first",
                "    holds       team.name = \"Red\"",
            ],
        ),
    ] {
        let arguments = [
            "--as",
            who,
            "--collection",
            "posts",
            "--record",
            record,
            "--view",
        ];
        let (found, result, notes) = explain(&database, &arguments).await;
        assert_eq!(found, code, "{who} {record}: {result}{notes}");
        for line in lines {
            assert!(result.contains(line), "{line}: {result}");
        }
        assert!(!result.contains("undecided"), "{result}");
    }
}

#[tokio::test]
async fn what_cannot_be_decided_says_why() {
    let database = blog().await;
    client(&database.url)
        .await
        .batch_execute("select rowcast.set_rule('posts', 'view', 'ownr = 1')")
        .await
        .unwrap();
    let (code, result, _) = explain(
        &database,
        &["--collection", "posts", "--record", "8", "--view"],
    )
    .await;
    assert_eq!(code, 1, "{result}");
    for line in [
        "cannot be decided, so it does not allow",
        "posts has no field ownr (line 1, column 1)",
        "Did you mean owner?",
    ] {
        assert!(result.contains(line), "{line}: {result}");
    }
    for (arguments, said) in [
        (
            &["--collection", "posts", "--record", "77"][..],
            "there is no record posts/77",
        ),
        (
            &["--collection", "posts", "--record", "7' or true"],
            "there is no record posts/7' or true",
        ),
        (
            &[
                "--collection",
                "posts",
                "--record",
                "7",
                "--as",
                "members/9",
            ],
            "there is no record members/9",
        ),
        (
            &[
                "--collection",
                "posts",
                "--record",
                "7",
                "--as",
                "role:editor",
            ],
            "--record needs --as guest",
        ),
        (&["--collection", "posts", "--show-values"], "--record"),
    ] {
        let (code, result, notes) = explain(&database, arguments).await;
        assert_eq!((code, &*result), (64, ""), "{arguments:?}: {notes}");
        assert!(notes.contains(said), "{arguments:?}: {notes}");
    }
}

async fn explain(database: &TestDatabase, arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command.args(["policy", "explain"]).args(arguments);
    command.env_clear().env("DATABASE_URL", &database.url);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}
