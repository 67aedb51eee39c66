//! What was measured, and what is made of several rounds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;
use crate::crowd::Arrival;

/// What a line of a table is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The scenario, as on the command line, and what tells its variants apart.
    pub scenario: String,
    /// Who was measured: `rowcast`, a baseline, or the peer.
    pub contender: String,
    /// Open streams.
    pub clients: usize,
    /// Subscriptions on all of them.
    pub subscriptions: usize,
}

/// One round of a line.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    #[serde(flatten)]
    pub line: Line,
    /// Which round this was.
    pub round: usize,
    /// Changes that were written.
    pub changes: u64,
    /// Events that arrived.
    pub deliveries: u64,
    /// From the first change's commit to the last event's arrival.
    pub seconds: f64,
    /// The server's processor time; nothing where its process is unknown.
    pub cpu_micros: Option<f64>,
    /// The clients' processor time.
    pub client_cpu_micros: f64,
    /// From commit to client: the middle, the worst of 95 and of 99 %, and the worst of all, in milliseconds.
    pub latency: Option<[f64; 4]>,
    /// Bytes of the server's memory per stream.
    pub memory_per_client: Option<f64>,
    /// Statements that the server sent, where they were counted.
    pub queries: Option<u64>,
    /// Bytes that the clients received.
    pub bytes: u64,
    /// Events that arrived after a later one, or twice.
    pub out_of_order: u64,
    /// Events that did not arrive.
    pub missing: u64,
}

impl Figure {
    /// The server's microseconds for each event.
    pub fn per_delivery(&self) -> Option<f64> {
        per(self.cpu_micros?, self.deliveries)
    }

    /// The server's microseconds for each change.
    pub fn per_change(&self) -> Option<f64> {
        per(self.cpu_micros?, self.changes)
    }

    /// The clients' microseconds for each event.
    pub fn client_per_delivery(&self) -> Option<f64> {
        per(self.client_cpu_micros, self.deliveries)
    }

    /// Events per second.
    pub fn rate(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.deliveries as f64 / self.seconds)
    }
}

fn per(whole: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| whole / count as f64)
}

/// Something else that a scenario tells: name and text.
#[derive(Debug, Clone, Serialize)]
pub struct Fact {
    /// The scenario.
    pub scenario: String,
    /// What it is.
    pub name: String,
    /// How much it is, with its unit.
    pub value: String,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    /// The machine and the programs.
    pub facts: Vec<String>,
    /// Every round of every line.
    pub figures: Vec<Figure>,
    /// What fits in no line.
    pub others: Vec<Fact>,
}

impl Results {
    /// Notes a fact of a scenario.
    pub fn note(&mut self, scenario: &str, name: impl Into<String>, value: impl Into<String>) {
        self.others.push(Fact {
            scenario: scenario.to_owned(),
            name: name.into(),
            value: value.into(),
        });
    }

    /// Writes everything into this file, if there is one.
    pub fn save(&self, file: Option<&Path>) -> Result<(), Error> {
        let Some(file) = file else {
            return Ok(());
        };
        Ok(fs::write(file, serde_json::to_vec_pretty(self)?)?)
    }

    /// All lines, in the order in which they were measured first.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for figure in &self.figures {
            if !lines.contains(&figure.line) {
                lines.push(figure.line.clone());
            }
        }
        lines
    }

    /// The rounds of a line.
    pub fn rounds(&self, line: &Line) -> impl Iterator<Item = &Figure> {
        self.figures
            .iter()
            .filter(move |figure| figure.line == *line)
    }

    /// The median of the rounds.
    pub fn middle(&self, line: &Line, value: impl Fn(&Figure) -> Option<f64>) -> Option<f64> {
        median(self.rounds(line).filter_map(value))
    }

    /// The median, over the rounds of both, of how many times more `line` is than `base`.
    pub fn ratio(
        &self,
        line: &Line,
        base: &Line,
        value: impl Fn(&Figure) -> Option<f64>,
    ) -> Option<f64> {
        median(self.rounds(line).filter_map(|figure| {
            let other = self
                .rounds(base)
                .find(|other| other.round == figure.round)?;
            Some(value(figure)? / value(other)?)
        }))
    }
}

/// The middle of these values.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// When each change's commit was acknowledged, from a first number on.
#[derive(Debug, Default)]
pub struct Commits {
    first: u32,
    at: Vec<Instant>,
}

impl Commits {
    /// For changes numbered from here on.
    pub fn new(first: u32) -> Self {
        Self {
            first,
            at: Vec::new(),
        }
    }

    /// So many next changes are committed now.
    pub fn push(&mut self, count: u32) {
        let now = Instant::now();
        self.at.extend((0..count).map(|_| now));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.at.len() as u64
    }

    /// The middle, 95 %, 99 % and maximum of the milliseconds from commit to arrival, and the last
    /// arrival's distance from the first commit. An arrival before the acknowledgement counts as 0.
    pub fn compare(&self, arrivals: &[Arrival], began: Instant) -> (Option<[f64; 4]>, Duration) {
        let micros = |at: &Instant| at.saturating_duration_since(began).as_micros() as u32;
        let at: Vec<u32> = self.at.iter().map(micros).collect();
        let mut waits: Vec<u32> = arrivals
            .iter()
            .filter_map(|arrival| {
                let committed = at.get(arrival.n.checked_sub(self.first)? as usize)?;
                Some(arrival.micros.saturating_sub(*committed))
            })
            .collect();
        waits.sort_unstable();
        let last = arrivals.iter().map(|arrival| arrival.micros).max();
        let first = at.first().copied().unwrap_or_default();
        let span = last.unwrap_or_default().saturating_sub(first);
        let quantile = |share: f64| {
            let index = (waits.len().saturating_sub(1)) as f64 * share;
            waits
                .get(index.round() as usize)
                .copied()
                .map(|micros| f64::from(micros) / 1000.0)
        };
        let shares = [0.5, 0.95, 0.99, 1.0].map(quantile);
        let all = shares.iter().all(Option::is_some);
        let latency = all.then(|| shares.map(Option::unwrap_or_default));
        (latency, Duration::from_micros(u64::from(span)))
    }
}
