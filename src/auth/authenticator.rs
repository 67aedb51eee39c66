//! Tells from a token who sent a request, by asking the database for the keys.

use std::error::Error;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::authenticate::{Authenticate, token_in};
use super::claims::{ShownClaims, Subject};
use super::foreign::ForeignTokens;
use super::principal::{AuthRecord, Principal, Proof};
use super::records::{AuthRecords, FoundRecord, RecordError};
use super::superusers::{KeyError, superuser_key};
use super::token::{is_signed, now, read_claims};
use crate::db::Database;

/// Tells from a token who sent a request; cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    records: Arc<AuthRecords>,
    foreign: Option<ForeignTokens>,
}

/// What a token of ours proved.
pub(super) enum Proved {
    Superuser(String),
    Record(Box<FoundRecord>),
}

/// Why a token could not be checked.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Superuser(#[from] KeyError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Authenticator {
    /// Asks this database.
    pub fn new(database: Database) -> Self {
        Self {
            records: Arc::new(AuthRecords::new(database)),
            foreign: None,
        }
    }

    /// Believes the tokens of another issuer, too.
    pub fn believing(self, foreign: Option<ForeignTokens>) -> Self {
        Self { foreign, ..self }
    }

    pub(super) fn database(&self) -> &Database {
        self.records.database()
    }

    pub(super) fn records(&self) -> &AuthRecords {
        &self.records
    }

    /// The principal this token proves. A token that proves nothing, and one that cannot be
    /// checked now because the database does not answer, makes a guest. Safe to drop half-way.
    pub async fn principal(&self, token: &str) -> Principal {
        self.proof(token).await.principal
    }

    /// The same, with the time at which the token ends, and whether it could be checked at all.
    pub async fn proof(&self, token: &str) -> Proof {
        let (claims, proved) = match self.check(token).await {
            Ok(Some(proved)) => proved,
            Ok(None) => return self.foreign_proof(token).await.unwrap_or_default(),
            Err(error) => return warn_unchecked(&error, Proof::unchecked()),
        };
        let principal = match proved {
            Proved::Superuser(id) => Principal::Superuser { id: id.into() },
            Proved::Record(record) => Principal::Record(record.principal().into()),
        };
        Proof {
            principal,
            expires_at: claims.expires_at(),
            is_unchecked: false,
        }
    }

    async fn foreign_proof(&self, token: &str) -> Option<Proof> {
        let foreign = self.foreign.as_ref()?;
        let proof = foreign.check(token).await?;
        let Some(collection) = foreign.collection() else {
            return Some(proof.into_proof());
        };
        let record = match self.find(collection, &proof.id).await {
            Ok(found) => found?,
            Err(error) => return Some(warn_unchecked(&error.into(), Proof::unchecked())),
        };
        let expires_at = proof.expires_at();
        let principal = AuthRecord {
            roles: proof.roles,
            secret_version: None,
            ..record.principal()
        };
        Some(Proof {
            principal: Principal::Record(principal.into()),
            expires_at,
            is_unchecked: false,
        })
    }

    /// What the token says and what it proves, if it proves anything.
    pub(super) async fn proved(&self, token: &str) -> Option<(ShownClaims, Proved)> {
        let checked = self.check(token).await;
        checked.unwrap_or_else(|error| warn_unchecked(&error, None))
    }

    async fn check(&self, token: &str) -> Result<Option<(ShownClaims, Proved)>, CheckError> {
        let Some(claims) = read_claims(token) else {
            return Ok(None);
        };
        let proved = match claims.subject(now()) {
            None => return Ok(None),
            Some(who) if who.is_superuser() => self.superuser(token, who).await?,
            Some(who) => self.record(token, who).await?,
        };
        Ok(proved.map(|proved| (claims, proved)))
    }

    async fn superuser(&self, token: &str, who: Subject<'_>) -> Result<Option<Proved>, CheckError> {
        let key = superuser_key(self.database(), who.id).await?;
        let signed = key.is_some_and(|key| is_signed(token, &key));
        Ok(signed.then(|| Proved::Superuser(who.id.to_owned())))
    }

    async fn record(&self, token: &str, who: Subject<'_>) -> Result<Option<Proved>, CheckError> {
        let Some(record) = self.find(who.collection, who.id).await? else {
            return Ok(None);
        };
        let signed = record
            .signing_key()
            .is_some_and(|key| is_signed(token, &key));
        Ok(signed.then(|| Proved::Record(record.into())))
    }
}

impl Authenticator {
    async fn find(&self, collection: &str, id: &str) -> Result<Option<FoundRecord>, RecordError> {
        match self.records.collection(collection).await? {
            Some(collection) if collection.auth.is_some() => {
                self.records.find(&collection, None, id).await
            }
            _ => Ok(None),
        }
    }
}

/// Whoever cannot be checked counts as a guest.
fn warn_unchecked<T>(error: &CheckError, guest: T) -> T {
    tracing::warn!(
        error = error as &dyn Error,
        "could not check a token; its sender counts as a guest"
    );
    guest
}

impl Authenticate for Authenticator {
    fn authenticate<'a>(&'a self, authorization: Option<&'a str>) -> BoxFuture<'a, Proof> {
        Box::pin(async move {
            match authorization.and_then(token_in) {
                None => Proof::default(),
                Some(token) => self.proof(token).await,
            }
        })
    }
}
