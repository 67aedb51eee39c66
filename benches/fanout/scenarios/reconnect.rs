//! All clients come back at once and want what they have missed.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Bench;
use crate::Error;
use crate::crowd::Crowd;
use crate::door::Member;
use crate::figures::{Figure, Line};
use crate::people::guests;
use crate::queries::Queries;
use crate::site::{Row, Site};

/// Streams that are opened at one time: a storm, not a queue.
const AT_ONCE: usize = 1000;

/// What the clients are away for.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// Their connections were cut.
    Cut,
    /// The server was killed and started again.
    Killed,
}

/// As a browser's `EventSource` does it: one request with the last id.
pub(super) async fn reconnect(bench: &mut Bench<'_>) -> Result<(), Error> {
    let clients = bench.options.size(10_000, 300);
    let mut site = bench.site("reconnect", "").await?;
    Queries::log(bench.cluster, &site).await?;
    for reason in [Reason::Cut, Reason::Killed] {
        come_back(bench, &mut site, clients, reason).await?;
    }
    Queries::stop(bench.cluster).await
}

async fn come_back(
    bench: &mut Bench<'_>,
    site: &mut Site,
    clients: usize,
    reason: Reason,
) -> Result<(), Error> {
    const BEFORE: u32 = 3;
    let missed = bench.options.pick(100, 20);
    let mut crowd = Crowd::open(site.address(), plain(clients, &[]))?;
    write(site, BEFORE).await?;
    crowd.await_received(u64::from(BEFORE) * clients as u64)?;
    let ids = crowd.harvest()?.ids;
    drop(crowd);
    match reason {
        Reason::Cut => {
            let mut witness = Crowd::open(site.address(), plain(1, &[]))?;
            write(site, missed).await?;
            witness.await_received(u64::from(missed))?;
        }
        Reason::Killed => {
            site.kill().await?;
            write(site, missed).await?;
            site.start().await?;
        }
    }
    // So that the reader of the log sleeps, and what is asked is asked for those who come back.
    sleep(Duration::from_secs(2)).await;
    let process = site.process()?;
    process.forget_peak()?;
    let (memory, cpu) = (process.memory()?, process.cpu()?);
    let queries = Queries::of_server(bench.cluster, site)?;
    let start = Instant::now();
    let mut crowd = Crowd::enter(site.address(), plain(clients, &ids), AT_ONCE);
    crowd.await_open(clients as u64)?;
    let opened = start.elapsed();
    let expected = u64::from(missed) * clients as u64;
    let received = crowd.await_received(expected)?;
    let harvest = crowd.harvest()?;
    let arrived = harvest.arrivals.iter().map(|arrival| arrival.micros).max();
    let arrived = Duration::from_micros(u64::from(arrived.unwrap_or_default()));
    let cpu = process.cpu()? - cpu;
    let queries = queries.count()?;
    let peak = process.memory_peak()?.saturating_sub(memory);
    let name = match reason {
        Reason::Cut => "connections cut",
        Reason::Killed => "kill -9 and restart",
    };
    let scenario = format!("reconnect, {name}");
    let value = format!(
        "all open after {:.2} s, all told after {:.2} s; {queries} queries; memory {:.0} MiB more at its peak",
        opened.as_secs_f64(),
        arrived.as_secs_f64(),
        peak as f64 / f64::from(1 << 20),
    );
    let about = format!("{clients} clients, {missed} changes missed, {name}");
    bench.results.note("reconnect", about, value);
    bench.results.figures.push(Figure {
        line: Line {
            scenario,
            contender: "rowcast".to_owned(),
            clients,
            subscriptions: clients,
        },
        round: 0,
        changes: u64::from(missed),
        deliveries: received,
        seconds: arrived.as_secs_f64(),
        cpu_micros: Some(cpu.as_secs_f64() * 1e6),
        client_cpu_micros: harvest.cpu.as_secs_f64() * 1e6,
        latency: None,
        memory_per_client: Some(peak as f64 / clients as f64),
        queries: Some(queries),
        bytes: harvest.bytes,
        out_of_order: harvest.out_of_order,
        missing: expected.saturating_sub(received),
    });
    Ok(())
}

/// Clients that say all in one request, and where they were.
fn plain(clients: usize, ids: &[String]) -> Vec<Member> {
    let members = guests(clients, &[]).into_iter().enumerate();
    let members = members.map(|(number, member)| Member {
        target: "/api/realtime?subscriptions=items/*".to_owned(),
        last_id: ids.get(number).cloned(),
        keeps_id: true,
        ..member
    });
    members.collect()
}

async fn write(site: &mut Site, count: u32) -> Result<(), Error> {
    for _ in 0..count {
        let n = site.take_number();
        let row = Row {
            n,
            ..Row::default()
        };
        site.write(&row).await?;
    }
    Ok(())
}
