//! Every statement the program runs is understood by a migrated database.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{client, database};

fn statements(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            statements(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn every_statement_can_be_prepared_on_a_migrated_database() {
    let database = database().await;
    let client = client(&database.url).await;
    // What the demo's statements are about.
    let mut files = Vec::new();
    statements(Path::new("sql/demo"), &mut files);
    files.sort_by_key(|path| !path.ends_with("posts.sql"));
    for path in &files {
        let sql = fs::read_to_string(path).unwrap();
        client
            .batch_execute(&sql)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    }
    let mut files = Vec::new();
    statements(Path::new("sql"), &mut files);
    files.retain(|path| !path.starts_with("sql/demo"));
    assert!(files.len() > 20, "{files:?}");
    for path in files {
        let sql = fs::read_to_string(&path).unwrap();
        let Err(error) = client.prepare(&sql).await else {
            continue;
        };
        // Several statements in one file cannot be prepared; they can be run and taken back.
        let error = error.as_db_error().cloned().unwrap();
        assert!(
            error.message().contains("multiple commands"),
            "{}: {error:?}",
            path.display()
        );
        client
            .batch_execute(&format!("begin; {sql}; rollback"))
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    }
}
