//! Superusers: made and given tokens by the command line.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;

use super::claims::Subject;
use super::principal::SUPERUSERS_ID;
use super::records::RecordError;
use super::token::{random_id, random_key, sign, signing_key};
use crate::db::{Database, PoolError};

const SUPERUSER_KEYS: &str = include_str!("../../sql/auth/superuser_keys.sql");
pub(super) const ADD_SUPERUSER: &str = include_str!("../../sql/auth/add_superuser.sql");
const SUPERUSER_BY_EMAIL: &str = include_str!("../../sql/auth/superuser_by_email.sql");
const SUPERUSER_RECORD: &str = include_str!("../../sql/auth/superuser_record.sql");
pub(super) const ADD_SECRET: &str = include_str!("../../sql/auth/add_secret.sql");

/// How long a superuser's token lives if nobody says otherwise.
pub const SUPERUSER_TOKEN_LIFETIME: Duration = Duration::from_secs(86_400);
pub(super) const LIFETIME_MIN: Duration = Duration::from_secs(10);
/// About three years, as in PocketBase.
pub(super) const LIFETIME_MAX: Duration = Duration::from_secs(94_670_856);

/// A token just issued.
#[derive(Clone)]
pub struct NewToken {
    /// The token itself.
    pub token: String,
    /// Whether the superuser was created with it.
    pub created: bool,
}

/// Never shows the token.
impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken")
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The email is none.
    #[error("{0:?} is no email address; write it like admin@example.com")]
    Email(String),
    /// The lifetime is out of bounds.
    #[error("a token may live from 10s to 3years, not {}", humantime::format_duration(*.0))]
    Lifetime(Duration),
    /// The database refused.
    #[error("could not read or write the superusers")]
    Query(#[from] tokio_postgres::Error),
    /// Somebody emptied a key.
    #[error(
        "the token key or the secret in rowcast.superusers or rowcast.secrets is empty; delete the \
         row to have a new one made"
    )]
    EmptyKey,
    /// The token could not be signed.
    #[error("could not sign the token")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Issues a token for the superuser with this email, who is created if there is none. The token
/// cannot be refreshed. Dropping it half-way may leave the new superuser behind.
///
/// # Errors
/// If the email or the lifetime is not allowed or the database refuses.
pub async fn issue_superuser_token(
    client: &Client,
    email: &str,
    expires_in: Duration,
) -> Result<NewToken, IssueError> {
    check_email(email)?;
    if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&expires_in) {
        return Err(IssueError::Lifetime(expires_in));
    }
    let (id, token_key) = (random_id(), random_key());
    let created = client
        .query_opt(ADD_SUPERUSER, &[&id, &email, &token_key])
        .await?
        .is_some();
    client.execute(ADD_SECRET, &[&random_key()]).await?;
    let row = client.query_one(SUPERUSER_BY_EMAIL, &[&email]).await?;
    let id: String = row.try_get("id")?;
    let row = client.query_one(SUPERUSER_KEYS, &[&id]).await?;
    let (token_key, secret): (String, String) = (row.try_get("token_key")?, row.try_get("secret")?);
    let key = signing_key(&token_key, &secret).ok_or(IssueError::EmptyKey)?;
    let subject = Subject {
        collection: SUPERUSERS_ID,
        id: &id,
    };
    let token = sign(subject, expires_in, false, &key)?;
    Ok(NewToken { token, created })
}

pub(super) fn check_email(email: &str) -> Result<(), IssueError> {
    let good = email.len() <= 255
        && !email.contains(|c: char| c.is_whitespace() || c.is_control())
        && email.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && !host.contains('@')
        });
    match good {
        true => Ok(()),
        false => Err(IssueError::Email(email.to_owned())),
    }
}

/// The key of this superuser's tokens; `None` if there is no such superuser.
pub(super) async fn superuser_key(
    database: &Database,
    id: &str,
) -> Result<Option<String>, KeyError> {
    let read = timeout(database.statement_deadline(), read_key(database, id)).await;
    read.unwrap_or(Err(KeyError::Timeout))
}

async fn read_key(database: &Database, id: &str) -> Result<Option<String>, KeyError> {
    let client = database.pool().get().await.map_err(Box::new)?;
    let statement = client.prepare_cached(SUPERUSER_KEYS).await?;
    let Some(row) = client.query_opt(&statement, &[&id]).await? else {
        return Ok(None);
    };
    let token_key: String = row.try_get("token_key")?;
    let secret: String = row.try_get("secret")?;
    Ok(signing_key(&token_key, &secret))
}

/// A superuser as one line of JSON; `None` if there is none with this id.
pub(super) async fn superuser_record(
    database: &Database,
    id: &str,
) -> Result<Option<String>, RecordError> {
    let read = async {
        let client = database.pool().get().await.map_err(Box::new)?;
        let statement = client.prepare_cached(SUPERUSER_RECORD).await?;
        let row = client.query_opt(&statement, &[&id]).await?;
        Ok(row.map(|row| row.try_get("record")).transpose()?)
    };
    let read = timeout(database.statement_deadline(), read).await;
    read.unwrap_or(Err(RecordError::Timeout))
}

/// Why a key could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("no connection to the database was free")]
    Pool(#[from] Box<PoolError>),
    #[error("could not read the superuser's key")]
    Query(#[from] tokio_postgres::Error),
    #[error("the database did not answer in time")]
    Timeout,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_looked_at_before_anybody_is_created() {
        for (email, good) in [
            ("a@b", true),
            ("admin@example.com", true),
            ("admin", false),
            ("@b", false),
            ("a@", false),
            ("a@b@c", false),
            ("a b@c", false),
            ("", false),
        ] {
            assert_eq!(check_email(email).is_ok(), good, "{email:?}");
        }
    }
}
