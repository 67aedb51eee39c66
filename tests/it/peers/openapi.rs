//! PyPI's schemathesis: it draws requests from `docs/openapi.json`, good ones and bad ones, and holds each answer
//! against it.

use std::fs;
use std::time::Duration;

use super::declined;
use super::python::venv;
use super::workshop::report;
use crate::support::people::BCRYPT;
use crate::support::process::{Process, free_port, ready};
use crate::support::{Sse, client, database};

/// For the requests themselves; installing takes longer, once.
const DEADLINE: Duration = Duration::from_secs(240);

/// What the description cannot say.
///
/// Methods that do not exist are answered with 404, as PocketBase does, and paths only it knows say nothing about 405.
/// What PocketBase reads leniently (unknown members, other types of body, `null`) is read so here, too.
///
/// One worker: two that parse Python at once, which Hypothesis does, break one another on CPython 3.11
/// (`AST constructor recursion depth mismatch`; a loop of `ast.parse` in two threads shows it, in one never).
const CONFIGURATION: &str = r#"
seed = 20260101
workers = 1
max-failures = 20

[generation]
max-examples = 12
# Postgres has no such character in its JSON.
allow-x00 = false
database = "none"

[checks]
unsupported_method.enabled = false
allow_header_conformance.enabled = false

[[operations]]
include-operation-id = "setSubscriptions"
checks.negative_data_rejection.enabled = false

# Its description is narrower than what is true of topics and filters; tests/it/messages_http.rs has what is refused.
[[operations]]
include-operation-id = "sendMessage"
checks.negative_data_rejection.enabled = false

# Who is not let in is told so with 400, as PocketBase does.
[[operations]]
include-tag = "auth"
parameters = { collection = "members" }
checks.negative_data_rejection.enabled = false
checks.positive_data_acceptance.enabled = false

[[operations]]
include-operation-id = "authRefresh"
parameters = { collection = "_superusers" }
checks.negative_data_rejection.enabled = false

[[operations]]
include-operation-id = ["showClient", "sendToClient", "showStore", "changeStore"]
parameters = { id = "CLIENT_ID" }
"#;

#[tokio::test]
async fn the_api_is_as_its_description_says() {
    if declined() {
        return;
    }
    let workshop = venv("openapi").await;
    let database = database().await;
    let admin = client(&database.url).await;
    let schema = format!(
        "create table members (id text primary key, email text unique, password_hash text);
         insert into members values ('anna', 'anna@example.com', '{BCRYPT}');
         select rowcast.attach('members', kind => 'auth', password => 'password_hash');"
    );
    admin.batch_execute(&schema).await.unwrap();
    let lifetime = Duration::from_secs(3600);
    let token = rowcast::auth::issue_superuser_token(&admin, "root@example.com", lifetime).await;
    let token = token.unwrap().token;
    let port = free_port();
    // Hundreds of requests come in a moment.
    let templates = tempfile::tempdir().unwrap();
    fs::create_dir(templates.path().join("chat")).unwrap();
    fs::write(
        templates.path().join("chat/line.html"),
        "<li>{{ text }}</li>",
    )
    .unwrap();
    let settings = [
        ("ROWCAST_LOGIN_RATE", "off"),
        ("ROWCAST_TEMPLATES", templates.path().to_str().unwrap()),
    ];
    let _process = Process::start_with(&database.url, port, &settings, None);
    let base = format!("http://127.0.0.1:{port}");
    ready(&base).await;
    // Somebody to find.
    let stream = Sse::connect(&base).await;
    stream.subscribe(&["posts/*", "chat"]).await;
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("schemathesis.toml");
    fs::write(
        &configuration,
        CONFIGURATION.replace("CLIENT_ID", &stream.client_id),
    )
    .unwrap();
    let mut command = tokio::process::Command::new(workshop.folder().join("venv/bin/st"));
    command
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(&configuration)
        .args(["run", &format!("{base}/api/openapi.json")])
        // Endless; what begins it is tested by all the rest.
        .args(["--exclude-operation-id", "openStream"])
        .args(["--header", &format!("Authorization: {token}")])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--request-timeout",
            "20",
        ]);
    println!("{}", report("schemathesis", command, DEADLINE).await);
    drop(stream);
}
