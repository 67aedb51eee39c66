//! Tables in Markdown, for the terminal and for the page.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Error;
use crate::figures::{Figure, Line, Results};

const BEGIN: &str = "<!-- fanout: begin -->";
const END: &str = "<!-- fanout: end -->";

/// Scenarios in which a change has one receiver, whatever the number of subscriptions.
pub const ONE_RECEIVER: [&str; 3] = ["owner", "filter", "record"];

/// One column of a table.
struct Column {
    head: &'static str,
    cell: fn(&Results, &Line) -> Option<String>,
}

const COLUMNS: [Column; 15] = [
    Column {
        head: "Scenario",
        cell: |_, line| Some(line.scenario.clone()),
    },
    Column {
        head: "Server",
        cell: |_, line| Some(line.contender.clone()),
    },
    Column {
        head: "Clients",
        cell: |_, line| Some(grouped(line.clients as f64)),
    },
    Column {
        head: "Subscriptions",
        cell: |_, line| Some(grouped(line.subscriptions as f64)),
    },
    Column {
        head: "Changes",
        cell: |all, line| number(all.middle(line, |f| Some(f.changes as f64)), 0),
    },
    Column {
        head: "Deliveries",
        cell: |all, line| number(all.middle(line, |f| Some(f.deliveries as f64)), 0),
    },
    Column {
        head: "Deliveries/s",
        cell: |all, line| number(all.middle(line, Figure::rate), 0),
    },
    Column {
        head: "µs/delivery",
        cell: |all, line| number(all.middle(line, Figure::per_delivery), 2),
    },
    Column {
        head: "µs/change",
        cell: |all, line| number(all.middle(line, Figure::per_change), 1),
    },
    Column {
        head: "Ratio",
        cell: ratio,
    },
    Column {
        head: "p50",
        cell: |all, line| latency(all, line, 0),
    },
    Column {
        head: "p95",
        cell: |all, line| latency(all, line, 1),
    },
    Column {
        head: "p99",
        cell: |all, line| latency(all, line, 2),
    },
    Column {
        head: "Max",
        cell: |all, line| latency(all, line, 3),
    },
    Column {
        head: "Client µs",
        cell: |all, line| number(all.middle(line, Figure::client_per_delivery), 2),
    },
];

/// Everything, as Markdown.
pub fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for fact in &results.facts {
        let _ = writeln!(text, "- {fact}");
    }
    let mut lines = results.lines();
    let memory = lines.extract_if(.., |line| line.scenario == "memory");
    let memory: Vec<Line> = memory.collect();
    lines.retain(|line| results.rounds(line).next().is_some());
    if !lines.is_empty() {
        text += "\n";
        let heads = COLUMNS.iter().map(|column| column.head.to_owned());
        row(&mut text, heads);
        row(&mut text, COLUMNS.iter().map(|_| "---".to_owned()));
        for line in &lines {
            let cells = COLUMNS.iter().map(|column| (column.cell)(results, line));
            row(&mut text, cells.map(Option::unwrap_or_default));
        }
    }
    if !memory.is_empty() {
        text += "\n| Idle streams | Server | Bytes of memory each |\n| --- | --- | --- |\n";
        for line in &memory {
            let bytes = number(results.middle(line, |f| f.memory_per_client), 0);
            let cells = [
                grouped(line.clients as f64),
                line.contender.clone(),
                bytes.unwrap_or_default(),
            ];
            row(&mut text, cells.into_iter());
        }
    }
    if !results.others.is_empty() {
        text += "\n| Scenario | | |\n| --- | --- | --- |\n";
        for fact in &results.others {
            let cells = [&fact.scenario, &fact.name, &fact.value].map(String::clone);
            row(&mut text, cells.into_iter());
        }
    }
    let sum = |value: fn(&Figure) -> u64| results.figures.iter().map(value).sum::<u64>() as f64;
    let ours = |f: &Figure| f.line.contender == "rowcast";
    let _ = writeln!(
        text,
        "\nOf {} deliveries by rowcast {} were missing and {} out of order.",
        grouped(
            results
                .figures
                .iter()
                .filter(|f| ours(f))
                .map(|f| f.deliveries)
                .sum::<u64>() as f64
        ),
        grouped(sum(|f| if f.line.contender == "rowcast" {
            f.missing
        } else {
            0
        })),
        grouped(sum(|f| if f.line.contender == "rowcast" {
            f.out_of_order
        } else {
            0
        })),
    );
    text
}

/// Puts the tables between the marks of a page.
pub fn fill(page: &Path, tables: &str) -> Result<(), Error> {
    let text = fs::read_to_string(page)?;
    let missing = || format!("{} lacks the marks {BEGIN} and {END}", page.display());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(fs::write(
        page,
        format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"),
    )?)
}

fn row(text: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// How many times the cost this is: of bare sockets per delivery, or of the fewest subscriptions per change.
fn ratio(results: &Results, line: &Line) -> Option<String> {
    let lines = results.lines();
    let same = |other: &&Line| other.scenario == line.scenario;
    let bare = lines
        .iter()
        .filter(same)
        .find(|other| other.contender == "bare sockets" && other.clients == line.clients);
    let ratio = match bare {
        Some(bare) => results.ratio(line, bare, Figure::per_delivery),
        None if ONE_RECEIVER.contains(&line.scenario.as_str()) => {
            let few = lines.iter().filter(same);
            let few = few.min_by_key(|other| other.subscriptions)?;
            results.ratio(line, few, Figure::per_change)
        }
        None => None,
    };
    number(ratio, 2)
}

fn latency(results: &Results, line: &Line, index: usize) -> Option<String> {
    number(
        results.middle(line, |figure| Some(figure.latency?[index])),
        2,
    )
}

fn number(value: Option<f64>, digits: usize) -> Option<String> {
    let value = value?;
    match digits {
        0 => Some(grouped(value)),
        digits => Some(format!("{value:.digits$}")),
    }
}

/// With a comma before each three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
