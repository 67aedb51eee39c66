//! What the doctor says about rules: those that are broken, and those that are doubtful.

use tokio_postgres::Client;

use super::super::failure::Failure;
use super::super::rule_check::read_catalog;
use super::Finding;
use crate::audit::{self, Audit, audit};

/// Findings of each sort that are shown.
const SHOWN_MAX: usize = 50;

/// Every rule of the policy, compiled for every collection that it is about.
pub(super) async fn check(client: &mut Client) -> Result<Vec<Finding>, Failure> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    let catalog = read_catalog(&transaction).await?;
    transaction.commit().await?;
    let Audit {
        broken,
        doubtful,
        incomplete,
    } = audit(&catalog);
    let mut findings = Vec::new();
    for one in broken.iter().take(SHOWN_MAX) {
        findings.push(Finding::bad(format!(
            "{}: it never allows and always denies: {}",
            title(one),
            indented(&one.what)
        )));
    }
    for one in doubtful.iter().take(SHOWN_MAX) {
        findings.push(Finding::remark(format!(
            "{}: {}",
            title(one),
            indented(&one.what)
        )));
    }
    let more = broken.len().saturating_sub(SHOWN_MAX) + doubtful.len().saturating_sub(SHOWN_MAX);
    if more > 0 || incomplete {
        findings.push(Finding::remark(format!(
            "there is more to say about rules ({more} findings); see to these first"
        )));
    }
    if findings.is_empty() && !catalog.is_empty() {
        findings.push(Finding::good("every rule can be used"));
    }
    Ok(findings)
}

fn title<T>(finding: &audit::Finding<T>) -> String {
    let audit::Finding {
        collection, row, ..
    } = finding;
    let id = row
        .id
        .map_or(String::new(), |id| format!(" (row {id} of the policy)"));
    format!("{collection}: {} rule{id}", row.kind)
}

/// Below the sign at the beginning of a line.
fn indented(text: &impl ToString) -> String {
    text.to_string().replace('\n', "\n      ")
}
