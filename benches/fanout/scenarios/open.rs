//! Everybody receives everything: ours beside the baselines, in turn.

use super::{Bench, DELIVERIES_PER_SECOND, baseline, line};
use crate::Error;
use crate::baseline::Kind;
use crate::crowd::Crowd;
use crate::door::Member;
use crate::listen;
use crate::measure::{Load, measure};
use crate::people::{guests, members};
use crate::target::{Peer, Target};

/// A public collection.
pub(super) async fn open(bench: &mut Bench<'_>) -> Result<(), Error> {
    let mut targets = vec![
        bench.rowcast("open", "").await?,
        baseline(Kind::Bare)?,
        baseline(Kind::Axum)?,
    ];
    targets.extend(Peer::of(bench.options)?.map(Target::Peer));
    let sizes = bench.options.sizes(&[100, 1000, 5000, 15_000], &[50, 300]);
    in_turn(bench, "open", &mut targets, &sizes).await?;
    let Target::Rowcast(site) = &targets[0] else {
        return Ok(());
    };
    for round in 0..bench.options.rounds() {
        let figure = listen::measure(site, round, bench.options.window()).await?;
        bench.results.figures.push(figure);
    }
    Ok(())
}

/// A rule that says the same to everybody.
pub(super) async fn constant(bench: &mut Bench<'_>) -> Result<(), Error> {
    let rule = "status = \"public\"";
    let mut targets = vec![
        bench.rowcast("constant", rule).await?,
        baseline(Kind::Bare)?,
    ];
    let sizes = bench.options.sizes(&[1000, 5000], &[300]);
    in_turn(bench, "constant", &mut targets, &sizes).await
}

async fn in_turn(
    bench: &mut Bench<'_>,
    scenario: &str,
    targets: &mut [Target],
    sizes: &[usize],
) -> Result<(), Error> {
    for &clients in sizes {
        let load = Load::to_all(clients, DELIVERIES_PER_SECOND, bench.options.window());
        for round in 0..bench.options.rounds() {
            for target in &mut *targets {
                target.refresh()?;
                let everybody = everybody(target, clients, bench.options.principals)?;
                let mut crowd = Crowd::open(target.address(), everybody)?;
                let line = line(scenario, target, clients);
                let figure = measure(target, &mut crowd, &load, line, round).await?;
                bench.results.figures.push(figure);
            }
        }
    }
    Ok(())
}

/// Clients to whom everything is sent; only ours knows the tokens.
pub(super) fn everybody(
    target: &Target,
    clients: usize,
    principals: Option<usize>,
) -> Result<Vec<Member>, Error> {
    let topics = target.topics();
    match target {
        Target::Rowcast(_) => members(clients, principals.unwrap_or(clients), |_| topics.clone()),
        Target::Baseline(..) | Target::Peer(_) => Ok(guests(clients, &topics)),
    }
}
