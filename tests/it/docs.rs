//! The documents say what is so: names of tests, settings with their defaults, and links.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::source::{files_below, text};

const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs"];

fn documents() -> Vec<String> {
    let (files, folders): (Vec<_>, Vec<_>) =
        DOCUMENTS.iter().partition(|path| path.ends_with(".md"));
    let below = folders
        .into_iter()
        .flat_map(|folder| files_below(folder, "md"));
    let below = below.map(|path| path.to_str().unwrap().to_owned());
    files
        .into_iter()
        .map(|path| (*path).to_owned())
        .chain(below)
        .collect()
}

/// What stands between two marks, mark by mark.
fn between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    let pieces = text.split(open).skip(1);
    pieces
        .filter_map(|piece| Some(piece.split_once(close)?.0))
        .collect()
}

fn all_of(folders: &[(&str, &str)]) -> String {
    let paths = folders
        .iter()
        .flat_map(|(folder, kind)| files_below(folder, kind));
    paths.map(text).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let rust = all_of(&[("tests", "rs"), ("src", "rs")]);
    let javascript = all_of(&[("tests/peers", "mjs")]);
    let mut named = 0;
    let mut missing = Vec::new();
    for document in documents().iter().filter(|path| path.starts_with("docs/")) {
        let content = text(document);
        let code = content.split('`').skip(1).step_by(2);
        let names = code.filter_map(|code| code.rsplit_once("::"));
        for (_, name) in names.filter(|(_, name)| name.matches('_').count() > 2) {
            named += 1;
            if !rust.contains(&format!("fn {name}(")) {
                missing.push(format!("{document}: {name}"));
            }
        }
        if document == "docs/guarantees.md" {
            let rows = content.lines().filter(|line| line.starts_with("| "));
            let promises = rows
                .clone()
                .filter(|row| !row.ends_with("Held by |") && !row.starts_with("| ---"));
            for row in promises.filter(|row| !row.contains("::") && !row.contains('"')) {
                missing.push(format!("{document}: what holds {row}"));
            }
            for title in rows.flat_map(|row| row.split('"').skip(1).step_by(2)) {
                named += 1;
                let quoted = ['"', '`'].map(|mark| format!("test({mark}{title}{mark},"));
                if !quoted.iter().any(|quoted| javascript.contains(quoted)) {
                    missing.push(format!("{document}: {title:?}"));
                }
            }
        }
    }
    assert!(named > 40, "only {named} tests were found in the documents");
    assert!(missing.is_empty(), "there are no such tests: {missing:#?}");
}

#[test]
fn every_recipe_names_the_tests_that_hold_it() {
    let javascript = all_of(&[("tests/peers", "mjs")]);
    let page = text("docs/cookbook.md");
    let recipes: Vec<_> = page.split("\n## ").skip(1).collect();
    assert!(recipes.len() > 10, "{}", recipes.len());
    for recipe in recipes {
        let title = recipe.lines().next().unwrap();
        let held: Vec<_> = recipe.split("eld by").skip(1).collect();
        assert!(!held.is_empty(), "{title} names no test");
        let names = held.iter().map(|held| held.split("\n\n").next().unwrap());
        for names in names {
            assert!(names.contains("::"), "{title}: {names}");
            for quoted in names.split('"').skip(1).step_by(2) {
                let found = javascript.contains(&format!("test(\"{quoted}\","));
                assert!(found, "{title}: {quoted:?}");
            }
        }
    }
}

#[test]
fn every_setting_is_in_the_reference_with_its_default() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    let output = command
        .args(["serve", "--print-config"])
        .env_clear()
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let settings = printed
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once(" ="));
    let settings: Vec<_> = settings
        .filter(|(name, _)| !name.contains(' '))
        .map(|(name, value)| (name, value.trim().trim_matches('"')))
        .collect();
    let reference = text("docs/settings.md");
    for (name, default) in &settings {
        let default = match *default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let row = format!("| `{name}` | {default} |").replace("|  |", "| |");
        assert!(
            reference.contains(&row),
            "docs/settings.md lacks this row: {row} … |"
        );
    }
    let rows = reference
        .lines()
        .filter(|line| line.starts_with("| `"))
        .count();
    assert_eq!(
        rows,
        settings.len(),
        "docs/settings.md has rows of settings that are gone"
    );
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in documents() {
        let content = text(&document);
        for target in between(&content, "](", ")") {
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&document);
            let path = folder.parent().unwrap().join(target);
            assert!(path.exists(), "{document}: {target} leads nowhere");
        }
    }
}

#[test]
fn every_route_is_in_the_description_of_the_api_and_the_other_way_round() {
    let described: serde_json::Value = serde_json::from_str(&text("docs/openapi.json")).unwrap();
    let described = described["paths"].as_object().unwrap();
    let source = all_of(&[("src/http", "rs")]);
    // The live page, which is no part of the API, goes another way.
    let routes: BTreeSet<&str> = source
        .split(".route(")
        .skip(1)
        .filter_map(|after| after.split('"').nth(1))
        .filter(|path| path.starts_with("/api/") || *path == "/metrics")
        .collect();
    assert!(routes.len() > 8, "only these routes were found: {routes:?}");
    let paths: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    assert_eq!(routes, paths);
}
