//! Programs that others wrote, unmodified: npm's and PyPI's `pocketbase`, Chromium, and schemathesis.
//!
//! Their versions are pinned below `tests/peers`; they are installed once, below `target`. A missing
//! tool fails the test and says what to install. `ROWCAST_SKIP_PEERS=1` leaves these tests out.

mod chat;
mod embedded;
mod htmx_chat;
mod openapi;
mod python;
#[path = "../../../examples/shared/mod.rs"]
#[allow(dead_code, reason = "these tests serve the sites themselves")]
mod shared;
mod workshop;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::support::database;
use workshop::{Workshop, program, report};

/// How long one program of tests may take in all; each wait in it has a shorter deadline.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(240);

/// Whether these tests were declined, which is said aloud.
fn declined() -> bool {
    let declined = env::var("ROWCAST_SKIP_PEERS").is_ok_and(|value| value == "1");
    if declined {
        println!("left out because of ROWCAST_SKIP_PEERS=1");
    }
    declined
}

async fn javascript() -> Workshop {
    Workshop::open("js", "package-lock.json", npm_ci()).await
}

/// What the pages of the examples load.
async fn web_packages() -> PathBuf {
    let source = PathBuf::from("examples/web");
    let workshop = Workshop::copy_of(source, "web", "package-lock.json", npm_ci()).await;
    workshop.folder().join("node_modules")
}

fn npm_ci() -> impl FnOnce(&Path) -> Vec<std::process::Command> + Send + 'static {
    let npm = program("npm", &["npm"], "npm");
    move |folder| {
        let mut command = std::process::Command::new(npm);
        command.current_dir(folder);
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        vec![command]
    }
}

fn chromium() -> PathBuf {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    program("Chromium", &names, "chromium")
}

/// Runs one file of tests in one process of Node.js, with a database of its own.
async fn run_tests(file: &str, variables: &[(&str, PathBuf)]) {
    let node = program("Node.js, version 20 or later", &["node"], "nodejs");
    let workshop = javascript().await;
    let database = database().await;
    let mut command = Command::new(node);
    command
        .current_dir(workshop.folder())
        .args(["--test-reporter=spec", file])
        .env("PEERS_BINARY", env!("CARGO_BIN_EXE_rowcast"))
        .env("PEERS_DATABASE_URL", &database.url)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    println!("{}", report(file, command, PROGRAM_DEADLINE).await);
}

#[tokio::test]
async fn the_javascript_sdk_works_unmodified() {
    if declined() {
        return;
    }
    run_tests("sdk.test.mjs", &[]).await;
}

#[tokio::test]
async fn the_javascript_of_the_cookbook_does_what_it_says() {
    if declined() {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cookbook.md");
    run_tests("cookbook.test.mjs", &[("PEERS_COOKBOOK", page)]).await;
}

#[tokio::test]
async fn the_javascript_sdk_logs_in_and_sees_what_its_record_may_until_its_role_is_gone() {
    if declined() {
        return;
    }
    run_tests("auth.test.mjs", &[]).await;
}

#[tokio::test]
async fn the_live_page_and_a_page_of_another_origin_show_changes_in_chromium() {
    if declined() {
        return;
    }
    run_tests("browser.test.mjs", &[("PEERS_CHROMIUM", chromium())]).await;
}
