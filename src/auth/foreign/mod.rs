//! Tokens of another issuer, for people whose application has its own login.
//!
//! The algorithm is the key's own, whatever a token says; so a public key is never taken for a
//! shared secret. Issuer and audience are checked where they are configured, and a token without an
//! end is refused.

mod fetch;
mod key_file;
mod key_set;
mod key_url;
mod keys;
mod options;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use jsonwebtoken::Validation;
use serde_json::{Map, Value};

pub use self::key_url::KeySetKeeper;
use self::keys::Keys;
pub use self::options::{ForeignAlgorithm, ForeignError, ForeignOptions};
use super::principal::{AuthRecord, AuthValues, Principal, Proof};
use super::seen::Seen;
use crate::telemetry::Metrics;

/// The collection name of those a foreign token speaks of, where none is configured.
pub const FOREIGN_NAME: &str = "_external";

/// Longer texts are not read as tokens.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Longer subjects and roles are not believed.
const NAME_BYTES_MAX: usize = 255;
/// Roles beyond these are not seen.
const ROLES_MAX: usize = 64;

/// Believes the tokens of one other issuer; cloning shares the keys.
#[derive(Debug, Clone)]
pub struct ForeignTokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ForeignOptions,
    validation: Validation,
    keys: Keys,
}

/// What a foreign token proved.
pub(super) struct ForeignProof {
    pub(super) id: String,
    pub(super) roles: Arc<[Arc<str>]>,
    pub(super) claims: Map<String, Value>,
}

impl ForeignTokens {
    /// Reads the keys; `None` if the options name none.
    ///
    /// # Errors
    /// If a key cannot be used; the error says which setting is wrong and what to do.
    pub fn new(options: ForeignOptions) -> Result<Option<Self>, ForeignError> {
        let Some(keys) = Keys::new(&options)? else {
            return Ok(None);
        };
        let validation = validation(&options);
        Ok(Some(Self(Arc::new(Inner {
            options,
            validation,
            keys,
        }))))
    }

    /// The task that keeps the keys fresh, if they are behind a URL; without it there are none.
    pub fn keeper(&self, metrics: Metrics) -> Option<KeySetKeeper> {
        match &self.0.keys {
            Keys::Url(url) => Some(url.keeper(metrics)),
            Keys::Fixed(_) | Keys::File(_) => None,
        }
    }

    /// The auth collection whose records the subjects are, if one is configured.
    pub(super) fn collection(&self) -> Option<&str> {
        self.0.options.collection.as_deref()
    }

    /// What this token proves. Safe to drop half-way.
    pub(super) async fn check(&self, token: &str) -> Option<ForeignProof> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let Inner {
            options,
            validation,
            keys,
        } = &*self.0;
        if !keys.may_check(header.alg, options.algorithm) {
            return None;
        }
        let key = keys.find(header.kid.as_deref()).await?;
        let mut validation = validation.clone();
        validation.algorithms = vec![key.algorithm.into()];
        let decoded = jsonwebtoken::decode(token, &key.decoding, &validation).ok()?;
        self.read(decoded.claims)
    }

    fn read(&self, claims: Map<String, Value>) -> Option<ForeignProof> {
        let id = match at_path(&claims, &self.0.options.id_claim)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let good = (1..=NAME_BYTES_MAX).contains(&id.len()) && !id.contains(char::is_control);
        // A time as text would be no limit.
        let timed = ["exp", "nbf"].iter().all(|name| match claims.get(*name) {
            None => *name != "exp",
            Some(time) => time.is_number(),
        });
        let roles = roles_in(at_path(&claims, &self.0.options.roles_claim));
        (good && timed).then_some(ForeignProof { id, roles, claims })
    }
}

impl ForeignProof {
    /// When the token ends.
    pub(super) fn expires_at(&self) -> Option<std::time::SystemTime> {
        let exp = self.claims.get("exp")?.as_f64()?;
        UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?)
    }

    /// A principal that is known by its claims alone.
    pub(super) fn into_proof(self) -> Proof {
        let expires_at = self.expires_at();
        let principal = AuthRecord {
            collection_id: FOREIGN_NAME.into(),
            collection_name: FOREIGN_NAME.into(),
            id: self.id.into(),
            values: AuthValues::Claims(Arc::new(self.claims)),
            roles: self.roles,
            secret_version: None,
            seen: Seen::default(),
        };
        Proof {
            principal: Principal::Record(principal.into()),
            expires_at,
            is_unchecked: false,
        }
    }
}

/// What is checked of every token; the key says which algorithm.
fn validation(options: &ForeignOptions) -> Validation {
    let mut validation = Validation::default();
    validation.algorithms.clear();
    validation.leeway = options.leeway.as_secs();
    validation.validate_nbf = true;
    let mut required = vec!["exp"];
    if !options.issuer.is_empty() {
        validation.set_issuer(&options.issuer);
        required.push("iss");
    }
    if options.audience.is_empty() {
        validation.validate_aud = false;
    } else {
        validation.set_audience(&options.audience);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

/// The claim of this name, or at this path: `realm_access.roles`.
fn at_path<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    at_path(claims.get(first)?.as_object()?, rest)
}

/// A list of roles, or one text with spaces or commas in between.
fn roles_in(claim: Option<&Value>) -> Arc<[Arc<str>]> {
    let roles: Vec<&str> = match claim {
        Some(Value::String(text)) => text.split([' ', ',']).collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let usable = |role: &&str| (1..=NAME_BYTES_MAX).contains(&role.len());
    let roles = roles.into_iter().filter(usable).take(ROLES_MAX);
    roles.map(Into::into).collect()
}

#[cfg(test)]
mod tests;
