//! How fast changes come out of the log, and what each costs:
//! `cargo bench --bench capture`, or `… -- --rows 20000` for a short one.
//!
//! Everything runs in one private Postgres, which writes by itself, so that no client is in the way. A
//! change is a row of about 250 bytes. *Sustained* is read while one writer writes; *catch-up* begins with
//! all of it written. Beside them stands the same log read by a bare `select`, and by `copy`, as a baseline of
//! the same minute: ratios hold on another machine, absolute figures do not.

#![allow(clippy::print_stdout, reason = "a benchmark speaks on stdout")]

mod baseline;
mod cost;
mod feed;
mod site;

use std::time::{Duration, Instant};

use clap::Parser;

use crate::cost::Cost;
use crate::feed::{Feed, Kind};
use crate::site::{Shape, Site};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Measures how fast changes come out of the log, and what each costs.
#[derive(Debug, Parser)]
struct Options {
    /// Changes per measurement; one-row transactions are a tenth.
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// How often each is measured; the fastest counts, because everything else is the machine's noise.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only what has this in its name.
    #[arg(long, default_value = "")]
    only: String,
    /// How long the sleeping reader is watched, in seconds; 0 leaves it out.
    #[arg(long, default_value_t = 40)]
    idle: u64,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<(), Error> {
    let site = Site::build().await?;
    println!(
        "{:<44}{:>12}{:>14}{:>14}{:>16}",
        "", "changes/s", "rowcast", "its backend", "of bare select"
    );
    for shape in Shape::ALL {
        let rows = shape.rows(options.rows);
        for kind in [Kind::Channel, Kind::Hub] {
            for catching_up in [false, true] {
                let way = if catching_up { "catch-up" } else { "sustained" };
                let name = format!("{}, {way}, {}", shape.title(), kind.title());
                // A hub takes what there is; only a task that counts can be told to wait.
                if catching_up && kind == Kind::Hub || !name.contains(&options.only) {
                    continue;
                }
                let mut best: Option<(Cost, Cost)> = None;
                for _ in 0..options.rounds {
                    let cost = measure(&site, kind, shape, rows, catching_up).await?;
                    let bare = baseline::select(&site).await?;
                    if best.as_ref().is_none_or(|(best, _)| cost.took < best.took) {
                        best = Some((cost, bare));
                    }
                    site.empty_log().await?;
                }
                if let Some((cost, bare)) = best {
                    println!(
                        "{name:<44}{cost}{:>16.2}",
                        cost.per_second() / bare.per_second()
                    );
                }
            }
        }
    }
    baselines(&site, options).await?;
    if options.idle > 0 {
        idle(&site, Duration::from_secs(options.idle)).await?;
    }
    Ok(())
}

async fn measure(
    site: &Site,
    kind: Kind,
    shape: Shape,
    rows: u64,
    catching_up: bool,
) -> Result<Cost, Error> {
    let mut feed = Feed::start(site, kind).await?;
    if catching_up {
        // Nobody takes anything meanwhile, so reading waits, as it does for a database that is away.
        site.write(shape, rows).await?;
    }
    let meter = feed.meter(rows).await?;
    let begun = Instant::now();
    let (written, taken) = tokio::join!(
        async {
            match catching_up {
                true => Ok(()),
                false => site.write(shape, rows).await,
            }
        },
        feed.take(rows)
    );
    written?;
    taken?;
    let cost = meter.stop(begun.elapsed())?;
    feed.stop().await;
    Ok(cost)
}

async fn baselines(site: &Site, options: &Options) -> Result<(), Error> {
    site.write(Shape::Statements, options.rows).await?;
    let bare = baseline::select(site).await?;
    println!("{:<44}{bare}", "the log by a bare select");
    println!("{:<44}{}", "the log by copy", baseline::copy(site).await?);
    site.empty_log().await
}

/// What a server does of which nobody wants anything.
async fn idle(site: &Site, time: Duration) -> Result<(), Error> {
    let mut feed = Feed::start(site, Kind::Hub).await?;
    site.asleep().await?;
    let queries = site.statements().await?;
    let meter = feed.meter(1).await?;
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    let cost = meter.stop(begun.elapsed())?;
    // Those that count are among them.
    let queries = site.statements().await? - queries;
    println!(
        "asleep for {time:?}: rowcast {:.3} %, its backend {:.3} % of a core, {queries} transactions in the database",
        cost.ours.as_secs_f64() / time.as_secs_f64() * 100.0,
        cost.backend.as_secs_f64() / time.as_secs_f64() * 100.0,
    );
    feed.stop().await;
    Ok(())
}
