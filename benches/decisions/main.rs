//! What it costs to say who may see what: `cargo bench --bench decisions`, or `… -- --quick`.
//!
//! Every line is measured once per round, all of them in turn, so that a slow minute of the machine
//! hits all; ratios are to the plain way of the same round. Absolute figures mean nothing on another
//! machine.

#![allow(clippy::print_stdout, reason = "a benchmark speaks on stdout")]

mod compile;
mod decide;
mod gates;
mod hub;
mod measure;
mod related;
mod world;

use std::fs;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Parser;

use crate::measure::Group;
use crate::world::World;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures what a rule, a gate and a policy cost.
#[derive(Debug, Parser)]
struct Options {
    /// Milliseconds per line and round.
    #[arg(long, default_value_t = 20)]
    cell: u64,
    /// How often every line is measured.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Three rounds of short cells: shows that everything works, and roughly what comes out.
    #[arg(long)]
    quick: bool,
    /// Only the hub.
    #[arg(long)]
    hub: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let (rounds, cell) = match options.quick {
        true => (3, Duration::from_millis(2)),
        false => (options.rounds, Duration::from_millis(options.cell)),
    };
    print_facts(rounds, cell)?;
    if options.hub {
        return hub::print(options.quick);
    }
    let world = World::new();
    let site = related::Site::open()?;
    let mut groups = vec![
        compile::group(&world),
        decide::one(&world),
        decide::many(&world),
    ];
    groups.push(gates::group(&world)?);
    groups.push(related::batches(&site));
    groups.push(related::decisions(&site, &world));
    for _ in 0..rounds {
        groups.iter_mut().for_each(|group| group.measure(cell));
    }
    groups.iter().for_each(Group::print);
    println!("\n(medians of the rounds; lowest and highest in brackets)");
    hub::print(options.quick)?;
    Ok(())
}

/// Prints what one must know to judge the figures.
fn print_facts(rounds: usize, cell: Duration) -> Result<(), Error> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown model", |(_, name)| name.trim());
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    println!("{} cores: {cpu}; a {build} build", available_parallelism()?);
    println!(
        "{rounds} rounds, {cell:.1?} per line, lines in turn, one thread; Postgres on the same machine"
    );
    Ok(())
}
