use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use pairs::{Pair, ed25519};

mod attacks;
mod fetch;
mod key_url;
mod pairs;

const SECRET: &str = "a secret of thirty-two bytes or so";

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_secs()).expect("not that late") + seconds
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "sub": "anna", "iss": "https://issuer", "aud": ["us"], "exp": in_seconds(60), "roles": ["editor"],
    });
    for (name, value) in changes.as_object().expect("an object") {
        match value.as_str() {
            Some("absent") => drop(claims.as_object_mut().expect("an object").remove(name)),
            _ => claims[name] = value.clone(),
        }
    }
    claims
}

fn shared() -> ForeignOptions {
    ForeignOptions {
        algorithm: Some(ForeignAlgorithm::Hs256),
        secret: Some(SECRET.to_owned()),
        issuer: vec!["https://issuer".to_owned()],
        audience: vec!["us".to_owned()],
        leeway: Duration::from_secs(5),
        ..ForeignOptions::default()
    }
}

fn tokens(options: ForeignOptions) -> ForeignTokens {
    ForeignTokens::new(options)
        .expect("good options")
        .expect("a key")
}

fn by_secret(claims: &Value, key: &str) -> String {
    let key = EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

#[tokio::test]
async fn a_token_holds_exactly_when_signature_issuer_audience_and_times_do() {
    let tokens = tokens(shared());
    for (changes, holds) in [
        (json!({}), true),
        (json!({"exp": in_seconds(-3)}), true),
        (json!({"exp": in_seconds(-30)}), false),
        (json!({"exp": "absent"}), false),
        (json!({"exp": in_seconds(60).to_string()}), false),
        (json!({"exp": null}), false),
        (json!({"nbf": in_seconds(60)}), false),
        (json!({"nbf": in_seconds(60).to_string()}), false),
        (json!({"nbf": in_seconds(-60)}), true),
        (json!({"iss": "https://other"}), false),
        (json!({"iss": "absent"}), false),
        (json!({"aud": "us"}), true),
        (json!({"aud": ["them", "us"]}), true),
        (json!({"aud": "them"}), false),
        (json!({"aud": "absent"}), false),
        (json!({"sub": "absent"}), false),
        (json!({"sub": ""}), false),
        (json!({"sub": 7}), true),
        (json!({"sub": {"a": 1}}), false),
        (json!({"sub": "a\nb"}), false),
        (json!({"sub": "x".repeat(256)}), false),
    ] {
        let token = by_secret(&claims(changes.clone()), SECRET);
        assert_eq!(tokens.check(&token).await.is_some(), holds, "{changes}");
    }
    let good = by_secret(&claims(json!({})), SECRET);
    let proof = tokens.check(&good).await.expect("a proof");
    assert_eq!(
        (&*proof.id, &*proof.roles),
        ("anna", &["editor".into()][..])
    );
    let other = by_secret(&claims(json!({})), "another secret of thirty-two bytes");
    assert!(tokens.check(&other).await.is_none());
    let middle = good.split('.').nth(1).expect("three parts");
    assert!(
        tokens
            .check(&format!("eyJhbGciOiJub25lIn0.{middle}."))
            .await
            .is_none()
    );
    assert!(
        tokens
            .check(&"x".repeat(TOKEN_BYTES_MAX + 1))
            .await
            .is_none()
    );
}

#[test]
fn roles_are_a_list_or_a_text_at_a_path() {
    let roles = |claims: Value, path: &str| -> Vec<String> {
        let claims = claims.as_object().expect("an object").clone();
        let roles = roles_in(at_path(&claims, path));
        roles.iter().map(|role| role.to_string()).collect()
    };
    for (claims, path, expected) in [
        (
            json!({"roles": ["a", 7, "", "b"]}),
            "roles",
            &["a", "b"][..],
        ),
        (json!({"scope": "a b,c"}), "scope", &["a", "b", "c"]),
        (
            json!({"realm": {"access": {"roles": ["a"]}}}),
            "realm.access.roles",
            &["a"],
        ),
        (
            json!({"https://x.y/roles": ["a"]}),
            "https://x.y/roles",
            &["a"],
        ),
        (json!({"roles": {"a": true}}), "roles", &[]),
        (json!({}), "roles", &[]),
    ] {
        assert_eq!(roles(claims.clone(), path), expected, "{claims}");
    }
    let many: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(roles(json!({"roles": many}), "roles").len(), ROLES_MAX);
}

fn by_pair(pair: &Pair, kid: Option<&str>) -> String {
    pair.sign(&claims(json!({})), kid)
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_secret() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("public.pem");
    let pair = ed25519("one");
    std::fs::write(&path, &pair.pem).expect("written");
    let tokens = tokens(ForeignOptions {
        algorithm: Some(ForeignAlgorithm::EdDsa),
        public_key: Some(path),
        ..ForeignOptions::default()
    });
    assert!(tokens.check(&by_pair(&pair, None)).await.is_some());
    assert!(
        tokens
            .check(&by_pair(&pair, Some("whatever")))
            .await
            .is_some()
    );
    assert!(
        tokens
            .check(&by_pair(&ed25519("two"), None))
            .await
            .is_none()
    );
    for guess in [&*pair.pem, pair.pem.trim(), ""] {
        let confused = by_secret(&claims(json!({})), guess);
        assert!(tokens.check(&confused).await.is_none(), "{guess}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_set_is_read_again_when_a_token_names_a_key_it_lacks() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("jwks.json");
    let (one, two) = (ed25519("one"), ed25519("two"));
    let write = |keys: Value| {
        let text = json!({ "keys": keys }).to_string();
        std::fs::write(&path, text).expect("written");
    };
    let oct = json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"});
    let odd = json!({"kty": "new", "kid": "odd"});
    write(json!([one.jwk, oct, odd]));
    let tokens = tokens(ForeignOptions {
        algorithm: Some(ForeignAlgorithm::EdDsa),
        jwks: Some(path.clone()),
        ..ForeignOptions::default()
    });
    let (by_one, by_two) = (by_pair(&one, Some("one")), by_pair(&two, Some("two")));
    assert!(tokens.check(&by_one).await.is_some());
    assert!(
        tokens.check(&by_pair(&one, None)).await.is_some(),
        "the only one there is"
    );
    assert!(tokens.check(&by_two).await.is_none());
    write(json!([one.jwk, two.jwk]));
    assert!(
        tokens.check(&by_two).await.is_none(),
        "not at every wrong token"
    );
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(tokens.check(&by_two).await.is_some(), "rotated in");
    assert!(
        tokens.check(&by_pair(&one, None)).await.is_none(),
        "two, and none is named"
    );
    std::fs::write(&path, "not json").expect("written");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(
        tokens.check(&by_one).await.is_some(),
        "stale is better than nothing"
    );
    write(json!([two.jwk]));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(tokens.check(&by_one).await.is_none(), "rotated out");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let secret = || Some(SECRET.to_owned());
    let file = || Some("/nothing/here".into());
    let rs256 = || ForeignOptions {
        algorithm: Some(ForeignAlgorithm::Rs256),
        ..ForeignOptions::default()
    };
    for (options, problem) in [
        (
            ForeignOptions {
                secret: secret(),
                ..rs256()
            },
            "HS256",
        ),
        (
            ForeignOptions {
                jwks: file(),
                ..shared()
            },
            "only one",
        ),
        (
            ForeignOptions {
                secret: None,
                jwks: file(),
                ..shared()
            },
            "HS256",
        ),
        (
            ForeignOptions {
                jwks: file(),
                public_key: file(),
                ..rs256()
            },
            "only one",
        ),
        (
            ForeignOptions {
                secret: Some("short".to_owned()),
                ..shared()
            },
            "32 bytes",
        ),
        (
            ForeignOptions {
                jwks: file(),
                ..rs256()
            },
            "cannot read /nothing/here",
        ),
        (
            ForeignOptions {
                jwks: file(),
                jwks_url: Some("https://issuer".to_owned()),
                ..rs256()
            },
            "only one",
        ),
    ] {
        let refusal = ForeignTokens::new(options.clone())
            .expect_err("refused")
            .to_string();
        assert!(refusal.contains(problem), "{refusal}: {options:?}");
    }
    for (url, problem) in [
        ("http://issuer.example/keys", "set jwt_jwks_http = true"),
        ("http://127.0.0.1.example/keys", "not encrypted"),
        ("http://localhost.example/", "not encrypted"),
        ("ftp://issuer.example/keys", "neither with https://"),
        ("file:///etc/passwd", "no URL"),
        ("issuer", "neither with https://"),
        ("https://", "no URL"),
        ("https://me:geheim@issuer.example/", "leave them out"),
    ] {
        let options = ForeignOptions {
            jwks_url: Some(url.to_owned()),
            ..ForeignOptions::default()
        };
        let refusal = ForeignTokens::new(options).expect_err(url).to_string();
        assert!(refusal.contains(problem), "{url}: {refusal}");
        assert!(!refusal.contains("geheim"), "{refusal}");
    }
    for (url, http) in [
        ("https://issuer.example/keys?v=1", false),
        ("http://127.0.0.1:8080/keys", false),
        ("http://[::1]:8080/keys", false),
        ("http://localhost/keys", false),
        ("http://issuer.example/keys", true),
    ] {
        let options = ForeignOptions {
            jwks_url: Some(url.to_owned()),
            jwks_http: http,
            ..ForeignOptions::default()
        };
        assert!(ForeignTokens::new(options).is_ok(), "{url}");
    }
    assert!(
        ForeignTokens::new(rs256())
            .expect("nothing to refuse")
            .is_none()
    );
}
