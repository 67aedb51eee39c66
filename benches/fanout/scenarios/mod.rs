//! What is measured: a file for each kind of load.

mod burst;
mod matching;
mod open;
mod reconnect;
mod rest;

use std::time::Instant;

use clap::ValueEnum;
use rowcast::embedded::Cluster;

use crate::Error;
use crate::baseline::{Baseline, Kind};
use crate::figures::{Line, Results};
use crate::options::{Options, Scenario};
use crate::site::Site;
use crate::target::Target;

/// Events per second that a steady load makes at most: less than the machine can do.
const DELIVERIES_PER_SECOND: f64 = 30_000.0;

/// What all scenarios work with.
pub struct Bench<'b> {
    /// What was asked for.
    pub options: &'b Options,
    /// Where databases are made.
    pub cluster: &'b Cluster,
    /// What has been measured so far.
    pub results: Results,
}

impl Bench<'_> {
    /// Measures what was asked for.
    pub async fn run(&mut self) -> Result<(), Error> {
        for scenario in Scenario::value_variants() {
            if self.options.wants(*scenario) {
                let start = Instant::now();
                let outcome = self.measure(*scenario).await;
                println!("{scenario:?} took {:.1?}", start.elapsed());
                // Whoever loses patience keeps what there is.
                self.results.save(self.options.json.as_deref())?;
                outcome?;
            }
        }
        Ok(())
    }

    async fn measure(&mut self, scenario: Scenario) -> Result<(), Error> {
        match scenario {
            Scenario::Open => open::open(self).await,
            Scenario::Constant => open::constant(self).await,
            Scenario::Owner => matching::owner(self).await,
            Scenario::Filter => matching::filter(self).await,
            Scenario::Record => matching::record(self).await,
            Scenario::Burst => burst::burst(self).await,
            Scenario::Slow => rest::slow(self).await,
            Scenario::Idle => rest::idle(self).await,
            Scenario::Memory => rest::memory(self).await,
            Scenario::Churn => rest::churn(self).await,
            Scenario::Reconnect => reconnect::reconnect(self).await,
        }
    }

    /// A server of ours for a collection with this rule.
    async fn site(&self, name: &str, rule: &str) -> Result<Site, Error> {
        Site::build(self.cluster, &self.options.server, name, rule).await
    }

    async fn rowcast(&self, name: &str, rule: &str) -> Result<Target, Error> {
        Ok(Target::Rowcast(Box::new(self.site(name, rule).await?)))
    }
}

fn baseline(kind: Kind) -> Result<Target, Error> {
    Ok(Target::Baseline(kind, Baseline::start(kind)?))
}

/// A line of a table about streams with one subscription each.
fn line(scenario: &str, target: &Target, clients: usize) -> Line {
    Line {
        scenario: scenario.to_owned(),
        contender: target.name().to_owned(),
        clients,
        subscriptions: clients,
    }
}
