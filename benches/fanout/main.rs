//! What it costs to tell many clients what happens: `cargo bench --bench fanout`, or `… -- --small`.
//!
//! A private Postgres, `rowcast serve` as a process of its own, and clients that cost next to nothing.
//! Baselines run in turn with us, so that a slow minute of the machine hits all; ratios are to those of
//! the same round. Absolute figures mean nothing on another machine. `docs/performance.md` explains the
//! scenarios.

#![allow(clippy::print_stdout, reason = "a benchmark speaks on stdout")]

mod baseline;
mod check;
mod crowd;
mod door;
mod facts;
mod figures;
mod frames;
mod listen;
mod measure;
mod options;
mod people;
mod plot;
mod process;
mod queries;
mod report;
mod scenarios;
mod site;
mod target;

use std::fs;

use clap::Parser;
use rowcast::embedded::Cluster;

use crate::figures::Results;
use crate::options::Options;
use crate::scenarios::Bench;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let files = process::raise_file_limit();
    if let Some(kind) = options.role {
        return baseline::be(kind);
    }
    if let Some(program) = &options.serve {
        return site::become_server(program, &options.database);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&options, files))
}

async fn run(options: &Options, files: u64) -> Result<(), Error> {
    let cluster = Cluster::start(&options.cluster()?)?;
    let facts = facts::gather(&cluster, options, files).await?;
    facts.iter().for_each(|fact| println!("{fact}"));
    let mut bench = Bench {
        options,
        cluster: &cluster,
        results: Results {
            facts,
            ..Results::default()
        },
    };
    let outcome = bench.run().await;
    // What was measured before something went wrong is shown all the same.
    show(options, &bench.results)?;
    outcome?;
    let complaints = check::complaints(&bench.results);
    complaints.iter().for_each(|what| println!("WRONG {what}"));
    match options.check && !complaints.is_empty() {
        true => Err("not everything holds that must hold anywhere; see above".into()),
        false => Ok(()),
    }
}

fn show(options: &Options, results: &Results) -> Result<(), Error> {
    let tables = report::markdown(results);
    println!("\n{tables}");
    if let Some(page) = &options.page {
        report::fill(page, &tables)?;
        if let Some(svg) = plot::svg(results) {
            fs::write(page.with_extension("svg"), svg)?;
        }
    }
    Ok(())
}
