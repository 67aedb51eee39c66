//! The quickest way a change can reach anybody: a connection that listens, and nothing in between.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_postgres::{AsyncMessage, NoTls};

use crate::Error;
use crate::crowd::Arrival;
use crate::figures::{Commits, Figure, Line};
use crate::site::Site;

const PER_SECOND: u32 = 200;
const ARRIVAL_WITHIN: Duration = Duration::from_secs(10);

/// Latency of notifications at a steady rate, from the commit to us.
pub async fn measure(site: &Site, round: usize, window: Duration) -> Result<Figure, Error> {
    let (client, mut connection) = tokio_postgres::connect(site.url(), NoTls).await?;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let began = Instant::now();
    let listening = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            let AsyncMessage::Notification(note) = message else {
                continue;
            };
            let micros = began.elapsed().as_micros() as u32;
            if let Ok(n) = note.payload().parse() {
                let _ = sender.send(Arrival { n, micros });
            }
        }
    });
    client.batch_execute("listen ticks").await?;
    let insert = site
        .client()
        .prepare("insert into public.ticks (n) values ($1)")
        .await?;
    let count = (window.as_secs_f64() * f64::from(PER_SECOND)) as u32;
    let mut commits = Commits::new(1);
    let start = tokio::time::Instant::now();
    for n in 1..=count {
        sleep_until(start + Duration::from_secs(1) * n / PER_SECOND).await;
        site.client().execute(&insert, &[&i64::from(n)]).await?;
        commits.push(1);
    }
    let mut arrivals = Vec::new();
    while arrivals.len() < count as usize {
        match timeout(ARRIVAL_WITHIN, receiver.recv()).await {
            Ok(Some(arrival)) => arrivals.push(arrival),
            _ => break,
        }
    }
    listening.abort();
    let (latency, span) = commits.compare(&arrivals, began);
    let deliveries = arrivals.len() as u64;
    Ok(Figure {
        line: Line {
            scenario: "open".to_owned(),
            contender: "bare LISTEN".to_owned(),
            clients: 1,
            subscriptions: 1,
        },
        round,
        changes: u64::from(count),
        deliveries,
        seconds: span.as_secs_f64(),
        cpu_micros: None,
        client_cpu_micros: 0.0,
        latency,
        memory_per_client: None,
        queries: None,
        bytes: 0,
        out_of_order: 0,
        missing: u64::from(count) - deliveries,
    })
}
