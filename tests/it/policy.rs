//! The policy decides who is told, from the next change on.

use std::time::Duration;

use rowcast::db::{Database, DatabaseOptions};
use rowcast::policy::casbin::{Adapter, CoreApi, MgmtApi, RbacApi};
use rowcast::policy::{Policy, PolicyAdapter, Roles, enforcer};
use tokio_postgres::Client;

use crate::support::{DEADLINE, Server, Sse, TestDatabase, client, database};

/// A migrated database with the locked collections `posts` and `notes`.
async fn locked() -> (TestDatabase, Client) {
    let database = database().await;
    let client = client(&database.url).await;
    client
        .batch_execute(
            "create table posts (id text primary key); create table notes (id text primary key);
             select rowcast.attach('posts'), rowcast.attach('notes');",
        )
        .await
        .unwrap();
    (database, client)
}

/// Runs `statements`, then writes a record to both collections: the ids of those among them and the
/// final mark, which everybody may see, that arrive.
async fn seen_after(client: &Client, stream: &mut Sse, statements: &str, id: &str) -> String {
    client
        .batch_execute(&format!(
            "{statements};
             begin; insert into posts values ('{id}'); commit;
             begin; insert into notes values ('{id}'); commit;
             begin; insert into marks values ('{id}'); commit;"
        ))
        .await
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let event = stream.next_event(DEADLINE).await;
        let (_, record) = event.change();
        assert_eq!(record["id"], id, "{event:?}");
        match record["collectionName"].as_str().unwrap() {
            "marks" => return seen.join(" "),
            name => seen.push(name.to_owned()),
        }
    }
}

