//! What capture costs a writer, and how long a change takes to a client:
//! `cargo bench --bench writers`, or `… -- --quick`.
//!
//! A private Postgres that waits for the disk holds one database per [`Variant`]. Each round runs
//! every load against every variant in turn, so that a slow minute of the machine hits all of them;
//! results are ratios to the plain variant of the same round. Absolute figures mean nothing on
//! another machine.

#![allow(clippy::print_stdout, reason = "a benchmark speaks on stdout")]

mod facts;
mod latency;
mod load;
mod options;
mod report;
mod server;
mod site;
mod stream;

use clap::Parser;
use rowcast::embedded::Cluster;

use crate::load::Load;
use crate::options::Options;
use crate::report::Results;
use crate::site::{Site, Variant};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<(), Error> {
    let cluster_options = options.cluster()?;
    let cluster = tokio::task::block_in_place(|| Cluster::start(&cluster_options))?;
    let mut sites = Vec::new();
    let mut left_out = None;
    for variant in Variant::ALL {
        match Site::build(&cluster, variant, options).await {
            Ok(site) => sites.push(site),
            // The others are worth measuring even if the server does not start.
            Err(error) if matches!(variant, Variant::Polled | Variant::Served) => {
                left_out = Some((variant, error));
            }
            Err(error) => return Err(error),
        }
    }
    facts::print(&cluster, &sites[0], options).await?;
    if options.rounds() > 0 {
        compare_throughput(&mut sites, options).await?.print();
    }
    println!("\nfrom the commit's acknowledgement to the client:");
    for latencies in latency::measure(&sites, options).await? {
        println!("{latencies}");
    }
    left_out.map_or(Ok(()), |(variant, error)| {
        Err(format!("`{}` was left out: {error}", variant.title()).into())
    })
}

async fn compare_throughput(sites: &mut [Site], options: &Options) -> Result<Results, Error> {
    let mut results = Results::default();
    for round in 0..options.rounds() {
        println!("round {} of {}", round + 1, options.rounds());
        for load in Load::all(&options.writers) {
            let count = sites.len();
            for turn in 0..count {
                // Another one begins each round, in case the first one pays for something.
                let site = &mut sites[(round + turn) % count];
                let rates = load.run(site, options).await?;
                results.add(site.variant(), round, rates);
                site.settle().await?;
            }
        }
    }
    Ok(results)
}
