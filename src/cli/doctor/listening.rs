//! Whether a notification arrives, which a pooler in between may prevent.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_postgres::AsyncMessage;

use super::super::failure::{Failure, explain};
use super::Finding;
use crate::db::{Database, DatabaseConnection};

const LISTEN: &str = include_str!("../../../sql/cli/doctor_listen.sql");
const NOTIFY: &str = include_str!("../../../sql/cli/doctor_notify.sql");

/// How long a notification may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Listens in one transaction and notifies in another; a pooler that changes servers in between
/// loses it.
pub(super) async fn check(database: &Database) -> Result<Finding, Failure> {
    let (client, connection) = database.connect("rowcast doctor").await?;
    let (ring, heard) = oneshot::channel();
    // Ends when the client is dropped.
    tokio::spawn(hear(connection, ring));
    let rung = async {
        client.batch_execute(LISTEN).await?;
        client.batch_execute(NOTIFY).await
    };
    if let Err(error) = rung.await {
        return Ok(Finding::bad(format!("cannot listen: {}", explain(&error))));
    }
    Ok(match timeout(DEADLINE, heard).await {
        Ok(Ok(())) => Finding::good("notifications arrive"),
        _ => Finding::bad(
            "notifications do not arrive: there is a pooler in transaction mode in between; give \
             the database's own address as database_direct_url (the reader polls until then)",
        ),
    })
}

/// Drives the connection to its end and tells of the first notification.
async fn hear(connection: DatabaseConnection, ring: oneshot::Sender<()>) {
    let mut connection = pin!(connection);
    let mut ring = Some(ring);
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let (AsyncMessage::Notification(_), Some(ring)) = (message, ring.take()) {
            // Nobody waits any more: the deadline has passed.
            let _ = ring.send(());
        }
    }
}
