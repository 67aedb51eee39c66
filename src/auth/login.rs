//! Logging in by password, and trading a token for a newer one (contract, sections 6.3 and 6.4).

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::authenticate::token_in;
use super::authenticator::{Authenticator, Proved};
use super::claims::Subject;
use super::judge::{Candidate, JudgeLogin, LoginRequest};
use super::password::{PasswordError, Passwords};
use super::principal::{Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
use super::records::{FoundRecord, RecordError};
use super::superuser_login::{find_superuser, issue_for_superuser};
use super::superusers::superuser_record;
use super::token::sign;
use crate::catalog::{AuthSettings, Collection, Rule};
use crate::event::RowImage;

/// How long the token of an auth record lives.
pub const RECORD_TOKEN_LIFETIME: Duration = Duration::from_secs(432_000);

/// Lets people in; cloning shares the limits.
#[derive(Clone)]
pub struct Login {
    authenticator: Authenticator,
    passwords: Passwords,
    judge: Arc<dyn JudgeLogin>,
}

/// An auth collection at whose door somebody knocks.
#[derive(Debug, Clone)]
pub enum Door {
    /// The superusers, who log in by email.
    Superusers,
    /// An auth collection of the database.
    Collection(Arc<Collection>),
}

/// Somebody who is in.
pub struct LoggedIn {
    /// The token to show from now on.
    pub token: String,
    /// Whose it is.
    pub record: LoginRecord,
}

/// Whose token it is, as it is to be shown to its owner.
pub enum LoginRecord {
    /// A record of an auth collection.
    Row {
        /// Describes the image.
        collection: Arc<Collection>,
        /// The record's id.
        id: Arc<str>,
        /// The row.
        image: RowImage,
    },
    /// A superuser, as one line of JSON.
    Superuser(String),
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such collection.
    #[error("there is no such collection")]
    UnknownCollection,
    /// The collection is none of those one logs in from.
    #[error("it is no auth collection")]
    NotAuthCollection,
    /// The collection has no passwords.
    #[error("the collection has no passwords")]
    PasswordDisabled,
    /// Nobody has this identity, or the password is another.
    #[error("no such identity, or another password")]
    Failed,
    /// The auth rule says no.
    #[error("the auth rule denies it")]
    Denied,
    /// The token proves nothing.
    #[error("no valid token")]
    NoToken,
    /// The token is one of another collection, which is named.
    #[error("the token is one of {0}")]
    OtherCollection(Arc<str>),
    /// Too many log in at this time.
    #[error("too many log in at this time")]
    Busy,
    /// The database has not answered.
    #[error("the record could not be read")]
    Record(#[from] RecordError),
    /// A token could not be made.
    #[error("no token could be made: {0}")]
    Token(&'static str),
}

impl Door {
    /// The columns by which one may log in; empty without passwords.
    pub fn identity_fields(&self) -> &[Arc<str>] {
        static OF_SUPERUSERS: LazyLock<[Arc<str>; 1]> = LazyLock::new(|| ["email".into()]);
        let has_passwords = |settings: &&AuthSettings| settings.password.is_some();
        match self {
            Self::Superusers => &*OF_SUPERUSERS,
            Self::Collection(collection) => {
                let settings = collection.auth.as_ref().filter(has_passwords);
                settings.map_or(&[], |settings| &settings.identity)
            }
        }
    }
}

impl Login {
    /// Lets in those this authenticator knows and, where a rule is asked, this judge admits.
    pub fn new(authenticator: Authenticator, judge: impl JudgeLogin) -> Self {
        Self {
            authenticator,
            passwords: Passwords::new(),
            judge: Arc::new(judge),
        }
    }

    /// For tests of other rooms: its database does not answer.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        let options = crate::db::DatabaseOptions::new("postgres://nobody@127.0.0.1:1/nothing");
        let database = crate::db::Database::new(&options).expect("an address");
        Self::new(Authenticator::new(database), super::NoJudge)
    }

    /// The auth collection of this name or id.
    ///
    /// # Errors
    /// If there is none or it is no auth collection, and if the database does not answer.
    pub async fn door(&self, name_or_id: &str) -> Result<Door, LoginError> {
        if name_or_id == SUPERUSERS_ID || name_or_id.eq_ignore_ascii_case(SUPERUSERS_NAME) {
            return Ok(Door::Superusers);
        }
        let records = self.authenticator.records();
        let collection = records.collection_now(name_or_id).await?;
        let collection = collection.ok_or(LoginError::UnknownCollection)?;
        match collection.auth {
            Some(_) => Ok(Door::Collection(collection)),
            None => Err(LoginError::NotAuthCollection),
        }
    }

    /// Logs in by password; `field` limits which column the identity may stand in. Safe to drop
    /// half-way.
    ///
    /// # Errors
    /// As [`LoginError`] says; who is unknown takes as long as who is wrong.
    pub async fn with_password(
        &self,
        door: &Door,
        identity: &str,
        password: &str,
        field: Option<&str>,
        request: &LoginRequest,
    ) -> Result<LoggedIn, LoginError> {
        let Door::Collection(collection) = door else {
            return self.superuser_with_password(identity, password).await;
        };
        let found = self.find(collection, door, identity, field).await?;
        // An account without a password is as good as none.
        let hash = found.as_ref().and_then(|found| found.password.as_deref());
        let hash = hash.filter(|hash| !hash.is_empty());
        let right = self.passwords.is_right(&collection.id, password, hash);
        let right = right
            .await
            .or_else(|error| not_checked(error, &collection.name))?;
        match found {
            Some(found) if right => self.admit(found, request).await,
            _ => Err(LoginError::Failed),
        }
    }

    async fn superuser_with_password(
        &self,
        email: &str,
        password: &str,
    ) -> Result<LoggedIn, LoginError> {
        let database = self.authenticator.database();
        let found = find_superuser(database, email).await?;
        let hash = found.as_ref().and_then(|found| found.password.as_deref());
        let id = SUPERUSERS_ID.into();
        let right = self.passwords.is_right(&id, password, hash).await;
        let right = right.or_else(|error| not_checked(error, SUPERUSERS_NAME))?;
        let found = found.filter(|_| right).ok_or(LoginError::Failed)?;
        self.superuser(&found.id, issue_for_superuser(database, &found.id).await?)
            .await
    }

    /// A superuser who is in, with this token.
    async fn superuser(&self, id: &str, token: String) -> Result<LoggedIn, LoginError> {
        let record = superuser_record(self.authenticator.database(), id).await?;
        Ok(LoggedIn {
            token,
            record: LoginRecord::Superuser(record.ok_or(LoginError::NoToken)?),
        })
    }

    /// Looks in all columns, also when one has been found, so that both take the same time.
    async fn find(
        &self,
        collection: &Arc<Collection>,
        door: &Door,
        identity: &str,
        field: Option<&str>,
    ) -> Result<Option<FoundRecord>, LoginError> {
        let mut fields: Vec<&str> = door.identity_fields().iter().map(|name| &**name).collect();
        // As in PocketBase, the email first.
        fields.sort_by_key(|name| *name != "email");
        let mut found = None;
        for name in fields {
            if field.is_none_or(|only| only == name) {
                let records = self.authenticator.records();
                let record = records.find(collection, Some(name), identity).await?;
                found = found.or(record);
            }
        }
        Ok(found)
    }

    async fn admit(
        &self,
        mut record: FoundRecord,
        request: &LoginRequest,
    ) -> Result<LoggedIn, LoginError> {
        self.check_auth_rule(&record, &Principal::Guest, request)
            .await?;
        self.authenticator
            .records()
            .give_secret(&mut record)
            .await?;
        let token = issue(&record, RECORD_TOKEN_LIFETIME, true)?;
        Ok(LoggedIn::of(record, token))
    }

    /// Trades the token in this `Authorization` header for a newer one, if it may be refreshed;
    /// otherwise gives it back. Safe to drop half-way.
    ///
    /// # Errors
    /// As [`LoginError`] says.
    pub async fn refresh(
        &self,
        door: &Door,
        authorization: Option<&str>,
        request: &LoginRequest,
    ) -> Result<LoggedIn, LoginError> {
        let shown = authorization
            .and_then(token_in)
            .ok_or(LoginError::NoToken)?;
        let proved = self.authenticator.proved(shown).await;
        let (claims, proved) = proved.ok_or(LoginError::NoToken)?;
        match (proved, door) {
            (Proved::Record(record), Door::Collection(collection))
                if record.collection.id == collection.id =>
            {
                let itself = Principal::Record(record.principal().into());
                self.check_auth_rule(&record, &itself, request).await?;
                let token = match claims.refreshable() {
                    true => issue(&record, RECORD_TOKEN_LIFETIME, true)?,
                    false => shown.to_owned(),
                };
                Ok(LoggedIn::of(*record, token))
            }
            (Proved::Superuser(id), Door::Superusers) => {
                let token = match claims.refreshable() {
                    true => issue_for_superuser(self.authenticator.database(), &id).await?,
                    false => shown.to_owned(),
                };
                self.superuser(&id, token).await
            }
            (Proved::Record(record), _) => {
                let other = Arc::clone(&record.collection.name);
                Err(LoginError::OtherCollection(other))
            }
            (Proved::Superuser(_), _) => Err(LoginError::OtherCollection(SUPERUSERS_NAME.into())),
        }
    }
}

impl Login {
    /// Asks the collection's auth rule about a record that has proved itself.
    async fn check_auth_rule(
        &self,
        record: &FoundRecord,
        asker: &Principal,
        request: &LoginRequest,
    ) -> Result<(), LoginError> {
        let settings = record.collection.auth.as_ref();
        let admitted = match settings.map(|settings| &settings.auth_rule) {
            Some(Rule::Public) => true,
            Some(Rule::Expression(rule)) => {
                let catalog = self.authenticator.records().catalog().await?;
                let candidate = Candidate {
                    collection: &record.collection,
                    catalog: &catalog,
                    id: &record.id,
                    image: &record.image,
                    asker,
                };
                self.judge.admits(rule, candidate, request).await
            }
            Some(Rule::Locked) | None => false,
        };
        admitted.then_some(()).ok_or(LoginError::Denied)
    }
}

impl LoggedIn {
    fn of(record: FoundRecord, token: String) -> Self {
        let FoundRecord {
            collection,
            id,
            image,
            ..
        } = record;
        Self {
            token,
            record: LoginRecord::Row {
                collection,
                id,
                image,
            },
        }
    }
}

/// A token for a record.
pub(super) fn issue(
    record: &FoundRecord,
    lifetime: Duration,
    refreshable: bool,
) -> Result<String, LoginError> {
    let key = record.signing_key().ok_or(LoginError::Token(
        "its token key or its collection's secret in rowcast.secrets is empty",
    ))?;
    let subject = Subject {
        collection: &record.collection.id,
        id: &record.id,
    };
    sign(subject, lifetime, refreshable, &key).map_err(|_| LoginError::Token("it cannot be signed"))
}

fn not_checked(error: PasswordError, collection: &str) -> Result<bool, LoginError> {
    match error {
        PasswordError::Busy => Err(LoginError::Busy),
        PasswordError::Unusable => {
            tracing::warn!(
                collection.name = collection,
                "a login failed because the stored hash is neither bcrypt nor argon2 within the limits"
            );
            Err(LoginError::Failed)
        }
    }
}
