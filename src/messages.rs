//! Messages of the application: how they come into the log.
//!
//! *Owns* [`Messenger`], and the limit of those that are written at a time.
//! *Takes* a [`NewMessage`] from the application that embeds us, or from whoever may send over HTTP.
//! *Gives* a row of the change log, so that every node tells it, and tells it again to who was away.
//! *Never* decides who may send, and delivers nothing itself.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_postgres::error::{DbError, SqlState};

use crate::db::{Database, PoolError};
use crate::event::{Audience, PrincipalName};
use crate::rules::{ClientPredicate, RuleError};

const SEND: &str = include_str!("../sql/messages/send.sql");

/// Messages that are written at a time; each takes a pooled connection, and the others wait.
const SENDING_MAX: usize = 4;

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct NewMessage {
    topic: String,
    data: Value,
    audience: Audience,
}

impl NewMessage {
    /// A message to everybody who has subscribed to a topic. The data is an object, an array or a string.
    pub fn new(topic: impl Into<String>, data: impl Into<Value>) -> Self {
        Self {
            topic: topic.into(),
            data: data.into(),
            audience: Audience::everybody(),
        }
    }

    /// Only to the stream with this client id.
    #[must_use]
    pub fn to_client(mut self, client_id: &str) -> Self {
        self.audience.client = Some(client_id.into());
        self
    }

    /// Only to the streams of this principal.
    #[must_use]
    pub fn to_principal(mut self, principal: PrincipalName) -> Self {
        self.audience.principal = Some(principal);
        self
    }

    /// Only to streams of which a filter is true, such as `@client.store.room = "7"`.
    #[must_use]
    pub fn to_those(mut self, filter: &str) -> Self {
        self.audience.filter = Some(filter.into());
        self
    }

    /// Whom it is for.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Something about it cannot be so.
    #[error("{problem}. {remedy}")]
    Invalid {
        /// What: `topic`, `data`, `to_client`, `to_principal` or `filter`.
        argument: String,
        /// Why not.
        problem: String,
        /// What to do instead.
        remedy: String,
    },
    /// The filter is none.
    #[error("the filter cannot be used: {0}")]
    Filter(#[from] RuleError),
    /// The pool had no connection to give.
    #[error("no connection")]
    Pool(#[from] PoolError),
    /// The database refused it.
    #[error("the message could not be written to the change log")]
    Query(#[source] tokio_postgres::Error),
}

/// Writes messages to the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Messenger {
    database: Database,
    places: Arc<Semaphore>,
}

impl Messenger {
    /// Writes to this database; connects when first asked.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            places: Arc::new(Semaphore::new(SENDING_MAX)),
        }
    }

    /// One that reaches no database, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        let options = crate::db::DatabaseOptions::new("postgres://nobody@127.0.0.1:1/nothing");
        Self::new(Database::new(&options).expect("a good address"))
    }

    /// Sends a message. It is in the log then, and will be told to who has subscribed, by every node; when,
    /// nobody can say. To send it together with changes of rows call `rowcast.send` in their transaction.
    ///
    /// Dropping this half-way leaves open whether it is sent.
    ///
    /// # Errors
    /// If it cannot be sent as it is, or the database does not answer.
    pub async fn send(&self, message: &NewMessage) -> Result<(), SendError> {
        let Audience {
            client,
            principal,
            filter,
        } = &message.audience;
        if let Some(filter) = filter {
            ClientPredicate::compile(filter)?;
        }
        let place = self.places.acquire().await;
        let _place = place.expect("places are never closed");
        let connection = self.database.pool().get().await?;
        let statement = connection.prepare_cached(SEND).await;
        let statement = statement.map_err(SendError::Query)?;
        let data = message.data.to_string();
        let client = client.as_deref();
        let principal = principal.as_ref().map(ToString::to_string);
        let filter = filter.as_deref();
        let sent = connection
            .query(
                &statement,
                &[&message.topic, &data, &client, &principal, &filter],
            )
            .await;
        sent.map(drop).map_err(of_database)
    }
}

/// Tells what is wrong with the message from what is wrong with the database.
fn of_database(error: tokio_postgres::Error) -> SendError {
    let is_argument = |error: &&DbError| {
        *error.code() == SqlState::INVALID_PARAMETER_VALUE || error.code().code().starts_with("22")
    };
    let Some(refused) = error.as_db_error().filter(is_argument) else {
        return SendError::Query(error);
    };
    let problem = refused.message();
    SendError::Invalid {
        // What Postgres itself refuses is the data: a number, or a character, that it cannot hold.
        argument: refused.column().unwrap_or("data").to_owned(),
        problem: problem
            .strip_prefix("rowcast: ")
            .unwrap_or(problem)
            .to_owned(),
        remedy: refused.hint().unwrap_or_default().to_owned(),
    }
}
