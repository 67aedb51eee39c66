//! How people learn that a rule is broken or dangerous: at the command, in the log, from the doctor.

use serde_json::{Value, json};

use crate::support::{DEADLINE, Server, TestDatabase, client, database, eventually};

/// A migrated database with the table `posts`, attached or not.
async fn posts(attach: &str) -> TestDatabase {
    let database = database().await;
    let schema = "create table posts (id int primary key, owner text, status text, tags text[])";
    let client = client(&database.url).await;
    client.batch_execute(schema).await.unwrap();
    client.batch_execute(attach).await.unwrap();
    database
}

const ATTACH: &str = "select rowcast.attach('posts')";

#[tokio::test]
async fn attach_refuses_a_broken_rule_and_changes_nothing() {
    let database = posts("").await;
    let (code, result, notes) = rowcast(
        &database.url,
        &["attach", "posts", "--list-rule", "ownr = 'a'"],
    )
    .await;
    assert_eq!(code, 64, "{notes}");
    assert!(result.is_empty(), "{result}");
    for said in [
        "the list rule cannot be used, and nothing was changed: posts has no field ownr (line 1, column 1)",
        "    ownr = 'a'\n    ^^^^\n",
        "Did you mean owner?",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    let (_, _, notes) = rowcast(&database.url, &["collections"]).await;
    assert!(notes.contains("rowcast attach TABLE"), "{notes}");
}

#[tokio::test]
async fn attach_warns_of_what_guests_pass_and_goes_on_unless_strict() {
    let database = posts("").await;
    let rule = "owner = @request.auth.id";
    let attach = ["attach", "posts", "--view-rule", rule];
    let strict = [&attach[..], &["--strict"]].concat();
    let (code, result, notes) = rowcast(&database.url, &strict).await;
    assert_eq!((code, &*result), (64, ""), "{notes}");
    assert!(
        notes.contains("with --strict a warning is an error; nothing was changed"),
        "{notes}"
    );
    let (code, result, notes) = rowcast(&database.url, &attach).await;
    assert_eq!(code, 0, "{notes}");
    assert!(result.starts_with("posts: attached"), "{result}");
    for said in [
        "warning: view rule: for guests this holds where owner is empty",
        "    ^^^^^^^^^^^^^^^^^^^^^^^^\nWrite: @request.auth.id != \"\" && owner = @request.auth.id",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
}

#[tokio::test]
async fn a_rule_is_set_locked_and_opened_after_a_look_at_it() {
    let database = posts(ATTACH).await;
    for (arguments, code, said) in [
        (
            &["posts", "list", "status = 'public'"][..],
            0,
            "posts: list rule is now",
        ),
        (
            &["posts", "list", "status == 'public'"],
            64,
            "== is no operator (line 1, column 8)",
        ),
        (&["posts", "list", " "], 64, "there is nothing to decide"),
        (
            &["posts", "list", "id = 5", "--strict"],
            64,
            "warning: list rule: this never holds: id is text",
        ),
        (&["posts", "lst", "id = '5'"], 64, "there is no 'lst' rule"),
        (&["nothing", "list", "id = '5'"], 64, "Attached are: posts"),
        (&["posts", "list"], 64, "required"),
        (&["posts", "list", "", "--lock"], 64, "cannot be used with"),
        (
            &["posts", "list", "--public"],
            0,
            "posts: list rule is now public",
        ),
        (
            &["posts", "list", "--lock"],
            0,
            "posts: list rule is now locked",
        ),
    ] {
        let (found, result, notes) = rowcast(&database.url, &[&["rule"], arguments].concat()).await;
        assert_eq!(found, code, "{arguments:?}: {notes}");
        let told = if code == 0 { &result } else { &notes };
        assert!(
            told.contains(said),
            "{arguments:?} should say {said}: {told}"
        );
        assert_eq!(result.is_empty(), code != 0, "{arguments:?}: {result}");
    }
}

/// Waits until the server says this of its rules; what else it says of itself comes back.
async fn told(server: &Server, rules: Value) -> Value {
    eventually(DEADLINE, || async {
        let answer = reqwest::get(format!("{}/api/ready", server.base)).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        match answer["data"]["rules"] == rules {
            true => Ok(answer),
            false => Err(format!("{answer}")),
        }
    })
    .await
}

#[tokio::test]
async fn the_server_tells_of_a_broken_rule_before_anything_changes_under_it() {
    let database = posts(ATTACH).await;
    let admin = client(&database.url).await;
    let server = Server::start(&database).await;
    let sound = json!({"broken": [], "more": 0});
    told(&server, sound.clone()).await;
    // SQL cannot read the language, so it takes this; roles and patterns are rules, too.
    admin
        .batch_execute(
            "select rowcast.set_rule('posts', 'list', 'ownr = ''a''');
             insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values
                 ('p', 'role:editor', 'posts', 'view', 'status =', 'allow'),
                 ('p', 'anyone', '*', 'manage', 'nope = 1', 'deny');",
        )
        .await
        .unwrap();
    let broken =
        |kind: &str, error: &str| json!({"collection": "posts", "kind": kind, "error": error});
    let expected = [
        broken("list", "unknown_field"),
        broken("view", "invalid"),
        broken("manage", "unknown_field"),
    ];
    let answer = told(&server, json!({"broken": expected, "more": 0})).await;
    assert_eq!(
        answer["message"],
        "Events are flowing, but some rules are broken and deny."
    );
    assert!(
        !answer.to_string().contains("ownr"),
        "no names of fields: {answer}"
    );
    let metrics = reqwest::get(format!("{}/metrics", server.base))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("rowcast_broken_rules 3"), "{metrics}");
    admin
        .batch_execute("delete from rowcast.casbin_rule where ptype = 'p'")
        .await
        .unwrap();
    told(&server, sound).await;
}

#[tokio::test]
async fn a_rule_that_breaks_because_its_column_goes_is_told() {
    let database =
        posts("select rowcast.attach('posts', list_rule => 'status = \"public\"')").await;
    let admin = client(&database.url).await;
    let server = Server::start(&database).await;
    told(&server, json!({"broken": [], "more": 0})).await;
    admin
        .batch_execute("alter table posts drop column status; insert into posts values (1, 'a')")
        .await
        .unwrap();
    let broken = json!({"collection": "posts", "kind": "list", "error": "unknown_field"});
    told(&server, json!({"broken": [broken], "more": 0})).await;
}

#[tokio::test]
async fn the_doctor_lists_broken_and_doubtful_rules_with_their_place() {
    let database = posts(ATTACH).await;
    let (code, result, _) = rowcast(&database.url, &["doctor"]).await;
    assert_eq!(code, 0, "{result}");
    assert!(result.contains("ok    every rule can be used"), "{result}");
    client(&database.url)
        .await
        .batch_execute(
            "select rowcast.set_rule('posts', 'list', 'owner = @request.auth.id');
             insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values
                 ('p', 'role:editor', 'posts', 'list', 'owner = @request.auth.id', 'allow'),
                 ('p', 'guest', 'posts', 'list', 'owner = @request.auth.id', 'deny');",
        )
        .await
        .unwrap();
    let (code, result, _) = rowcast(&database.url, &["doctor"]).await;
    assert_eq!(code, 0, "{result}");
    assert!(result.contains("note  posts: list rule (row "), "{result}");
    assert_eq!(
        result
            .matches("for guests this holds where owner is empty")
            .count(),
        1,
        "no guest is asked by editors' rules, and a denial too many opens nothing: {result}"
    );
    client(&database.url)
        .await
        .batch_execute("select rowcast.set_rule('posts', 'view', 'ownr = 1')")
        .await
        .unwrap();
    let (code, result, _) = rowcast(&database.url, &["doctor"]).await;
    assert_eq!(code, 69, "{result}");
    for said in [
        "WRONG posts: view rule (row ",
        "it never allows and always denies: posts has no field ownr (line 1, column 1)\n",
        "          ownr = 1\n          ^^^^\n      Did you mean owner?",
    ] {
        assert!(result.contains(said), "{said}: {result}");
    }
}

/// Exit code, standard output and standard error of a command.
async fn rowcast(url: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command.args(arguments).env_clear().env("DATABASE_URL", url);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

mod page {
    //! docs/rules.md: what it shows works, and what it warns of is warned of.

    use rowcast::audit::{audit, check};
    use rowcast::catalog::{self, Catalog};
    use rowcast::db::{Database, DatabaseOptions};

    use crate::support::source::text;
    use crate::support::{client, database};

    const RELATIONS: &str = "## Rules that read other records";

    /// The SQL of a part of the page, block by block.
    fn blocks(part: &str) -> Vec<&str> {
        let blocks = part.split("```sql\n").skip(1);
        blocks
            .map(|rest| rest.split("```").next().unwrap())
            .collect()
    }

    /// The rules in the cells of a column, of all tables with this heading in their first cell.
    fn cells(page: &str, heading: &str, column: usize) -> Vec<String> {
        let mut lines = page.lines();
        let mut found = Vec::new();
        while lines.any(|line| line.starts_with(&format!("| {heading} |"))) {
            let rows = lines
                .by_ref()
                .skip(1)
                .take_while(|line| line.starts_with('|'));
            for row in rows {
                let row = row.replace(r"\|", "¦");
                let cell = row.split('|').nth(column).unwrap();
                let rules = cell.split('`').skip(1).step_by(2);
                found.extend(rules.map(|rule| rule.replace('¦', "|")));
            }
        }
        found
    }

    async fn load(url: &str) -> Catalog {
        let database = Database::new(&DatabaseOptions::new(url)).unwrap();
        catalog::load(&database).await.unwrap()
    }

    #[tokio::test]
    async fn every_example_of_the_page_on_rules_is_what_the_page_says() {
        let page = text("docs/rules.md");
        let (before, rest) = page.split_once(RELATIONS).unwrap();
        let database = database().await;
        let client = client(&database.url).await;
        for block in blocks(before) {
            client.batch_execute(block).await.unwrap();
            let found = audit(&load(&database.url).await);
            assert!(found.broken.is_empty(), "{block}: {:?}", found.broken);
            assert!(found.doubtful.is_empty(), "{block}: {:?}", found.doubtful);
        }
        let catalog = load(&database.url).await;
        let posts = catalog.find("posts").unwrap();
        let about = |rule: &str| {
            check(rule, posts, &catalog).unwrap_or_else(|error| panic!("{rule}: {error}"))
        };
        let (warned, sound) = (cells(rest, "Written", 1), cells(rest, "Written", 3));
        assert!(
            warned.len() > 12 && sound.len() > 12,
            "{warned:?} {sound:?}"
        );
        for rule in warned {
            assert!(!about(&rule).is_empty(), "{rule} is not warned of");
        }
        let rules = cells(rest, "Rule", 1);
        assert!(rules.len() > 12, "{rules:?}");
        for rule in sound.iter().chain(&rules) {
            // What an option is compared with may be empty for whoever leaves it out.
            assert_eq!(about(rule), [], "{rule}");
        }
    }

    #[tokio::test]
    async fn every_example_of_reading_other_records_can_be_used() {
        let page = text("docs/rules.md");
        let (before, rest) = page.split_once(RELATIONS).unwrap();
        let (part, _) = rest.split_once("\n## ").unwrap();
        let database = database().await;
        let client = client(&database.url).await;
        for block in [blocks(before), blocks(part)].concat() {
            client.batch_execute(block).await.unwrap();
            let found = audit(&load(&database.url).await);
            assert!(found.broken.is_empty(), "{block}: {:?}", found.broken);
            assert!(found.doubtful.is_empty(), "{block}: {:?}", found.doubtful);
        }
    }
}
