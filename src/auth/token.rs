//! Our own tokens (contract, section 6.2): HS256, keyed by the record's token key and the collection's secret.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::RngExt;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::authenticate::{Authenticate, token_in};
use super::claims::{NewClaims, ShownClaims};
use super::principal::{Principal, SUPERUSERS_ID};
use crate::db::{Database, PoolError};

const SUPERUSER_KEYS: &str = include_str!("../../sql/auth/superuser_keys.sql");
const ADD_SUPERUSER: &str = include_str!("../../sql/auth/add_superuser.sql");
const SUPERUSER_BY_EMAIL: &str = include_str!("../../sql/auth/superuser_by_email.sql");
const ADD_SECRET: &str = include_str!("../../sql/auth/add_secret.sql");

/// Longer texts are no token of ours.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Characters of a token key and of a secret.
const KEY_LENGTH: usize = 50;
/// Characters of a record id.
const ID_LENGTH: usize = 15;
const ID_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// How long a superuser's token lives if nobody says otherwise.
pub const SUPERUSER_TOKEN_LIFETIME: Duration = Duration::from_secs(86_400);
const LIFETIME_MIN: Duration = Duration::from_secs(10);
/// About three years, as in PocketBase.
const LIFETIME_MAX: Duration = Duration::from_secs(94_670_856);

/// Tells from a token who sent a request, by asking the database for the keys.
#[derive(Debug, Clone)]
pub struct Authenticator {
    database: Database,
}

impl Authenticator {
    /// Asks this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The principal this token proves. A token that proves nothing, and one that cannot be
    /// checked now because the database does not answer, makes a guest. Safe to drop half-way.
    pub async fn principal(&self, token: &str) -> Principal {
        let Some(claims) = read_claims(token) else {
            return Principal::Guest;
        };
        let Some(id) = claims.superuser(now()) else {
            return Principal::Guest;
        };
        match self.superuser_key(id).await {
            Ok(Some(key)) if is_signed(token, &key) => Principal::Superuser { id: id.into() },
            Ok(_) => Principal::Guest,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "could not check a token; its sender counts as a guest"
                );
                Principal::Guest
            }
        }
    }

    /// The key of this superuser's tokens; `None` if there is no such superuser.
    async fn superuser_key(&self, id: &str) -> Result<Option<String>, KeyError> {
        let deadline = self.database.statement_deadline();
        let read = timeout(deadline, self.read_superuser_key(id)).await;
        read.unwrap_or(Err(KeyError::Timeout))
    }

    async fn read_superuser_key(&self, id: &str) -> Result<Option<String>, KeyError> {
        let client = self.database.pool().get().await.map_err(Box::new)?;
        let statement = client.prepare_cached(SUPERUSER_KEYS).await?;
        let Some(row) = client.query_opt(&statement, &[&id]).await? else {
            return Ok(None);
        };
        let token_key: String = row.try_get("token_key")?;
        let secret: String = row.try_get("secret")?;
        Ok(signing_key(&token_key, &secret))
    }
}

impl Authenticate for Authenticator {
    fn authenticate<'a>(&'a self, authorization: Option<&'a str>) -> BoxFuture<'a, Principal> {
        Box::pin(async move {
            match authorization.and_then(token_in) {
                None => Principal::Guest,
                Some(token) => self.principal(token).await,
            }
        })
    }
}

/// Why a key could not be read.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("no connection to the database was free")]
    Pool(#[from] Box<PoolError>),
    #[error("could not read the superuser's key")]
    Query(#[from] tokio_postgres::Error),
    #[error("the database did not answer in time")]
    Timeout,
}

/// What the token says, believed or not.
fn read_claims(token: &str) -> Option<ShownClaims> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    if header.alg != Algorithm::HS256 {
        return None;
    }
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Map<String, Value>>(token);
    claims.ok().map(ShownClaims::new)
}

/// Whether the token was signed with this key. Times are the claims' business.
fn is_signed(token: &str, key: &str) -> bool {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(key.as_bytes());
    jsonwebtoken::decode::<serde::de::IgnoredAny>(token, &key, &validation).is_ok()
}

/// The key for signing; `None` if either half is empty and the key would be half known.
fn signing_key(token_key: &str, secret: &str) -> Option<String> {
    (!token_key.is_empty() && !secret.is_empty()).then(|| format!("{token_key}{secret}"))
}

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
    let token = sign(&id, expires_in, &key)?;
    Ok(NewToken { token, created })
}

fn sign(id: &str, expires_in: Duration, key: &str) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = NewClaims {
        collection_id: SUPERUSERS_ID,
        exp: since_1970().as_secs() + expires_in.as_secs(),
        id,
        refreshable: false,
        kind: "auth",
    };
    let key = EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
}

fn check_email(email: &str) -> Result<(), IssueError> {
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

fn random_id() -> String {
    let mut rng = rand::rng();
    let mut letter = || char::from(ID_ALPHABET[rng.random_range(..ID_ALPHABET.len())]);
    (0..ID_LENGTH).map(|_| letter()).collect()
}

fn random_key() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), KEY_LENGTH)
}

fn now() -> f64 {
    since_1970().as_secs_f64()
}

fn since_1970() -> Duration {
    // A clock before 1970 makes every token one that is not valid yet, which is the safe side.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "token-key-and-secret";

    fn token(algorithm: Algorithm) -> String {
        let claims = serde_json::json!({
            "collectionId": SUPERUSERS_ID, "id": "abc", "type": "auth", "aud": "anybody",
        });
        let key = EncodingKey::from_secret(KEY.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).expect("a token")
    }

    #[test]
    fn what_we_sign_we_believe_and_nothing_else() {
        let ours = sign("abcdefghijklmno", Duration::from_secs(60), KEY).expect("a token");
        let claims = read_claims(&ours).expect("readable");
        assert_eq!(claims.superuser(now()), Some("abcdefghijklmno"));
        assert!(claims.superuser(now() + 61.0).is_none());
        assert!(is_signed(&ours, KEY));
        assert!(!is_signed(&ours, "another key"));
        let payload = ours.split('.').nth(1).expect("three parts");
        assert!(
            !payload.contains(['-', '_']),
            "the SDK cannot decode {payload}"
        );
    }

    #[test]
    fn only_hs256_is_accepted() {
        assert!(read_claims(&token(Algorithm::HS256)).is_some());
        assert!(
            is_signed(&token(Algorithm::HS256), KEY),
            "claims of others do not disturb"
        );
        assert!(read_claims(&token(Algorithm::HS512)).is_none());
        assert!(!is_signed(&token(Algorithm::HS512), KEY));
        // {"alg":"none"} with the same claims and no signature.
        let claims = token(Algorithm::HS256);
        let claims = claims.split('.').nth(1).expect("three parts");
        assert!(read_claims(&format!("eyJhbGciOiJub25lIn0.{claims}.")).is_none());
        assert!(read_claims(" abc").is_none());
        assert!(read_claims(&"a.".repeat(TOKEN_BYTES_MAX)).is_none());
    }

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

    #[test]
    fn ids_and_keys_look_as_pocketbase_makes_them() {
        let id = random_id();
        assert_eq!(id.len(), ID_LENGTH);
        assert!(id.bytes().all(|byte| ID_ALPHABET.contains(&byte)));
        assert_eq!(random_key().len(), KEY_LENGTH);
        assert_ne!(random_key(), random_key());
    }
}
