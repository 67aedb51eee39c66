//! The committed inputs, which the fuzzer starts from, as plain tests: what was found once stays
//! fixed.

use std::fs;
use std::path::Path;

/// Checks every file of one target.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a folder of seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{folder:?} holds {} seeds", files.len());
    for file in files {
        let input = fs::read(&file).expect("a file");
        let checked = std::panic::catch_unwind(|| check(&input));
        assert!(checked.is_ok(), "{file:?} does not hold");
    }
}

#[test]
fn every_seed_of_rules_holds() {
    replay("rules", super::rules);
}

#[test]
fn every_seed_of_options_holds() {
    replay("options", super::options);
}

#[test]
fn every_seed_of_tokens_holds() {
    replay("tokens", super::tokens);
}

#[test]
fn every_seed_of_images_holds() {
    replay("images", super::images);
}
