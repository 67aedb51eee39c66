//! The principal: a guest, a record of an auth collection, somebody another issuer vouches for, or a
//! superuser.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::seen::Seen;
use crate::catalog::{Collection, FieldKind};
use crate::event::RowImage;

/// The collection id PocketBase gives to superusers everywhere.
pub const SUPERUSERS_ID: &str = "pbc_3142635823";

/// The collection name PocketBase gives to superusers everywhere.
pub const SUPERUSERS_NAME: &str = "_superusers";

/// Who is behind a request or a stream. Two are equal if they are the same one, whatever is known of
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Principal {
    /// Nobody has proved anything.
    #[default]
    Guest,
    /// A record of an auth collection, or somebody a foreign token speaks of.
    Record(Arc<AuthRecord>),
    /// Passes every rule and sees hidden fields.
    Superuser {
        /// The superuser's record id.
        id: Arc<str>,
    },
}

impl Principal {
    /// Whether rules do not apply.
    pub fn is_superuser(&self) -> bool {
        matches!(self, Self::Superuser { .. })
    }

    /// Whether nothing was proved.
    pub fn is_guest(&self) -> bool {
        matches!(self, Self::Guest)
    }

    /// The record, if it is one.
    pub fn record(&self) -> Option<&Arc<AuthRecord>> {
        match self {
            Self::Record(record) => Some(record),
            Self::Guest | Self::Superuser { .. } => None,
        }
    }
}

/// A principal that rules know by its values.
#[derive(Debug, Clone)]
pub struct AuthRecord {
    /// The id of its auth collection; of somebody a foreign token speaks of, the configured name.
    pub collection_id: Arc<str>,
    /// The name of its auth collection.
    pub collection_name: Arc<str>,
    /// Its record id; the subject of a foreign token.
    pub id: Arc<str>,
    /// Its values, as of the last time they were read.
    pub values: AuthValues,
    /// Roles that a foreign token grants; those in the policy are the policy's business.
    pub roles: Arc<[Arc<str>]>,
    /// The secret its token was signed with; `None` for foreign tokens.
    pub(crate) secret_version: Option<Arc<str>>,
    /// Which changes of the database the values already show.
    pub(crate) seen: Seen,
}

impl AuthRecord {
    /// Somebody whom claims describe, as a foreign token's do; for tests, benchmarks and those who prove principals by
    /// other means.
    pub fn of_claims(collection: &str, id: &str, claims: Map<String, Value>) -> Self {
        Self {
            collection_id: collection.into(),
            collection_name: collection.into(),
            id: id.into(),
            values: AuthValues::Claims(Arc::new(claims)),
            roles: Arc::default(),
            secret_version: None,
            seen: Seen::default(),
        }
    }

    /// Whether it is this record of this collection.
    pub fn is(&self, collection_id: &str, id: &str) -> bool {
        *self.collection_id == *collection_id && *self.id == *id
    }

    /// The same principal with newer values.
    pub fn with_values(&self, collection: &Arc<Collection>, image: RowImage) -> Self {
        Self {
            collection_name: Arc::clone(&collection.name),
            values: AuthValues::Row {
                collection: Arc::clone(collection),
                image,
            },
            ..self.clone()
        }
    }

    /// Whether what is known of it shows what this transaction (`xid8`) did.
    pub fn has_seen(&self, transaction: u64) -> bool {
        self.seen.shows(transaction)
    }
}

impl PartialEq for AuthRecord {
    fn eq(&self, other: &Self) -> bool {
        (&self.collection_id, &self.id) == (&other.collection_id, &other.id)
    }
}

impl Eq for AuthRecord {}

impl Hash for AuthRecord {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.collection_id, &self.id).hash(state);
    }
}

/// What rules may read of a principal: `@request.auth.…`.
#[derive(Debug, Clone)]
pub enum AuthValues {
    /// A record's row, without the columns that are never captured.
    Row {
        /// Describes the image.
        collection: Arc<Collection>,
        /// The row.
        image: RowImage,
    },
    /// The claims of a foreign token.
    Claims(Arc<Map<String, Value>>),
}

impl AuthValues {
    /// The JSON text of a value as Postgres or the token wrote it; `None` where there is no such
    /// field.
    pub fn json(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Row { collection, image } => image
                .value(position(collection, name)?)
                .map(|text| Cow::Borrowed(text.trim_ascii())),
            Self::Claims(claims) => Some(Cow::Owned(claims.get(name)?.to_string())),
        }
    }

    /// The kind of a record's field; `None` where there is no such field, and for claims.
    pub fn kind(&self, name: &str) -> Option<&FieldKind> {
        match self {
            Self::Row { collection, .. } => {
                Some(&collection.fields[position(collection, name)?].kind)
            }
            Self::Claims(_) => None,
        }
    }
}

fn position(collection: &Collection, name: &str) -> Option<usize> {
    let mut fields = collection.fields.iter();
    fields.position(|field| &*field.name == name)
}

/// Who a token proves its bearer to be, and until when.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// Who.
    pub principal: Principal,
    /// When the token ends; `None` if it never does, and for guests.
    pub expires_at: Option<SystemTime>,
    /// Whether this is a guest only because the database did not answer: with the same token it may be
    /// somebody in a moment.
    pub is_unchecked: bool,
}

impl Proof {
    /// A guest whose token could not be checked.
    pub fn unchecked() -> Self {
        Self {
            is_unchecked: true,
            ..Self::default()
        }
    }
}

impl From<Principal> for Proof {
    fn from(principal: Principal) -> Self {
        Self {
            principal,
            ..Self::default()
        }
    }
}
