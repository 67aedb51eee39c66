//! SQLite as the judge, where it is at hand.

use std::process::Command;

use serde_json::Value;

use super::world::{Asking, decide_row};

/// `ORACLE_SEED=1 ORACLE_COUNT=100000 cargo test --lib rules::tests::oracle -- --ignored`
#[test]
#[ignore = "needs python3 with sqlite3"]
fn sqlite_decides_the_same() {
    let setting = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let output = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/rules/tests/oracle.py"
        ))
        .args([
            setting("ORACLE_SEED", "1"),
            setting("ORACLE_COUNT", "20000"),
        ])
        .output()
        .expect("python3 runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let cases = String::from_utf8(output.stdout).expect("UTF-8");
    let guest = Asking::guest();
    let mut wrong = Vec::new();
    for case in cases.lines() {
        let mut case: Value = serde_json::from_str(case).expect("JSON");
        case["row"]["id"] = 1.into();
        let rule = case["rule"].as_str().expect("a rule");
        let expected = Ok(case["outcome"] == true);
        let decided = decide_row(rule, &case["row"], &guest);
        if decided != expected {
            wrong.push(format!("{rule}\n  {}: {decided:?}", case["row"]));
        }
    }
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        shown.join("\n")
    );
}
