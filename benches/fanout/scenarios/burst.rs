//! Thousands of changes at once: how many events a second there can be.

use super::open::everybody;
use super::{Bench, baseline, line};
use crate::Error;
use crate::baseline::Kind;
use crate::crowd::Crowd;
use crate::figures::Commits;
use crate::measure::{Before, Load, measure};
use crate::site::Row;
use crate::target::Target;

/// One transaction of many rows, and many of one row, one right after the other.
pub(super) async fn burst(bench: &mut Bench<'_>) -> Result<(), Error> {
    let mut ours = bench.rowcast("burst", "").await?;
    let mut baselines = [baseline(Kind::Bare)?, baseline(Kind::Axum)?];
    let clients = bench.options.size(1000, 100);
    let (rows, singles) = bench.options.pick((2000, 500), (500, 100));
    for round in 0..bench.options.rounds() {
        let everybody_of = |target: &Target| everybody(target, clients, bench.options.principals);
        let mut crowd = Crowd::open(ours.address(), everybody_of(&ours)?)?;
        let mut one = line("burst, one transaction", &ours, clients);
        let figure = at_once(&mut ours, &mut crowd, rows, one.clone(), round).await?;
        bench.results.figures.push(figure);
        one.scenario = "burst, many transactions".to_owned();
        let load = as_fast_as_can_be(clients, singles);
        let figure = measure(&mut ours, &mut crowd, &load, one, round).await?;
        bench.results.figures.push(figure);
        drop(crowd);
        for target in &mut baselines {
            target.refresh()?;
            let mut crowd = Crowd::open(target.address(), everybody_of(target)?)?;
            let line = line("burst, many transactions", target, clients);
            let figure = measure(target, &mut crowd, &load, line, round).await?;
            bench.results.figures.push(figure);
        }
    }
    Ok(())
}

fn as_fast_as_can_be(clients: usize, changes: u32) -> Load {
    Load {
        rate: f64::MAX,
        changes,
        under_way_max: changes,
        receivers: clients as u64,
        row: Box::new(|_| Row::default()),
    }
}

async fn at_once(
    target: &mut Target,
    crowd: &mut Crowd,
    rows: u32,
    line: crate::figures::Line,
    round: usize,
) -> Result<crate::figures::Figure, Error> {
    let before = Before::now(target, crowd)?;
    let Target::Rowcast(site) = target else {
        return Err("a statement of many rows is for our own database".into());
    };
    let first = site.take_numbers(rows);
    site.insert_many(first, rows).await?;
    let mut commits = Commits::new(first);
    commits.push(rows);
    let expected = u64::from(rows) * line.clients as u64;
    before.after(line, round, crowd, &commits, expected)
}
