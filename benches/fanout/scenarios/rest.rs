//! Those who read nothing, those who wait, and those who come and go.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::open::everybody;
use super::{Bench, DELIVERIES_PER_SECOND, baseline, line};
use crate::Error;
use crate::baseline::Kind;
use crate::crowd::Crowd;
use crate::figures::{Commits, Figure};
use crate::measure::{Before, Load, measure};
use crate::people::members;
use crate::queries::Queries;
use crate::target::Target;

/// Clients that read, with and without neighbours that do not.
pub(super) async fn slow(bench: &mut Bench<'_>) -> Result<(), Error> {
    let mut ours = bench.rowcast("slow", "").await?;
    let clients = bench.options.size(200, 100);
    let window = bench.options.window();
    let load = Load::to_all(clients, DELIVERIES_PER_SECOND, window);
    for round in 0..bench.options.rounds() {
        for slow in [0, clients / 10] {
            let mut everybody = everybody(&ours, clients + slow, None)?;
            for member in everybody.iter_mut().take(slow) {
                member.is_slow = true;
            }
            let mut crowd = Crowd::open(ours.address(), everybody)?;
            let scenario = format!("slow, {slow} that read nothing");
            let line = line(&scenario, &ours, clients);
            let figure = measure(&mut ours, &mut crowd, &load, line, round).await?;
            bench.results.figures.push(figure);
        }
    }
    Ok(())
}

/// What a server does that has nothing to do.
pub(super) async fn idle(bench: &mut Bench<'_>) -> Result<(), Error> {
    /// Long enough for the last of what was asked for by streams to be answered.
    const SETTLED: Duration = Duration::from_secs(2);
    let site = bench.site("idle", "").await?;
    let clients = bench.options.size(1000, 100);
    let everybody = members(clients, clients, |_| vec!["items/*".to_owned()])?;
    let crowd = Crowd::open(site.address(), everybody)?;
    Queries::log(bench.cluster, &site).await?;
    sleep(SETTLED).await;
    let queries = Queries::of_server(bench.cluster, &site)?;
    let (process, before, start) = (site.process()?, site.process()?.cpu()?, Instant::now());
    sleep(
        bench
            .options
            .pick(Duration::from_secs(20), Duration::from_secs(3)),
    )
    .await;
    let cpu = process.cpu()? - before;
    let seconds = start.elapsed().as_secs_f64();
    let count = queries.count()?;
    Queries::stop(bench.cluster).await?;
    let share = cpu.as_secs_f64() / seconds * 100.0;
    let name = format!("{clients} clients, nothing happens for {seconds:.0} s");
    let value = format!(
        "{share:.3} % of a core, {count} queries, {} streams ended",
        crowd.ended()
    );
    bench.results.note("idle", name, value);
    Ok(())
}

/// What a stream takes that waits, in servers that have done nothing else.
pub(super) async fn memory(bench: &mut Bench<'_>) -> Result<(), Error> {
    const SETTLED: Duration = Duration::from_secs(2);
    let clients = bench.options.size(15_000, 300);
    let targets = [
        bench.rowcast("memory", "").await?,
        baseline(Kind::Bare)?,
        baseline(Kind::Axum)?,
    ];
    for target in targets {
        let Some(process) = target.process()? else {
            continue;
        };
        let before = process.memory()?;
        let members = everybody(&target, clients, bench.options.principals)?;
        let mut crowd = Crowd::open(target.address(), members)?;
        sleep(SETTLED).await;
        let grown = process.memory()?.saturating_sub(before);
        let line = line("memory", &target, clients);
        let nothing = Before::now(&target, &mut crowd)?;
        let figure = nothing.after(line, 0, &mut crowd, &Commits::default(), 0)?;
        bench.results.figures.push(Figure {
            memory_per_client: Some(grown as f64 / clients as f64),
            ..figure
        });
    }
    Ok(())
}

/// Clients that come and go, again and again: memory must not grow.
pub(super) async fn churn(bench: &mut Bench<'_>) -> Result<(), Error> {
    /// As many until everything has its size.
    const WARM: u32 = 5;
    let target = bench.rowcast("churn", "").await?;
    let clients = bench.options.size(500, 100);
    let process = target.process()?.ok_or("our server has a process")?;
    let lasting = bench
        .options
        .pick(Duration::from_secs(30), Duration::from_secs(3));
    let (mut cycles, mut first) = (0, 0);
    let start = Instant::now();
    while cycles <= WARM || start.elapsed() < lasting {
        drop(Crowd::open(
            target.address(),
            everybody(&target, clients, None)?,
        )?);
        cycles += 1;
        if cycles == WARM {
            first = all_gone(&target).await?;
        }
    }
    let last = all_gone(&target).await?;
    let streams = u64::from(cycles - WARM) * clients as u64;
    let per_second = f64::from(cycles) * clients as f64 / start.elapsed().as_secs_f64();
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let growth = last as f64 - first as f64;
    let name = format!("{streams} streams come and go, {per_second:.0} a second");
    let value = format!(
        "memory {:.1} MiB before, {:.1} MiB after: {:.0} bytes per stream; at most {:.1} MiB",
        megabytes(first),
        megabytes(last),
        growth / streams.max(1) as f64,
        megabytes(process.memory_peak()?),
    );
    bench.results.note("churn", name, value);
    Ok(())
}

/// Waits until the server knows that all have gone, and says how much memory it has.
async fn all_gone(target: &Target) -> Result<u64, Error> {
    let (Target::Rowcast(site), Some(process)) = (target, target.process()?) else {
        return Err("only our own server says how many streams it has".into());
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = site.metric("rowcast_subscribers ").await?;
        if left == 0 {
            return process.memory();
        }
        if Instant::now() > deadline {
            return Err(format!("{left} streams are left that their clients have closed").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}
