//! What holds for tokens whatever they say (see [`crate::fuzzing`]).

use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use super::foreign::{ForeignAlgorithm, ForeignOptions, ForeignProof, ForeignTokens};
use super::token::{is_signed, now, read_claims};

const KEY: &str = "a key that no token out there was signed with";
const ISSUER: &str = "https://issuer";

/// A token that nobody signed may be readable; it proves nothing.
pub(crate) fn check_unsigned(token: &str) {
    if let Some(claims) = read_claims(token) {
        let _ = (
            claims.subject(now()),
            claims.refreshable(),
            claims.expires_at(),
        );
    }
    assert!(!is_signed(token, KEY), "{token}");
    assert!(foreign_proof(token).is_none(), "{token}");
}

/// A token with this header and these claims, both JSON, that was signed with the right key: it is
/// believed only as what it must be, and not at all with another key.
pub(crate) fn check_claims(header: &str, claims: &str) {
    let header = serde_json::from_str(header).unwrap_or(Header::new(Algorithm::HS256));
    let Ok(claims) = serde_json::from_str::<Map<String, Value>>(claims) else {
        return;
    };
    let key = EncodingKey::from_secret(KEY.as_bytes());
    let Ok(token) = jsonwebtoken::encode(&header, &claims, &key) else {
        return;
    };
    let ours = header.alg == Algorithm::HS256;
    let shown = read_claims(&token);
    assert!(ours || shown.is_none(), "{header:?}");
    assert!(ours || !is_signed(&token, KEY), "{header:?}");
    assert!(!is_signed(&token, "another key"), "{header:?}");
    if let Some(who) = shown.as_ref().and_then(|shown| shown.subject(now())) {
        assert!(is_signed(&token, KEY), "{header:?} {claims:?}");
        let named = (&claims["id"], &claims["collectionId"]);
        assert_eq!(named, (&who.id.into(), &who.collection.into()));
        assert_eq!(claims["type"], "auth");
        let exp = claims.get("exp").map(Value::as_f64);
        assert!(exp.is_none_or(|exp| exp > Some(0.0)), "{claims:?}");
    }
    if let Some(proof) = foreign_proof(&token) {
        assert!(ours, "{header:?}");
        check_foreign(&proof, &claims);
    }
}

/// Whoever another issuer speaks of has an id, an end, and roles within limits.
fn check_foreign(proof: &ForeignProof, claims: &Map<String, Value>) {
    assert!((1..=255).contains(&proof.id.len()) && !proof.id.contains(char::is_control));
    assert!(claims["exp"].is_number() && claims["iss"].to_string().contains(ISSUER));
    assert!(proof.roles.len() <= 64 && proof.roles.iter().all(|role| !role.is_empty()));
    let _ = proof.expires_at();
}

fn foreign_proof(token: &str) -> Option<ForeignProof> {
    let options = ForeignOptions {
        algorithm: Some(ForeignAlgorithm::Hs256),
        secret: Some(KEY.to_owned()),
        issuer: vec![ISSUER.to_owned()],
        ..ForeignOptions::default()
    };
    let tokens = ForeignTokens::new(options).expect("good options")?;
    let checking = tokens.check(token).now_or_never();
    checking.expect("a shared secret needs no waiting")
}
