//! Our own tokens (contract, section 6.2): HS256, keyed by the record's token key and the collection's secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::RngExt;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::{Map, Value};

use super::claims::{NewClaims, ShownClaims, Subject};

/// Longer texts are no token of ours.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Characters of a token key and of a secret.
const KEY_LENGTH: usize = 50;
/// Characters of a record id.
const ID_LENGTH: usize = 15;
const ID_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// What the token says, believed or not.
pub(super) fn read_claims(token: &str) -> Option<ShownClaims> {
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
pub(super) fn is_signed(token: &str, key: &str) -> bool {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(key.as_bytes());
    jsonwebtoken::decode::<serde::de::IgnoredAny>(token, &key, &validation).is_ok()
}

/// The key for signing; `None` if either half is empty and the key would be half known.
pub(super) fn signing_key(token_key: &str, secret: &str) -> Option<String> {
    (!token_key.is_empty() && !secret.is_empty()).then(|| format!("{token_key}{secret}"))
}

/// A token for `subject` that ends after `lifetime`; the same one again within a second.
pub(super) fn sign(
    subject: Subject<'_>,
    lifetime: Duration,
    refreshable: bool,
    key: &str,
) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = NewClaims {
        collection_id: subject.collection,
        exp: since_1970().as_secs() + lifetime.as_secs(),
        id: subject.id,
        refreshable,
        kind: "auth",
    };
    let key = EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
}

pub(super) fn random_id() -> String {
    let mut rng = rand::rng();
    let mut letter = || char::from(ID_ALPHABET[rng.random_range(..ID_ALPHABET.len())]);
    (0..ID_LENGTH).map(|_| letter()).collect()
}

pub(super) fn random_key() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), KEY_LENGTH)
}

pub(super) fn now() -> f64 {
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
    use super::super::principal::SUPERUSERS_ID;
    use super::*;

    const KEY: &str = "token-key-and-secret";
    const WHO: Subject<'_> = Subject {
        collection: SUPERUSERS_ID,
        id: "abcdefghijklmno",
    };

    fn token(algorithm: Algorithm) -> String {
        let claims = serde_json::json!({
            "collectionId": SUPERUSERS_ID, "id": "abc", "type": "auth", "aud": "anybody",
        });
        let key = EncodingKey::from_secret(KEY.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).expect("a token")
    }

    #[test]
    fn what_we_sign_we_believe_and_nothing_else() {
        let ours = sign(WHO, Duration::from_secs(60), false, KEY).expect("a token");
        let claims = read_claims(&ours).expect("readable");
        assert_eq!(claims.subject(now()), Some(WHO));
        assert!(claims.subject(now() + 61.0).is_none());
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
    fn ids_and_keys_look_as_pocketbase_makes_them() {
        let id = random_id();
        assert_eq!(id.len(), ID_LENGTH);
        assert!(id.bytes().all(|byte| ID_ALPHABET.contains(&byte)));
        assert_eq!(random_key().len(), KEY_LENGTH);
        assert_ne!(random_key(), random_key());
    }
}
