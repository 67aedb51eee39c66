//! One round of one line: changes at a rate, and what they cost.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::Error;
use crate::crowd::{Crowd, Harvest};
use crate::figures::{Commits, Figure, Line};
use crate::process::Process;
use crate::site::Row;
use crate::target::Target;

/// Changes under way at a steady rate.
pub const UNDER_WAY_MAX: u32 = 20;
/// How many times longer than its rate asks for a load may take, until it is cut short.
const LATE_MAX: u32 = 2;
/// No load is cut short before.
const END_MIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How many changes, how fast, and who receives them.
pub struct Load {
    /// Changes per second, one after the other.
    pub rate: f64,
    /// How many at most.
    pub changes: u32,
    /// How many may be under way; further ones wait, so that a slow server is given less to do.
    pub under_way_max: u32,
    /// How many events a change makes.
    pub receivers: u64,
    /// The row of the change that comes at this place.
    pub row: Box<dyn Fn(u32) -> Row + Send>,
}

impl Load {
    /// Everybody receives everything; so fast that it makes this many events per second.
    pub fn to_all(clients: usize, deliveries_per_second: f64, window: Duration) -> Self {
        let rate = (deliveries_per_second / clients as f64).clamp(2.0, 200.0);
        Self {
            rate,
            changes: (rate * window.as_secs_f64()).ceil() as u32,
            under_way_max: UNDER_WAY_MAX,
            receivers: clients as u64,
            row: Box::new(|_| Row::default()),
        }
    }
}

/// The processor time and the clients' view before a measurement.
pub struct Before {
    process: Option<Process>,
    cpu: Duration,
    clients_cpu: Duration,
    received: u64,
}

impl Before {
    /// Now.
    pub fn now(target: &Target, crowd: &mut Crowd) -> Result<Self, Error> {
        let process = target.process()?;
        Ok(Self {
            process,
            cpu: process.map_or(Ok(Duration::ZERO), Process::cpu)?,
            clients_cpu: crowd.harvest()?.cpu,
            received: crowd.received(),
        })
    }

    /// Waits for the events of these commits and says what they took.
    pub fn after(
        self,
        line: Line,
        round: usize,
        crowd: &mut Crowd,
        commits: &Commits,
        expected: u64,
    ) -> Result<Figure, Error> {
        let received = crowd.await_received(self.received + expected)? - self.received;
        let cpu = self.process.map(Process::cpu).transpose()?;
        let Harvest {
            arrivals,
            out_of_order,
            bytes,
            cpu: clients_cpu,
            ..
        } = crowd.harvest()?;
        let (latency, span) = commits.compare(&arrivals, crowd.began);
        Ok(Figure {
            line,
            round,
            changes: commits.count(),
            deliveries: received,
            seconds: span.as_secs_f64(),
            cpu_micros: cpu.map(|cpu| micros(cpu.saturating_sub(self.cpu))),
            client_cpu_micros: micros(clients_cpu.saturating_sub(self.clients_cpu)),
            latency,
            memory_per_client: None,
            queries: None,
            bytes,
            out_of_order,
            missing: expected.saturating_sub(received),
        })
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Writes a load and measures it.
pub async fn measure(
    target: &mut Target,
    crowd: &mut Crowd,
    load: &Load,
    line: Line,
    round: usize,
) -> Result<Figure, Error> {
    warm_up(target, crowd, load).await?;
    let before = Before::now(target, crowd)?;
    let mut commits = None;
    let start = Instant::now();
    let due = |place: u32| start + Duration::from_secs_f64(f64::from(place) / load.rate);
    let end = start + (due(load.changes) - start).max(END_MIN) * LATE_MAX;
    let received = crowd.received();
    for place in 0..load.changes {
        // Who is late hurries: the rate is what is measured at.
        sleep_until(due(place)).await;
        while u64::from(place)
            >= (crowd.received() - received) / load.receivers + u64::from(load.under_way_max)
            && Instant::now() < end
        {
            sleep(LOOK_AGAIN).await;
        }
        if Instant::now() >= end {
            break;
        }
        let n = write(target, load, place).await?;
        commits.get_or_insert_with(|| Commits::new(n)).push(1);
    }
    let commits = commits.ok_or("not a single change")?;
    let expected = commits.count() * load.receivers;
    before.after(line, round, crowd, &commits, expected)
}

/// A few changes that nobody counts, so that everything has run once.
async fn warm_up(target: &mut Target, crowd: &mut Crowd, load: &Load) -> Result<(), Error> {
    const CHANGES: u32 = 3;
    let expected = crowd.received() + u64::from(CHANGES) * load.receivers;
    for place in 0..CHANGES {
        write(target, load, place).await?;
    }
    crowd.await_received(expected)?;
    sleep(Duration::from_millis(50)).await;
    Ok(())
}

async fn write(target: &mut Target, load: &Load, place: u32) -> Result<u32, Error> {
    let n = target.take_number();
    let row = (load.row)(place);
    target.write(&Row { n, ..row }).await?;
    Ok(n)
}
