//! The log as any client might read it, without knowing what it means.

use std::time::Instant;

use futures_util::{TryStreamExt, pin_mut};

use crate::Error;
use crate::cost::{Cost, Meter};
use crate::site::Site;

const COLUMNS: &str = "select xid::text, lsn, n, collection, op, old, new from rowcast.changes";

/// By a `select` in the order in which it stands, rows not looked at.
pub async fn select(site: &Site) -> Result<Cost, Error> {
    let (client, backend) = site.connection().await?;
    let rows = count(&client).await?;
    let meter = Meter::start(rows, backend)?;
    let begun = Instant::now();
    let none: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
    let stream = client.query_raw(COLUMNS, none).await?;
    pin_mut!(stream);
    let mut seen = 0;
    while let Some(row) = stream.try_next().await? {
        seen += u64::from(row.len() == 7);
    }
    assert_eq!(seen, rows);
    meter.stop(begun.elapsed())
}

/// By `copy` in its binary form, bytes not looked at.
pub async fn copy(site: &Site) -> Result<Cost, Error> {
    let (client, backend) = site.connection().await?;
    let rows = count(&client).await?;
    let meter = Meter::start(rows, backend)?;
    let begun = Instant::now();
    let stream = client
        .copy_out(&format!("copy ({COLUMNS}) to stdout (format binary)"))
        .await?;
    pin_mut!(stream);
    while stream.try_next().await?.is_some() {}
    meter.stop(begun.elapsed())
}

async fn count(client: &tokio_postgres::Client) -> Result<u64, Error> {
    let row = client
        .query_one("select count(*) from rowcast.changes", &[])
        .await?;
    Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
}
