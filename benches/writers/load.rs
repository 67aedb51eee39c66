//! The loads: one-row transactions by several writers, and statements over many rows.

use std::time::Instant;

use futures_util::future::try_join_all;

use crate::Error;
use crate::options::Options;
use crate::site::{Site, Writer};

/// Rows per statement.
const ROWS: u32 = 10_000;

/// One line of the table, or three: a bulk cycle is measured statement by statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Load {
    /// So many writers, each inserting one row per transaction, as fast as they can.
    Inserts { writers: usize },
    /// Insert, update and delete [`ROWS`] rows, a statement each.
    Bulk,
}

/// What a load achieved: lines of the table with rows per second.
pub type Rates = Vec<(String, f64)>;

impl Load {
    /// All of them, in the order of the table.
    pub fn all(writers: &[usize]) -> Vec<Self> {
        let inserts = writers.iter().map(|&writers| Self::Inserts { writers });
        inserts.chain([Self::Bulk]).collect()
    }

    /// Runs it once.
    pub async fn run(self, site: &Site, options: &Options) -> Result<Rates, Error> {
        match self {
            Self::Inserts { writers } => {
                let rate = inserts(&site.writers[..writers], options).await?;
                Ok(vec![(
                    format!("one-row inserts, {writers:>2} writers"),
                    rate,
                )])
            }
            Self::Bulk => bulk(site).await,
        }
    }
}

/// Rows per second of these writers together.
async fn inserts(writers: &[Writer], options: &Options) -> Result<f64, Error> {
    let start = Instant::now();
    let end = start + options.cell();
    let counts = try_join_all(writers.iter().map(|writer| insert_until(writer, end))).await?;
    let rows: u32 = counts.into_iter().sum();
    Ok(f64::from(rows) / start.elapsed().as_secs_f64())
}

async fn insert_until(writer: &Writer, end: Instant) -> Result<u32, Error> {
    let mut rows = 0;
    while Instant::now() < end {
        writer.insert(0).await?;
        rows += 1;
    }
    Ok(rows)
}

async fn bulk(site: &Site) -> Result<Rates, Error> {
    let insert = format!(
        "insert into public.bulk (n, title, body)
         select n, 'What a row costs when somebody listens', lpad(n::text, 160, '0')
         from generate_series(1, {ROWS}) n"
    );
    let mut rates = Rates::new();
    for (name, statement) in [
        ("insert", insert.as_str()),
        ("update", "update public.bulk set done = not done"),
        ("delete", "delete from public.bulk"),
    ] {
        let start = Instant::now();
        site.control.execute(statement, &[]).await?;
        let rate = f64::from(ROWS) / start.elapsed().as_secs_f64();
        rates.push((format!("{name} of {ROWS} rows"), rate));
    }
    // The next cycle begins with an empty table again.
    site.control.batch_execute("vacuum public.bulk").await?;
    Ok(rates)
}
