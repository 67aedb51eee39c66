//! How long after its commit was acknowledged a change reaches a client, beside a bare LISTEN.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};
use tokio_postgres::{AsyncMessage, NoTls};

use crate::Error;
use crate::options::Options;
use crate::site::{Site, Variant, connect};
use crate::stream::EventStream;

const PER_SECOND: u32 = 200;
/// Long enough for every reader to fall asleep.
const IDLE_PAUSE: Duration = Duration::from_millis(500);
const ARRIVAL_WITHIN: Duration = Duration::from_secs(20);

/// How the changes come.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Steady,
    Idle,
}

/// Microseconds from acknowledgement to arrival; below zero where the client knew first.
#[derive(Debug)]
pub struct Latencies {
    title: String,
    micros: Vec<i64>,
    lost: usize,
}

impl Latencies {
    /// The value below which this share of the samples is.
    fn quantile(&self, share: f64) -> i64 {
        let last = self.micros.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.micros.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |share| self.quantile(share) as f64 / 1000.0;
        write!(
            f,
            "{:<52} p50 {:>7.2} ms   p99 {:>7.2} ms   ({} samples, {} missing)",
            self.title,
            milliseconds(0.5),
            milliseconds(0.99),
            self.micros.len(),
            self.lost
        )
    }
}

/// A change's number and when it arrived.
type Arrivals = mpsc::UnboundedReceiver<(i64, Instant)>;

/// Measures both paces for a bare LISTEN connection and, if there is a server, for its client.
pub async fn measure(sites: &[Site], options: &Options) -> Result<Vec<Latencies>, Error> {
    let mut lines = Vec::new();
    for (pace, words) in [
        (Pace::Steady, format!("at {PER_SECOND} changes/s")),
        (Pace::Idle, "one change in silence".to_owned()),
    ] {
        for site in sites {
            let Some((path, table, arrivals)) = listen(site).await? else {
                continue;
            };
            let title = format!("{path}, {words}");
            lines.push(sample(site.url(), table, pace, arrivals, title, options).await?);
        }
    }
    Ok(lines)
}

/// The way on which a variant's changes reach a client, for those that have one.
async fn listen(site: &Site) -> Result<Option<(&'static str, &'static str, Arrivals)>, Error> {
    let (sender, arrivals) = mpsc::unbounded_channel();
    match site.variant() {
        Variant::Plain | Variant::Captured | Variant::Polled => Ok(None),
        Variant::Notify => {
            listen_bare(site.url(), sender).await?;
            Ok(Some(("bare LISTEN connection", "ticks", arrivals)))
        }
        Variant::Served => {
            let Some(server) = site.server() else {
                return Ok(None);
            };
            tokio::spawn(follow(server.subscribe("items").await?, sender));
            Ok(Some(("rowcast, server-sent event", "items", arrivals)))
        }
    }
}

async fn follow(
    mut stream: EventStream,
    arrivals: mpsc::UnboundedSender<(i64, Instant)>,
) -> Result<(), Error> {
    while let Some(event) = stream.next().await? {
        let now = Instant::now();
        if let Some(n) = event.n() {
            arrivals.send((n, now))?;
        }
    }
    Ok(())
}

async fn listen_bare(
    url: &str,
    arrivals: mpsc::UnboundedSender<(i64, Instant)>,
) -> Result<(), Error> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            let now = Instant::now();
            if let AsyncMessage::Notification(note) = message
                && let Ok(n) = note.payload().parse()
                && arrivals.send((n, now)).is_err()
            {
                return;
            }
        }
    });
    client.batch_execute("listen ticks").await?;
    // Dropping the client would end the connection.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(client);
    });
    Ok(())
}

async fn sample(
    url: &str,
    table: &str,
    pace: Pace,
    arrivals: Arrivals,
    title: String,
    options: &Options,
) -> Result<Latencies, Error> {
    let acknowledged = match pace {
        Pace::Steady => steady(url, table, options).await?,
        Pace::Idle => idle(url, table, options).await?,
    };
    Ok(compare(acknowledged, arrivals, title).await)
}

type Acknowledged = HashMap<i64, Instant>;

/// Several writers in turn, because one alone might wait for the disk too long.
async fn steady(url: &str, table: &str, options: &Options) -> Result<Acknowledged, Error> {
    const WRITERS: u32 = 4;
    let samples = if options.quick { 200 } else { 2_000 };
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let client = connect(url).await?;
        let insert = client.prepare(&insert_into(table)).await?;
        tasks.push(tokio::spawn(async move {
            let period = Duration::from_secs(1) / PER_SECOND;
            sleep(period * writer).await;
            let mut ticks = interval(period * WRITERS);
            let mut acknowledged = Acknowledged::new();
            for n in (i64::from(writer)..samples).step_by(WRITERS as usize) {
                ticks.tick().await;
                client.execute(&insert, &[&n]).await?;
                acknowledged.insert(n, Instant::now());
            }
            Ok::<_, tokio_postgres::Error>(acknowledged)
        }));
    }
    let mut acknowledged = Acknowledged::new();
    for task in tasks {
        acknowledged.extend(task.await??);
    }
    Ok(acknowledged)
}

async fn idle(url: &str, table: &str, options: &Options) -> Result<Acknowledged, Error> {
    let samples = if options.quick { 4 } else { 25 };
    let client = connect(url).await?;
    let insert = client.prepare(&insert_into(table)).await?;
    let mut acknowledged = Acknowledged::new();
    for n in 0..samples {
        sleep(IDLE_PAUSE).await;
        client.execute(&insert, &[&n]).await?;
        acknowledged.insert(n, Instant::now());
    }
    Ok(acknowledged)
}

fn insert_into(table: &str) -> String {
    format!(
        "insert into public.{table} (n, title, body)
         values ($1, 'How long it takes', repeat('x', 160))"
    )
}

/// Waits for what is still missing and compares.
async fn compare(
    mut acknowledged: Acknowledged,
    mut arrivals: Arrivals,
    title: String,
) -> Latencies {
    let mut micros = Vec::with_capacity(acknowledged.len());
    while !acknowledged.is_empty() {
        let Ok(Some((n, arrived))) = timeout(ARRIVAL_WITHIN, arrivals.recv()).await else {
            break;
        };
        if let Some(committed) = acknowledged.remove(&n) {
            micros.push(signed_micros(committed, arrived));
        }
    }
    micros.sort_unstable();
    Latencies {
        title,
        micros,
        lost: acknowledged.len(),
    }
}

fn signed_micros(from: Instant, to: Instant) -> i64 {
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    micros(to.saturating_duration_since(from)) - micros(from.saturating_duration_since(to))
}
