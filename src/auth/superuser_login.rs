//! Superusers that log in by password.

use tokio::time::timeout;
use tokio_postgres::Client;

use super::claims::Subject;
use super::login::LoginError;
use super::password::hash;
use super::principal::SUPERUSERS_ID;
use super::records::RecordError;
use super::superusers::{
    ADD_SECRET, ADD_SUPERUSER, SUPERUSER_TOKEN_LIFETIME, check_email, superuser_key,
};
use super::token::{random_id, random_key, sign};
use crate::db::Database;

const SUPERUSER_PASSWORD: &str = include_str!("../../sql/auth/superuser_password.sql");
const SET_PASSWORD: &str = include_str!("../../sql/auth/set_superuser_password.sql");

/// Whether somebody is to have a password for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordChange {
    /// Who has none gets one, and who is not there is created.
    First,
    /// Who has one gets another; tokens from before end.
    Another,
}

/// Why a superuser got no password.
#[derive(Debug, thiserror::Error)]
pub enum SuperuserError {
    /// The email is none.
    #[error("{0:?} is no email address; write it like admin@example.com")]
    Email(String),
    /// Somebody may be using it.
    #[error("{0} has a password already; for another one run: rowcast superuser password {0}")]
    HasPassword(String),
    /// There is nothing to change.
    #[error("{0} has no password yet; for the first one run: rowcast superuser create {0}")]
    NoPassword(String),
    /// The hash failed.
    #[error("could not hash the password")]
    Hash,
    /// The database refused.
    #[error("could not read or write the superusers")]
    Query(#[from] tokio_postgres::Error),
}

/// Gives a superuser a password. Dropping it half-way changes nothing.
///
/// # Errors
/// If the superuser is not as `change` expects, or the database refuses.
pub async fn set_superuser_password(
    client: &mut Client,
    email: &str,
    password: &str,
    change: PasswordChange,
) -> Result<(), SuperuserError> {
    check_email(email).map_err(|_| SuperuserError::Email(email.to_owned()))?;
    let hash = hash(password).await.ok_or(SuperuserError::Hash)?;
    let transaction = client.transaction().await?;
    if change == PasswordChange::First {
        let new = [random_id(), email.to_owned(), random_key()];
        let [id, email, token_key] = &new;
        transaction
            .execute(ADD_SUPERUSER, &[id, email, token_key])
            .await?;
        transaction.execute(ADD_SECRET, &[&random_key()]).await?;
    }
    let row = transaction.query_opt(SUPERUSER_PASSWORD, &[&email]).await?;
    let row = row.ok_or_else(|| SuperuserError::NoPassword(email.to_owned()))?;
    let (id, old): (String, Option<String>) = (row.try_get("id")?, row.try_get("password")?);
    match (change, old) {
        (PasswordChange::First, Some(_)) => Err(SuperuserError::HasPassword(email.to_owned())),
        (PasswordChange::Another, None) => Err(SuperuserError::NoPassword(email.to_owned())),
        _ => {
            transaction
                .execute(SET_PASSWORD, &[&id, &hash, &random_key()])
                .await?;
            Ok(transaction.commit().await?)
        }
    }
}

/// A superuser as found by its email, before anything is proved.
pub(super) struct FoundSuperuser {
    pub(super) id: String,
    /// The password's hash; never leaves this room.
    pub(super) password: Option<String>,
}

pub(super) async fn find_superuser(
    database: &Database,
    email: &str,
) -> Result<Option<FoundSuperuser>, RecordError> {
    if email.contains('\0') {
        return Ok(None);
    }
    let read = async {
        let client = database.pool().get().await.map_err(Box::new)?;
        let statement = client.prepare_cached(SUPERUSER_PASSWORD).await?;
        let Some(row) = client.query_opt(&statement, &[&email]).await? else {
            return Ok(None);
        };
        Ok(Some(FoundSuperuser {
            id: row.try_get("id")?,
            password: row.try_get("password")?,
        }))
    };
    let read = timeout(database.statement_deadline(), read).await;
    read.unwrap_or(Err(RecordError::Timeout))
}

/// A token for a superuser that can be traded for a newer one.
pub(super) async fn issue_for_superuser(
    database: &Database,
    id: &str,
) -> Result<String, LoginError> {
    let key = superuser_key(database, id).await;
    let key = key.map_err(|_| LoginError::Token("the superuser's key could not be read"))?;
    let key = key.ok_or(LoginError::Token(
        "its token key, or the superusers' secret in rowcast.secrets, is empty or gone",
    ))?;
    let subject = Subject {
        collection: SUPERUSERS_ID,
        id,
    };
    let token = sign(subject, SUPERUSER_TOKEN_LIFETIME, true, &key);
    token.map_err(|_| LoginError::Token("it cannot be signed"))
}
