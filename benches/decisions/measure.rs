//! Lines that are measured in turn, and the table they make.

use std::hint::black_box;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};

/// Some ways to the same end; the first is what the others are compared with, unless they say otherwise.
pub struct Group<'w> {
    title: &'static str,
    lines: Vec<Line<'w>>,
}

struct Line<'w> {
    title: String,
    /// The line that it is compared with.
    baseline: usize,
    /// Into how many its time is divided.
    parts: f64,
    work: Box<dyn FnMut() + 'w>,
    /// Nanoseconds for the work once, by round.
    times: Vec<f64>,
}

impl<'w> Group<'w> {
    pub fn new(title: &'static str) -> Self {
        Self {
            title,
            lines: Vec::new(),
        }
    }

    /// Adds what later lines are compared with.
    pub fn baseline<T>(&mut self, title: impl Into<String>, work: impl FnMut() -> T + 'w) {
        let next = self.lines.len();
        self.add(title, next, 1, work);
    }

    /// Adds a line that is compared with the baseline before it.
    pub fn line<T>(&mut self, title: impl Into<String>, work: impl FnMut() -> T + 'w) {
        self.share(title, 1, work);
    }

    /// As [`line`](Self::line), for work of so many parts, of which one is told.
    pub fn share<T>(
        &mut self,
        title: impl Into<String>,
        parts: usize,
        work: impl FnMut() -> T + 'w,
    ) {
        let baseline = self.lines.last().map_or(0, |line| line.baseline);
        self.add(title, baseline, parts, work);
    }

    fn add<T>(
        &mut self,
        title: impl Into<String>,
        baseline: usize,
        parts: usize,
        mut work: impl FnMut() -> T + 'w,
    ) {
        self.lines.push(Line {
            title: title.into(),
            baseline,
            parts: parts as f64,
            work: Box::new(move || drop(black_box(work()))),
            times: Vec::new(),
        });
    }

    /// One round.
    pub fn measure(&mut self, cell: Duration) {
        for line in &mut self.lines {
            let time = time_of(&mut line.work, cell);
            line.times.push(time / line.parts);
        }
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([self.title, "ns", "", "times the plain way"]);
        for (index, line) in self.lines.iter().enumerate() {
            let spread = format!("[{}]", range(&line.times, |time| format!("{time:.0}")));
            let ratio = match line.baseline == index {
                true => "–".to_owned(),
                false => ratios(&line.times, &self.lines[line.baseline].times),
            };
            let time = format!("{:.0}", median(&line.times));
            table.add_row([line.title.clone(), time, spread, ratio]);
        }
        println!("\n{table}");
    }
}

/// Nanoseconds for the work once: the median of many short samples, so that being interrupted in some
/// of them does not count.
fn time_of(work: &mut dyn FnMut(), cell: Duration) -> f64 {
    const SAMPLES: u32 = 50;
    let mut repeats = 1_u32;
    while sample(work, repeats) * SAMPLES < cell {
        repeats = repeats.saturating_mul(2);
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed() < cell {
        let time = sample(work, repeats);
        times.push(time.as_nanos() as f64 / f64::from(repeats));
    }
    median(&times)
}

fn sample(work: &mut dyn FnMut(), repeats: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..repeats {
        work();
    }
    start.elapsed()
}

fn ratios(times: &[f64], baseline: &[f64]) -> String {
    let ratios: Vec<f64> = times
        .iter()
        .zip(baseline)
        .map(|(time, base)| time / base)
        .collect();
    // Three digits, whether it is a hundredth or a thousand times as much.
    let written = |ratio: f64| match ratio {
        small if small < 0.1 => format!("{small:.4}"),
        large if large >= 10.0 => format!("{large:.0}"),
        other => format!("{other:.2}"),
    };
    format!("{} [{}]", written(median(&ratios)), range(&ratios, written))
}

fn range(values: &[f64], written: impl Fn(f64) -> String) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    format!("{}–{}", written(low), written(high))
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
