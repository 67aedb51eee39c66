//! The commands as an operator runs them: what they print, where, and how they exit.

use std::process::{Command, Output, Stdio};

use crate::support::{TestDatabase, client, database, empty_database};

struct Ran {
    code: i32,
    /// Standard output.
    result: String,
    /// Standard error.
    notes: String,
}

/// Runs a command with nothing in the environment but the database.
async fn run(url: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command.args(arguments).env_clear().env("DATABASE_URL", url);
    let output = tokio::task::spawn_blocking(move || command.output());
    Ran::new(output.await.unwrap().unwrap())
}

impl Ran {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it exits"),
            result: String::from_utf8(output.stdout).unwrap(),
            notes: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A migrated database with a table and a view.
async fn shop() -> TestDatabase {
    let database = database().await;
    let schema = "create table posts (id int primary key, title text, secret text);
                  create view latest as select 1";
    client(&database.url)
        .await
        .batch_execute(schema)
        .await
        .unwrap();
    database
}

#[tokio::test]
async fn a_table_is_attached_listed_and_detached() {
    let database = shop().await;
    let attach = ["attach", "posts", "--list-rule", "", "--hide", "secret"];
    let attached = run(&database.url, &attach).await;
    assert_eq!(attached.code, 0, "{}", attached.notes);
    assert!(
        attached.result.starts_with("posts: attached"),
        "{}",
        attached.result
    );
    let again = run(&database.url, &attach).await;
    assert_eq!(again.result, "posts: nothing to change\n");

    let listed = run(&database.url, &["collections", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed.result).unwrap();
    assert_eq!(listed[0]["name"], "posts");
    assert_eq!(listed[0]["listRule"], "");
    assert_eq!(listed[0]["viewRule"], serde_json::Value::Null);
    assert_eq!(listed[0]["hidden"], serde_json::json!(["secret"]));
    let table = run(&database.url, &["collections"]).await.result;
    assert!(
        table.contains("everybody") && table.contains("superusers"),
        "{table}"
    );

    let detached = run(&database.url, &["detach", "posts"]).await;
    assert!(
        detached.result.starts_with("posts: detached"),
        "{}",
        detached.notes
    );
    let none = run(&database.url, &["collections"]).await;
    assert!(none.result.is_empty() && none.notes.contains("rowcast attach TABLE"));
}

#[tokio::test]
async fn mistakes_exit_with_their_code_and_say_what_to_do() {
    let shop = shop().await;
    let empty = empty_database().await;
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    for (url, arguments, code, hint) in [
        (
            &*shop.url,
            &["attach", "latest"][..],
            64,
            "hint: Attach the tables it reads from",
        ),
        (
            &shop.url,
            &["attach", "posts", "--hide", "nope"],
            64,
            "Its columns are: id, title",
        ),
        (
            &shop.url,
            &["attach", "nothing"],
            64,
            "relation \"nothing\" does not exist",
        ),
        (
            &shop.url,
            &["detach", "nothing"],
            64,
            "there is no collection 'nothing'",
        ),
        (
            &shop.url,
            &["token", "--superuser", "me"],
            64,
            "no email address",
        ),
        (
            &shop.url,
            &["serve", "--listen", "80"],
            64,
            "write it like 127.0.0.1:8090",
        ),
        (
            &shop.url,
            &["serve", "--set", "idle_timeout=5"],
            64,
            "with its unit",
        ),
        (
            &shop.url,
            &["migrate", "--config", "/none.toml"],
            64,
            "/none.toml",
        ),
        (&shop.url, &["attack"], 64, "attach"),
        (
            &shop.url,
            &["attach", "posts", "--identity", "title"],
            64,
            "unique index",
        ),
        (
            &shop.url,
            &["attach", "posts", "--password", "secret"],
            64,
            "Name one or more: --identity email",
        ),
        (
            &shop.url,
            &["attach", "posts", "--identity", "id", "--password", "pwd"],
            64,
            "Its columns are: id, title",
        ),
        (&empty.url, &["attach", "posts"], 64, "run: rowcast migrate"),
        (nowhere, &["migrate"], 69, "is Postgres running there"),
        (
            nowhere,
            &["health", "--set", "listen=127.0.0.1:1"],
            69,
            "http://127.0.0.1:1/api/ready",
        ),
        ("", &["migrate"], 64, "give --database-url"),
        (
            "postgres://u:geheim@h/d?sslmode=x",
            &["migrate"],
            64,
            "sslmode must be",
        ),
    ] {
        let ran = run(url, arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.notes);
        assert!(
            ran.notes.contains(hint),
            "{arguments:?} should say {hint:?}: {}",
            ran.notes
        );
        assert!(ran.result.is_empty(), "{arguments:?}: {}", ran.result);
        assert!(!ran.notes.contains("geheim"), "{}", ran.notes);
    }
}

#[tokio::test]
async fn a_token_stands_alone_on_standard_output() {
    let database = database().await;
    let arguments = [
        "token",
        "--superuser",
        "admin@example.com",
        "--expires-in",
        "1h",
    ];
    let first = run(&database.url, &arguments).await;
    assert_eq!(
        first.result.trim_end().split('.').count(),
        3,
        "{}",
        first.result
    );
    assert_eq!(first.result.lines().count(), 1);
    assert!(
        first
            .notes
            .contains("created the superuser admin@example.com"),
        "{}",
        first.notes
    );
    assert!(first.notes.contains("valid for 1h"), "{}", first.notes);
    let second = run(&database.url, &arguments).await;
    assert!(!second.notes.contains("created"), "{}", second.notes);
}

#[tokio::test]
async fn an_auth_collection_is_attached_by_flags_and_its_records_get_tokens() {
    let database = shop().await;
    let admin = client(&database.url).await;
    let schema = "create table members (id int primary key, email text unique, pwd text, tk text, note text);
                  insert into members values (42, 'anna@example.com', 'x', 'key', 'hush')";
    admin.batch_execute(schema).await.unwrap();
    let attach = [
        "attach",
        "members",
        "--identity",
        "email",
        "--password",
        "pwd",
        "--token-key",
        "tk",
        "--never-captured",
        "note",
        "--auth-rule",
        "email != ''",
        "--manage-rule",
        "@request.auth.id = 7",
    ];
    let attached = run(&database.url, &attach).await;
    assert_eq!(attached.code, 0, "{}", attached.notes);
    for said in [
        "members: attached",
        "members: auth rule is now email != ''",
        "members: manage rule is now @request.auth.id = 7",
    ] {
        assert!(attached.result.contains(said), "{}", attached.result);
    }
    let again = run(&database.url, &attach).await;
    assert_eq!(again.result, "members: nothing to change\n");
    let row = admin
        .query_one(
            "select kind, identity, password, token_key, never_captured from rowcast.collections",
            &[],
        )
        .await
        .unwrap();
    let seen: (String, Vec<String>, String, String, Vec<String>) =
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        seen,
        (
            "auth".to_owned(),
            names(&["email"]),
            "pwd".to_owned(),
            "tk".to_owned(),
            names(&["note", "pwd", "tk"])
        )
    );
    let locked = ["attach", "members", "--auth", "--auth-rule", "locked"];
    let locked = run(&database.url, &locked).await;
    assert!(
        locked.result.contains("auth rule is now locked"),
        "{}",
        locked.result
    );

    let token = [
        "token",
        "--collection",
        "members",
        "--id",
        "42",
        "--expires-in",
        "1h",
    ];
    let token = run(&database.url, &token).await;
    assert_eq!(token.code, 0, "{}", token.notes);
    assert_eq!(token.result.lines().count(), 1, "{}", token.result);
    assert!(
        token
            .notes
            .contains("valid for 1h; whoever has it is members/42"),
        "{}",
        token.notes
    );
    let options = rowcast::db::DatabaseOptions::new(&*database.url);
    let known = rowcast::auth::Authenticator::new(rowcast::db::Database::new(&options).unwrap());
    let principal = known.principal(token.result.trim_end()).await;
    assert_eq!(&*principal.record().expect("a record").id, "42");
}

#[tokio::test]
async fn no_token_is_printed_for_whoever_does_not_exist() {
    let database = shop().await;
    let empty = empty_database().await;
    let token = ["token", "--collection", "members", "--id", "1"];
    let none = run(&database.url, &token).await;
    assert!(
        none.notes.contains("none; attach a table with --auth"),
        "{}",
        none.notes
    );
    let schema = "create table members (id int primary key);
                  select rowcast.attach('members', kind => 'auth'); select rowcast.attach('posts')";
    client(&database.url)
        .await
        .batch_execute(schema)
        .await
        .unwrap();
    for (url, arguments, hint) in [
        (
            &database.url,
            &["--collection", "member", "--id", "1"][..],
            "the auth collections are: members",
        ),
        (
            &database.url,
            &["--collection", "posts", "--id", "1"],
            "posts is no auth collection",
        ),
        (
            &database.url,
            &["--collection", "members", "--id", "1"],
            "members has no record \"1\"",
        ),
        (
            &database.url,
            &["--collection", "members", "--id", "x'; drop table posts --"],
            "has no record",
        ),
        (
            &database.url,
            &["--collection", "members", "--id", "1", "--expires-in", "1s"],
            "from 10s to 3years",
        ),
        (&database.url, &["--collection", "members"], "--id <ID>"),
        (&database.url, &["--id", "1"], "--collection <NAME>"),
        (&database.url, &[], "--superuser <EMAIL>"),
        (
            &database.url,
            &["--superuser", "a@b", "--collection", "members", "--id", "1"],
            "cannot be used with",
        ),
        (
            &empty.url,
            &["--collection", "members", "--id", "1"],
            "rowcast migrate",
        ),
    ] {
        let arguments = [&["token"], arguments].concat();
        let ran = run(url, &arguments).await;
        assert!(ran.notes.contains(hint), "{arguments:?}: {}", ran.notes);
        assert!(ran.result.is_empty(), "{arguments:?}: {}", ran.result);
        assert_eq!(ran.code, 64, "{arguments:?}: {}", ran.notes);
    }
}

/// The same with something to read on standard input.
async fn run_with_input(url: &str, arguments: &[&str], input: &str) -> Ran {
    use std::io::Write;
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command.args(arguments).env_clear().env("DATABASE_URL", url);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn()?;
        // Who refuses before it reads may have gone.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output()
    });
    Ran::new(output.await.unwrap().unwrap())
}

