//! Programs that others wrote, unmodified: npm's and PyPI's `pocketbase`, Chromium, and schemathesis.
//!
//! Their versions are pinned below `tests/peers`; they are installed once, below `target`. A missing
//! tool fails the test and says what to install. `ROWCAST_SKIP_PEERS=1` leaves these tests out.

mod embedded;
mod openapi;
mod python;
mod workshop;

use std::env;
use std::path::PathBuf;
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
    let npm = program("npm", &["npm"], "npm");
    Workshop::open("js", "package-lock.json", move |folder| {
        let mut command = std::process::Command::new(npm);
        command.current_dir(folder);
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        vec![command]
    })
    .await
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
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let chromium = program("Chromium", &names, "chromium");
    run_tests("browser.test.mjs", &[("PEERS_CHROMIUM", chromium)]).await;
}
