//! A database session for one command, whose notices are shown.

use std::future::poll_fn;
use std::pin::pin;

use tokio_postgres::{AsyncMessage, Client};

use super::failure::Failure;
use super::terminal;
use crate::db::{Database, DatabaseConnection};

/// Connects, and shows what the database remarks beside its results.
pub(super) async fn open(database: &Database, command: &str) -> Result<Client, Failure> {
    let (client, connection) = database.connect(&format!("rowcast {command}")).await?;
    // Ends when the client is dropped.
    tokio::spawn(show_notices(connection));
    Ok(client)
}

async fn show_notices(connection: DatabaseConnection) {
    let mut connection = pin!(connection);
    // An error ends the statement under way, which tells it.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message {
            let text = notice.message();
            let text = text.strip_prefix("rowcast: ").unwrap_or(text);
            terminal::note(format_args!("note: {text}"));
        }
    }
}