#[tokio::test]
async fn a_superusers_password_comes_from_standard_input_and_is_never_told() {
    let database = database().await;
    let email = "admin@example.com";
    for (command, input, code, hint) in [
        (
            "password",
            "correct horse\n",
            64,
            "run: rowcast superuser create",
        ),
        (
            "create",
            "",
            64,
            "the password has 0 bytes; take one of 8 to 255",
        ),
        ("create", "geheim\n", 64, "the password has 6 bytes"),
        ("create", "correct horse\r\nmore", 0, "may log in now"),
        (
            "create",
            "correct horse\n",
            64,
            "run: rowcast superuser password",
        ),
        (
            "password",
            "another horse",
            0,
            "another password; tokens from before",
        ),
    ] {
        let ran = run_with_input(&database.url, &["superuser", command, email], input).await;
        assert_eq!(ran.code, code, "{command} {input:?}: {}", ran.notes);
        assert!(
            ran.notes.contains(hint),
            "{command} {input:?}: {}",
            ran.notes
        );
        assert!(ran.result.is_empty(), "{}", ran.result);
        assert!(!ran.notes.contains("horse") && !ran.notes.contains("geheim"));
    }
    let nobody = run_with_input(
        &database.url,
        &["superuser", "create", "me"],
        "correct horse",
    )
    .await;
    assert!(
        nobody.notes.contains("no email address"),
        "{}",
        nobody.notes
    );
    let row = "select value from rowcast.secrets where name like 'superuser_password.%'";
    let rows = client(&database.url).await.query(row, &[]).await.unwrap();
    let hash: String = rows[0].get(0);
    assert!(rows.len() == 1 && hash.starts_with("$argon2id$"), "{hash}");
}

