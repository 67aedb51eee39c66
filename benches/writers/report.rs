//! The table: ratios to the plain variant of the same round, and what stands behind them.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};

use crate::load::Rates;
use crate::site::Variant;

/// Every figure: line, variant, round → rows per second.
#[derive(Debug, Default)]
pub struct Results {
    /// The lines, in the order first seen.
    lines: Vec<String>,
    rates: BTreeMap<(String, Variant, usize), f64>,
}

impl Results {
    /// Notes what a load achieved.
    pub fn add(&mut self, variant: Variant, round: usize, rates: Rates) {
        for (line, rate) in rates {
            if !self.lines.contains(&line) {
                self.lines.push(line.clone());
            }
            self.rates.insert((line, variant, round), rate);
        }
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let heads = Variant::ALL.map(Variant::title);
        table.set_header(["rows/s, and median ratio to plain"].iter().chain(&heads));
        for line in &self.lines {
            let cells = Variant::ALL.map(|variant| self.cell(line, variant));
            table.add_row([line.clone()].into_iter().chain(cells));
        }
        println!("\n{table}\n(lowest and highest ratio of the rounds in brackets)");
    }

    fn cell(&self, line: &str, variant: Variant) -> String {
        let rates = self.of(line, variant);
        let plain = self.of(line, Variant::Plain);
        let Some(rate) = median(rates.values().copied()) else {
            return "–".to_owned();
        };
        if variant == Variant::Plain {
            return format!("{rate:.0}");
        }
        let ratios: Vec<f64> = rates
            .iter()
            .filter_map(|(round, rate)| Some(rate / plain.get(round)?))
            .collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        let middle = median(ratios.into_iter()).unwrap_or_default();
        format!("{middle:.2} [{low:.2}–{high:.2}]  {rate:.0}")
    }

    /// The rates of one cell by round.
    fn of(&self, line: &str, variant: Variant) -> BTreeMap<usize, f64> {
        self.rates
            .iter()
            .filter(|((one, of, _), _)| one == line && *of == variant)
            .map(|((.., round), rate)| (*round, *rate))
            .collect()
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
