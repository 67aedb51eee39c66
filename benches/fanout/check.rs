//! What must hold on any machine, however slow: nothing lost, nothing out of order, no cost that grows
//! with those who receive nothing, and no statement for each who comes back. Ratios only, and generous ones.

use crate::figures::{Figure, Results};
use crate::report::ONE_RECEIVER;

/// How many times more a change with one receiver may cost the server than with the fewest subscriptions.
const GROWTH_MAX: f64 = 3.0;
/// Statements for each client that comes back within what the server remembers.
const QUERIES_MAX: f64 = 0.5;

/// What does not hold, a sentence each.
pub fn complaints(results: &Results) -> Vec<String> {
    let mut complaints = Vec::new();
    let ours = results
        .figures
        .iter()
        .filter(|figure| figure.line.contender == "rowcast");
    for figure in ours {
        let what = format!("{}, {} clients", figure.line.scenario, figure.line.clients);
        if figure.missing > 0 {
            complaints.push(format!("{what}: {} events are missing", figure.missing));
        }
        if figure.out_of_order > 0 {
            let count = figure.out_of_order;
            complaints.push(format!("{what}: {count} events were out of order"));
        }
        if let Some(queries) = figure.queries
            && queries as f64 > figure.line.clients as f64 * QUERIES_MAX
        {
            complaints.push(format!("{what}: {queries} statements were sent"));
        }
    }
    for scenario in ONE_RECEIVER {
        let lines = results.lines().into_iter();
        let lines: Vec<_> = lines.filter(|line| line.scenario == scenario).collect();
        let few = lines.iter().min_by_key(|line| line.subscriptions);
        let many = lines.iter().max_by_key(|line| line.subscriptions);
        let (Some(few), Some(many)) = (few, many) else {
            continue;
        };
        let Some(ratio) = results.ratio(many, few, Figure::per_change) else {
            continue;
        };
        if ratio > GROWTH_MAX {
            complaints.push(format!(
                "{scenario}: with {} subscriptions a change costs the server {ratio:.1} times what it costs with {} (at most {GROWTH_MAX})",
                many.subscriptions, few.subscriptions
            ));
        }
    }
    complaints
}