#[tokio::test]
async fn settings_are_printed_without_secrets() {
    let printed = run(
        "postgres://u:geheim@h/d",
        &["serve", "--print-config", "--listen", "[::1]:1"],
    )
    .await;
    assert_eq!(printed.code, 0, "{}", printed.notes);
    assert!(
        printed
            .result
            .contains("(from --listen)\nlisten = \"[::1]:1\""),
        "{}",
        printed.result
    );
    assert!(
        printed.result.contains("postgres://u:***@h/d"),
        "{}",
        printed.result
    );
    assert!(!printed.result.contains("geheim"));
}

#[tokio::test]
async fn relations_are_declared_listed_and_examined() {
    let database = database().await;
    let schema = "create table members (id int primary key);
        create table tags (id int primary key);
        create table posts (id int primary key, author int references members, readers int[]);
        create table post_tags (post int references posts, tag int references tags, primary key (post, tag));";
    let admin = client(&database.url).await;
    admin.batch_execute(schema).await.unwrap();
    for table in ["members", "tags", "post_tags"] {
        run(&database.url, &["attach", table]).await;
    }
    let relations = [
        "--relation",
        "readers=members",
        "--relation",
        "tags=post_tags_via_post.tag",
    ];
    let attach = [&["attach", "posts"], &relations[..]].concat();
    let attached = run(&database.url, &attach).await;
    assert_eq!(attached.code, 0, "{}", attached.notes);
    let again = run(&database.url, &["attach", "posts"]).await;
    assert_eq!(again.result, "posts: nothing to change\n");
    let listed = run(&database.url, &["collections", "--json"]).await.result;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let relations = serde_json::json!({"author": "members", "readers": "members", "tags": "post_tags_via_post.tag"});
    assert_eq!(listed[2]["relations"], relations, "{listed}");
    let table = run(&database.url, &["collections"]).await.result;
    assert!(table.contains("author = members"), "{table}");

    let slow = [
        "note  posts: no index finds rows by author, readers;",
        "note  post_tags: no index finds rows by tag;",
        "create index on public.post_tags (tag)",
    ];
    let examined = run(&database.url, &["doctor"]).await.result;
    for expected in slow {
        assert!(examined.contains(expected), "{expected:?} in {examined}");
    }
    assert!(!examined.contains("is declared to lead"), "{examined}");
    let change = "create index on posts (author) where author is not null;
        create index on posts using gin (readers); create index on post_tags (tag);
        select rowcast.detach('post_tags'); select rowcast.detach('members')";
    admin.batch_execute(change).await.unwrap();
    let examined = run(&database.url, &["doctor"]).await.result;
    for expected in [
        "note  posts: readers is declared to lead to members, but no collection members is attached",
        "note  posts: tags is declared to lead to post_tags_via_post.tag, but posts has no relation post_tags_via_post",
    ] {
        assert!(examined.contains(expected), "{expected:?} in {examined}");
    }
    assert!(!examined.contains("no index"), "{examined}");

    let forgotten = run(&database.url, &["attach", "posts", "--no-relations"]).await;
    assert_eq!(forgotten.result, "posts: relations are now: none\n");
    let wrong = run(&database.url, &["attach", "posts", "--relation", "readers"]).await;
    assert_eq!(wrong.code, 64);
    assert!(
        wrong.notes.contains("write it like members=members"),
        "{}",
        wrong.notes
    );
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong_and_is_content_otherwise() {
    let database = shop().await;
    run(&database.url, &["attach", "posts"]).await;
    let admin = client(&database.url).await;
    let healthy = run(&database.url, &["doctor"]).await;
    assert!(
        healthy.result.contains("ok    notifications arrive"),
        "{}",
        healthy.result
    );
    assert!(
        healthy.result.contains("ok    posts: posts is captured"),
        "{}",
        healthy.result
    );
    let switched_off = "alter table posts disable trigger zz_rowcast_delete";
    admin.batch_execute(switched_off).await.unwrap();
    let ill = run(&database.url, &["doctor"]).await;
    assert_eq!(ill.code, 69, "{}", ill.result);
    assert!(
        ill.result.contains(
            "WRONG posts: triggers are missing or switched off (posts.zz_rowcast_delete)"
        ),
        "{}",
        ill.result
    );
    let empty = empty_database().await;
    let new = run(&empty.url, &["doctor"]).await;
    assert!(
        new.result
            .contains("no schema rowcast yet; run: rowcast migrate"),
        "{}",
        new.result
    );
}