#[tokio::test]
async fn a_changed_policy_takes_effect_with_the_next_change() {
    let (database, client) = locked().await;
    client
        .batch_execute("create table marks (id text primary key); select rowcast.attach('marks', list_rule => '')")
        .await
        .unwrap();
    let server = Server::start(&database).await;
    let mut stream = server.subscribe(&["posts/*", "notes", "marks"]).await;
    let insert = "insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values";
    for (at, (statements, seen)) in [
        (String::new(), ""),
        ("select rowcast.set_rule('posts', 'list', '')".to_owned(), "posts"),
        // A rule beside it neither adds nor takes away.
        (format!("{insert} ('p', 'anyone', 'posts', 'list', 'id = 1', 'allow')"), "posts"),
        ("select rowcast.set_rule('posts', 'list', null)".to_owned(), ""),
        // A role that nobody has, and then everybody.
        (format!("{insert} ('p', 'reader', '*', '*', '', 'allow')"), ""),
        ("insert into rowcast.casbin_rule (ptype, v0, v1) values ('g', 'anyone', 'reader')".to_owned(), "posts notes"),
        (format!("{insert} ('p', 'guest', 'notes', 'list', '', 'deny')"), "posts"),
        (format!("{insert} ('p', 'guest', '*', 'list', '', 'deny'); {insert} ('p', 'anyone', 'marks', '*', '', 'deny');
                  delete from rowcast.casbin_rule where v4 = 'deny' and v1 <> 'notes'"), "posts"),
        ("delete from rowcast.casbin_rule where v4 = 'deny'".to_owned(), "posts notes"),
        ("delete from rowcast.casbin_rule where ptype = 'g'".to_owned(), ""),
        // Rolled back is never there.
        ("begin; select rowcast.set_rule('posts', 'list', ''); rollback".to_owned(), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let found = seen_after(&client, &mut stream, &statements, &at.to_string()).await;
        assert_eq!(found, seen, "after step {at}: {statements}");
    }
}

/// A denial for one person must not open because the collection they are in is called otherwise.
#[tokio::test]
async fn a_renamed_collection_takes_its_records_rules_and_roles_along() {
    let (_database, client) = locked().await;
    client
        .batch_execute(
            "insert into rowcast.casbin_rule (ptype, v0, v1, v2, v4) values
                ('p', 'posts/7', '*', '*', 'deny'), ('p', 'posts_old/7', 'notes', 'list', 'allow');
             insert into rowcast.casbin_rule (ptype, v0, v1) values ('g', 'posts/7', 'role:x'), ('g', 'notes/7', 'role:x');
             select rowcast.attach('posts', name => 'articles');",
        )
        .await
        .unwrap();
    let rows = client
        .query("select v0 from rowcast.casbin_rule order by id", &[])
        .await
        .unwrap();
    let subjects: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        subjects,
        ["articles/7", "posts_old/7", "articles/7", "notes/7"]
    );
}

#[tokio::test]
async fn what_a_transaction_writes_after_it_locked_a_collection_is_not_seen() {
    let (database, client) = locked().await;
    let server = Server::start(&database).await;
    let mut stream = server.subscribe(&["posts/*", "notes"]).await;
    for transaction in [
        "select rowcast.set_rule('posts', 'list', ''), rowcast.set_rule('notes', 'list', '');
         insert into posts values ('1')",
        "select rowcast.set_rule('posts', 'list', null);
         insert into posts values ('2'); insert into notes values ('3')",
    ] {
        client.batch_execute(transaction).await.unwrap();
        let event = stream.next_event(DEADLINE).await;
        assert!(
            ["1", "3"].map(Into::into).contains(&event.change().1["id"]),
            "{event:?}"
        );
    }
}

#[tokio::test]
async fn a_superuser_may_see_everything_unless_the_policy_says_otherwise() {
    let (database, client) = locked().await;
    let server = Server::start(&database).await;
    let token = rowcast::auth::issue_superuser_token(
        &client,
        "admin@example.com",
        Duration::from_secs(600),
    );
    let token = token.await.unwrap().token;
    let mut stream = Sse::connect(&server.base).await;
    stream.subscribe_as(&token, &["posts/*", "notes"]).await;
    client
        .batch_execute(
            "insert into posts values ('1');
             insert into rowcast.casbin_rule (ptype, v0, v1, v2, v4) values
                 ('p', 'superuser', 'posts', 'list', 'deny'), ('p', 'anyone', 'notes', '*', 'deny');
             insert into posts values ('2'); insert into notes values ('3');",
        )
        .await
        .unwrap();
    for id in ["1", "3"] {
        assert_eq!(stream.next_event(DEADLINE).await.change().1["id"], id);
    }
}

#[tokio::test]
async fn casbins_own_tools_edit_the_policy_that_is_served() {
    let (database, client) = locked().await;
    let rows = async || -> Vec<String> {
        let rows = "select concat_ws(',', ptype, v0, v1, v2, v3, v4, v5) from rowcast.casbin_rule order by id";
        let rows = client.query(rows, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    let row = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let pool = Database::new(&DatabaseOptions::new(&database.url)).unwrap();
    let mut tools = enforcer(&pool).await.unwrap();

    let reader = row("reader,posts,list,,allow");
    assert!(tools.add_policy(reader.clone()).await.unwrap());
    assert!(!tools.add_policy(reader.clone()).await.unwrap());
    assert!(
        tools
            .add_role_for_user("guest", "reader", None)
            .await
            .unwrap()
    );
    assert_eq!(
        rows().await,
        ["p,reader,posts,list,,allow,", "g,guest,reader,,,,"]
    );
    assert!(tools.enforce(("guest", "posts", "list", "1")).unwrap());
    assert!(!tools.enforce(("guest", "posts", "view", "1")).unwrap());

    // One of them is there already, so none is added.
    let more = vec![row("reader,notes,list,,allow"), reader.clone()];
    assert!(!tools.add_policies(more).await.unwrap());
    assert_eq!(rows().await.len(), 2);
    let more = vec![
        row("reader,notes,list,it''s,allow"),
        row("reader,notes,view,,deny"),
    ];
    assert!(tools.add_policies(more).await.unwrap());
    assert_eq!(rows().await.len(), 4);
    let nothing = tools.remove_filtered_policy(0, vec![String::new()]).await;
    assert!(!nothing.unwrap());
    let filter = vec!["notes".to_owned(), String::new(), String::new()];
    assert!(tools.remove_filtered_policy(1, filter).await.unwrap());
    assert!(tools.remove_policy(reader).await.unwrap());
    assert_eq!(rows().await, ["g,guest,reader,,,,"]);

    tools.add_policy(row("reader,*,*,,allow")).await.unwrap();
    client
        .batch_execute("insert into rowcast.casbin_rule (ptype, v0, v1) values ('other', 'a', 'b')")
        .await
        .unwrap();
    tools.save_policy().await.unwrap();
    assert_eq!(
        rows().await,
        [
            "other,a,b,,,,",
            "p,reader,*,*,,allow,",
            "g,guest,reader,,,,"
        ]
    );
    let policy = Policy::load(&pool).await.unwrap();
    assert_eq!(policy.misread().len(), 1);
    let guest = Roles::guest();
    let roles: Vec<_> = policy.all_roles(&guest).collect();
    assert_eq!(roles, ["guest", "anyone", "reader"]);
    let mut adapter = PolicyAdapter::new(pool);
    Adapter::clear_policy(&mut adapter).await.unwrap();
    assert_eq!(rows().await, ["other,a,b,,,,"]);
}

#[tokio::test]
async fn the_command_explains_which_rows_decide_and_how_they_apply() {
    let (database, client) = locked().await;
    client
        .batch_execute(
            "select rowcast.set_rule('posts', 'list', ''), rowcast.set_rule('posts', 'view', 'id = 1');
             insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4) values
                 ('g', 'members/7', 'staff', '', '', ''), ('g', 'staff', 'role:editor', '', '', ''),
                 ('p', 'role:editor', '*', 'view', '', 'allow'), ('p', 'role:muted', 'posts', '*', '', 'deny'),
                 ('p', 'guest', 'posts', 'list', '', 'Deny');",
        )
        .await
        .unwrap();
    for (arguments, expected) in [
        (&[][..], ["denied", "asks rules"]),
        (&["--as", "members/1"], ["open", "asks rules"]),
        (&["--as", "members/7"], ["open", "open"]),
        (
            &["--as", "members/1", "--claims", "editor"],
            ["open", "open"],
        ),
        (
            &["--as", "members/7", "--claims", "muted"],
            ["denied", "denied"],
        ),
        (&["--as", "role:editor"], ["open", "open"]),
        (&["--as", "superuser"], ["open", "open"]),
    ] {
        let (code, printed, notes) = explain(&database.url, "posts", arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {notes}");
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let verdicts = [0, 1].map(|kind| printed["kinds"][kind]["verdict"].as_str().unwrap());
        assert_eq!(verdicts, expected, "{arguments:?}: {printed:#}");
        assert!(notes.contains("v4 must be allow or deny"), "{notes}");
    }
    let (_, printed, _) = explain(&database.url, "posts", &["--as", "members/7"]).await;
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        printed["kinds"][1]["rows"][1]["through"],
        serde_json::json!(["members/7", "staff", "role:editor"])
    );
    let (_, _, notes) = rowcast(&database.url, &["collections"]).await;
    assert!(notes.contains("other rows about notes, posts"), "{notes}");
    let (_, printed, _) = explain(&database.url, "notes", &["--as", "guest"]).await;
    assert!(printed.contains(r#""verdict": "locked""#), "{printed}");
    for (collection, arguments, hint) in [
        ("nothing", &[][..], "Attached are: notes, posts"),
        (
            "posts",
            &["--claims", "editor"],
            "--claims needs --as COLLECTION/ID",
        ),
    ] {
        let (code, _, notes) = explain(&database.url, collection, arguments).await;
        assert_eq!(code, 64, "{notes}");
        assert!(notes.contains(hint), "{notes}");
    }
}

async fn explain(url: &str, collection: &str, arguments: &[&str]) -> (i32, String, String) {
    let command = ["policy", "explain", "--json", "--collection", collection];
    rowcast(url, &[&command, arguments].concat()).await
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
