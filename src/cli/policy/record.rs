//! `rowcast policy explain --record`: whether one record is seen, and which rows decide.

use serde_json::{Value, json};
use tokio_postgres::Transaction;

use super::super::failure::{self, Failure};
use super::super::rule_check::read_catalog;
use super::super::terminal;
use super::fetch::{self, Found};
use super::judge::{Judge, Judged};
use super::{Explain, defect, row_to_json};
use crate::auth::{SUPERUSERS_ID, SUPERUSERS_NAME};
use crate::policy::{Explanation, Policy, Reference, Roles, RuleKind};
use crate::related::{Library, ROUNDS_MAX, Reading, Shelf};
use crate::rules::AuthValues;

/// What was found out about one kind of rule.
struct Answer<'a> {
    kind: RuleKind,
    seen: bool,
    rows: Vec<Judged<'a>>,
}

/// Explains, and returns whether every kind that was asked for lets the record be seen.
pub(super) async fn explain(
    command: &Explain,
    transaction: &Transaction<'_>,
    library: &dyn Library,
    roles: &Roles,
    collection: &str,
    id: &str,
) -> Result<bool, Failure> {
    let catalog = read_catalog(transaction).await?;
    // All records are read at one moment.
    let mut reading = library.open();
    let reading = &mut *reading;
    let found = fetch::record(reading, &catalog, collection, id).await?;
    let asker = asker(command, reading, &catalog).await?;
    let policy = &found.collection.policy;
    let explanations = command
        .kinds()
        .into_iter()
        .map(|kind| policy.explain(roles, collection, kind));
    let explanations: Vec<Explanation> = explanations.collect();
    let mut judge = Judge {
        catalog: &catalog,
        found: &found,
        auth: asker.as_ref(),
        shelf: Shelf::default(),
        show_values: command.show_values,
    };
    for _ in 0..ROUNDS_MAX {
        let rows = explanations.iter().flat_map(|one| &one.rows);
        rows.for_each(|row| drop(judge.judge(row)));
        let fetched = judge.shelf.fetch_wanted(reading).await;
        if !fetched.map_err(fetch::unavailable)? {
            break;
        }
    }
    let mut answers = Vec::new();
    for explanation in &explanations {
        let rows = explanation.rows.iter().map(|row| judge.judge(row));
        let rows: Vec<_> = rows.collect();
        let seen = is_seen(policy, roles, collection, explanation.kind, &rows);
        confirm(policy, roles, &found, explanation.kind, &rows, seen).await?;
        answers.push(Answer {
            kind: explanation.kind,
            seen,
            rows,
        });
    }
    show(command, &found, policy, roles, &answers);
    Ok(answers.iter().all(|answer| answer.seen))
}

/// What rules know of whoever asks.
async fn asker(
    command: &Explain,
    reading: &mut dyn Reading,
    catalog: &crate::catalog::Catalog,
) -> Result<Option<AuthValues>, Failure> {
    match (&*command.who, command.who.split_once('/')) {
        ("guest", None) => Ok(None),
        // Rules about superusers are rare; which one asks matters to none.
        ("superuser", None) => Ok(Some(AuthValues {
            collection_id: SUPERUSERS_ID.to_owned(),
            collection_name: SUPERUSERS_NAME.to_owned(),
            ..AuthValues::default()
        })),
        (_, Some((collection, id))) => {
            let found = fetch::record(reading, catalog, collection, id).await?;
            let Found {
                collection,
                id,
                image,
            } = &found;
            Ok(Some(AuthValues::of_row(collection, &id.0, image)))
        }
        (_, None) => Err(Failure::new(
            failure::USAGE,
            "--record needs --as guest, superuser or COLLECTION/ID: a role alone has no values to compare with"
                .to_owned(),
        )),
    }
}

/// Asks the gate that streams are asked, with what the rules say.
fn is_seen(
    policy: &Policy,
    roles: &Roles,
    collection: &str,
    kind: RuleKind,
    rows: &[Judged<'_>],
) -> bool {
    let applicable = policy.applicable(&policy.role_set(roles), collection, kind);
    let gate = applicable.compile(|row| Some(Judged::outcome_of(rows, row.id)));
    gate.opens(|outcome| *outcome)
}

/// Asks casbin itself.
async fn confirm(
    policy: &Policy,
    roles: &Roles,
    found: &Found,
    kind: RuleKind,
    rows: &[Judged<'_>],
    seen: bool,
) -> Result<(), Failure> {
    let failed = |error| Failure::internal("could not ask casbin", error);
    let answers = Judged::by_text(rows);
    let (name, id) = (&found.collection.name, &found.id.0);
    let reference = Reference::new(policy, roles).await.map_err(failed)?;
    let answered = reference
        .enforce(name, kind, id, |rule| answers.get(rule).copied().flatten())
        .map_err(failed)?;
    match answered == seen {
        true => Ok(()),
        false => Err(defect(name, kind)),
    }
}

fn show(command: &Explain, found: &Found, policy: &Policy, roles: &Roles, answers: &[Answer<'_>]) {
    let record = format!("{}/{}", found.collection.name, found.id);
    let all_roles: Vec<&str> = policy.all_roles(roles).collect();
    if command.json {
        let kinds: Value = answers.iter().map(to_json).collect();
        let all =
            json!({ "record": record, "as": command.who, "roles": all_roles, "kinds": kinds });
        terminal::result(format_args!("{all:#}"));
        return;
    }
    terminal::result(format_args!("roles: {}", all_roles.join(", ")));
    for answer in answers {
        for line in lines(&record, &command.who, answer) {
            terminal::result(line);
        }
    }
}

fn lines(record: &str, who: &str, answer: &Answer<'_>) -> Vec<String> {
    let seen = if answer.seen { "seen" } else { "not seen" };
    let mut lines = vec![format!("\n{record} ({}): {seen} by {who}", answer.kind)];
    if answer.rows.is_empty() {
        lines.push("  no row of the policy applies, and nothing allows by itself".to_owned());
    }
    for judged in &answer.rows {
        let through = judged.applied.path.join(" → ");
        lines.push(format!(
            "  {} ({through}): {}",
            judged.row_name(),
            judged.verdict()
        ));
        match (&judged.parts, &judged.outcome) {
            (Some(part), _) => part.lines(0, &mut lines),
            (None, Ok(_)) => lines.push("    holds     for every record".to_owned()),
            (None, Err(why)) => lines.extend(why.lines().map(|line| format!("    {line}"))),
        }
    }
    lines
}

fn to_json(answer: &Answer<'_>) -> Value {
    let rows = answer.rows.iter().map(|judged| {
        let mut row = row_to_json(judged.applied);
        row["holds"] = json!(judged.outcome.as_ref().ok());
        row["error"] = json!(judged.outcome.as_ref().err());
        row["verdict"] = json!(judged.verdict());
        row["parts"] = json!(judged.parts.as_ref().map(super::judge::Part::to_json));
        row
    });
    json!({ "kind": answer.kind.as_str(), "seen": answer.seen, "rows": rows.collect::<Value>() })
}
