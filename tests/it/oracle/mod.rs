//! The oracle of the feed: random tables, rules, subscribers, transactions and faults, and Postgres' own
//! answer to what each subscriber must have heard.
//!
//! A run is a seed. Without further notice there are twenty runs with fixed seeds and twenty with seeds of the day, which the
//! output names; 10,000 statements together. A seed draws the same world again, though not the same moments:
//!
//! ```sh
//! ROWCAST_FEED_SEED=7 cargo test --test it oracle:: -- --nocapture                             # that one alone
//! ROWCAST_FEED_SEED=7 ROWCAST_FEED_STEPS=10000000 cargo test --test it oracle::fixed -- --nocapture   # a soak
//! ```
//!
//! What is checked of each client's stream: nothing lost, nothing extra, nothing doubled; each record's content, without
//! hidden columns; each record's changes in their order; transactions whole, once, and after those they had seen; and one
//! order of transactions for all clients. A client that was away begins anew: what committed after its
//! subscriptions were answered must come.

mod chaos;
mod clients;
mod policy;
mod run;
mod verdict;
mod world;
mod writers;

use std::env;

use rand::RngExt;

/// Statements of each run, unless `ROWCAST_FEED_STEPS` says otherwise.
const STEPS: usize = 250;
/// Runs with fixed seeds, and runs with others.
const RUNS: u64 = 20;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

fn steps() -> usize {
    number("ROWCAST_FEED_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap())
}

/// Runs one after another and says what they did.
async fn all(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        run::run(seed, steps()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixed_seeds_find_nothing_lost_extra_leaked_or_misplaced() {
    match number("ROWCAST_FEED_SEED") {
        Some(seed) => all([seed].into_iter()).await,
        None => all(1..=RUNS).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_seeds_find_nothing_lost_extra_leaked_or_misplaced() {
    if number("ROWCAST_FEED_SEED").is_none() {
        let first: u64 = rand::rng().random_range(1_000..1_000_000_000);
        all(first..first + RUNS).await;
    }
}
