//! Tokens for records that whoever has the database asks for, without a password.

use std::time::Duration;

use super::login::{LoginError, issue};
use super::records::{AuthRecords, RecordError};
use super::superusers::{LIFETIME_MAX, LIFETIME_MIN};
use crate::db::Database;

/// Why no token was issued for a record.
#[derive(Debug, thiserror::Error)]
pub enum IssueRecordError {
    /// The lifetime is out of bounds.
    #[error("a token may live from 10s to 3years, not {}", humantime::format_duration(*.0))]
    Lifetime(Duration),
    /// There is no such collection.
    #[error("there is no collection {collection:?}; the auth collections are: {}", in_words(.others))]
    UnknownCollection {
        /// The name that was given.
        collection: String,
        /// Those that would do.
        others: Vec<String>,
    },
    /// Its records do not log in.
    #[error("{collection} is no auth collection; the auth collections are: {}", in_words(.others))]
    NotAuthCollection {
        /// Its name.
        collection: String,
        /// Those that would do.
        others: Vec<String>,
    },
    /// There is no such record.
    #[error("{collection} has no record {id:?}; an id is the text of the primary key")]
    UnknownRecord {
        /// The collection's name.
        collection: String,
        /// The id that was given.
        id: String,
    },
    /// The database refused.
    #[error("could not read the record")]
    Record(#[from] RecordError),
    /// The token cannot be signed.
    #[error("no token can be signed for this record: {0}")]
    Sign(String),
}

/// Issues a token for a record of an auth collection, named or by id. The token cannot be refreshed;
/// it ends as all of this record's tokens end. Dropping it half-way may leave the collection's secret
/// behind.
///
/// # Errors
/// If there is no such record, the lifetime is not allowed, or the database refuses.
pub async fn issue_record_token(
    database: &Database,
    collection: &str,
    id: &str,
    expires_in: Duration,
) -> Result<String, IssueRecordError> {
    if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&expires_in) {
        return Err(IssueRecordError::Lifetime(expires_in));
    }
    let records = AuthRecords::new(database.clone());
    let Some(found) = records.collection(collection).await? else {
        return Err(IssueRecordError::UnknownCollection {
            collection: collection.to_owned(),
            others: records.auth_collections().await?,
        });
    };
    if found.auth.is_none() {
        return Err(IssueRecordError::NotAuthCollection {
            collection: found.name.to_string(),
            others: records.auth_collections().await?,
        });
    }
    let record = records.find(&found, None, id).await?;
    let mut record = record.ok_or_else(|| IssueRecordError::UnknownRecord {
        collection: found.name.to_string(),
        id: id.to_owned(),
    })?;
    records.give_secret(&mut record).await?;
    issue(&record, expires_in, false).map_err(|error| match error {
        LoginError::Token(why) => IssueRecordError::Sign(why.to_owned()),
        other => IssueRecordError::Sign(other.to_string()),
    })
}

fn in_words(names: &[String]) -> String {
    match names {
        [] => "none; attach a table with --auth".to_owned(),
        names => names.join(", "),
    }
}
