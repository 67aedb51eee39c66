//! Tokens of every kind of key, and what people try with them.

use super::pairs::{Pair, ed25519, p256, rsa};
use super::*;

/// Believes the keys of this set, in a file.
fn believing(keys: &Value, only: Option<ForeignAlgorithm>) -> (TempDir, ForeignTokens) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).expect("written");
    let options = ForeignOptions {
        algorithm: only,
        jwks: Some(path),
        issuer: vec!["https://issuer".to_owned()],
        audience: vec!["us".to_owned()],
        leeway: Duration::from_secs(5),
        ..ForeignOptions::default()
    };
    (folder, tokens(options))
}

fn replaced(token: &str, part: usize, with: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[part] = with;
    parts.join(".")
}

fn encoded(part: &Value) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part.to_string())
}

#[tokio::test]
async fn each_kind_of_key_checks_its_own_algorithm() {
    let pairs = [rsa("rsa"), p256("p256"), ed25519("ed")];
    let all: Value = pairs.iter().map(|pair| pair.jwk.clone()).collect();
    let (_folder, any) = believing(&all, None);
    for pair in &pairs {
        let kid = pair.jwk["kid"].as_str();
        let token = pair.sign(&claims(json!({})), kid);
        assert!(any.check(&token).await.is_some(), "{:?}", pair.algorithm);
        let unnamed = pair.sign(&claims(json!({})), None);
        assert!(any.check(&unnamed).await.is_none(), "one of several");
        // Keys for something else are none of ours, whatever they are named.
        for (member, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["encrypt"])),
            ("alg", json!("PS256")),
        ] {
            let mut jwk = pair.jwk.clone();
            jwk[member] = value;
            let (_folder, none) = believing(&json!([jwk]), None);
            assert!(none.check(&token).await.is_none(), "{member} {jwk}");
        }
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("public.pem");
        std::fs::write(&path, &pair.pem).expect("written");
        let by_pem = tokens(ForeignOptions {
            public_key: Some(path),
            ..ForeignOptions::default()
        });
        assert!(by_pem.check(&token).await.is_some(), "{:?}", pair.algorithm);
    }
    let (_folder, only) = believing(&all, Some(ForeignAlgorithm::Es256));
    for pair in &pairs {
        let token = pair.sign(&claims(json!({})), pair.jwk["kid"].as_str());
        let believed = only.check(&token).await.is_some();
        assert_eq!(believed, pair.algorithm == Algorithm::ES256);
    }
}

#[tokio::test]
async fn no_attack_on_a_key_set_proves_anything() {
    let (own, other, stranger) = (rsa("own"), p256("other"), rsa("own"));
    let symmetric = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
    let oct = json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "use": "sig", "k": symmetric });
    let (_folder, tokens) = believing(&json!([own.jwk, other.jwk, oct]), None);
    let good = own.sign(&claims(json!({})), Some("own"));
    assert!(tokens.check(&good).await.is_some());
    let with = |changes| own.sign(&claims(changes), Some("own"));
    let hs256 = |key: &[u8], kid: &str| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        let key = EncodingKey::from_secret(key);
        jsonwebtoken::encode(&header, &claims(json!({})), &key).expect("a token")
    };
    let mut tampered = claims(json!({}));
    tampered["sub"] = json!("ben");
    let header = |changes: Value| {
        let mut header = json!({ "alg": "RS256", "typ": "JWT", "kid": "own" });
        for (name, value) in changes.as_object().expect("an object") {
            header[name] = value.clone();
        }
        replaced(&good, 0, &encoded(&header))
    };
    let unsigned = |token: String| replaced(&token, 2, "");
    let modulus = own.jwk["n"].as_str().expect("an RSA key");
    for (what, token) in [
        ("alg none", header(json!({ "alg": "none" }))),
        (
            "alg none, unsigned",
            unsigned(header(json!({ "alg": "none" }))),
        ),
        (
            "alg None, unsigned",
            unsigned(header(json!({ "alg": "None" }))),
        ),
        ("no alg", header(json!({ "alg": null }))),
        ("unsigned", unsigned(good.clone())),
        (
            "HS256 with the public key",
            hs256(own.pem.as_bytes(), "own"),
        ),
        (
            "HS256 with its trimmed text",
            hs256(own.pem.trim().as_bytes(), "own"),
        ),
        ("HS256 with its modulus", hs256(modulus.as_bytes(), "own")),
        (
            "HS256 with its entry",
            hs256(own.jwk.to_string().as_bytes(), "own"),
        ),
        (
            "HS256 with the set's secret",
            hs256(b"secretsecretsecretsecretsecret", "oct"),
        ),
        (
            "another algorithm of the kind",
            header(json!({ "alg": "RS512" })),
        ),
        (
            "the algorithm of another key",
            header(json!({ "alg": "ES256", "kid": "other" })),
        ),
        (
            "the name of another key",
            own.sign(&claims(json!({})), Some("other")),
        ),
        (
            "another's signature",
            stranger.sign(&claims(json!({})), Some("own")),
        ),
        ("a key of its own", header(json!({ "jwk": stranger.jwk }))),
        (
            "a key set of its own",
            header(json!({ "jku": "http://127.0.0.1:1/", "kid": "new" })),
        ),
        (
            "an unknown name",
            own.sign(&claims(json!({})), Some("nobody")),
        ),
        (
            "a name that leads elsewhere",
            own.sign(&claims(json!({})), Some("../../etc/passwd")),
        ),
        (
            "an altered subject",
            replaced(&good, 1, &encoded(&tampered)),
        ),
        ("expired", with(json!({ "exp": in_seconds(-60) }))),
        ("without end", with(json!({ "exp": "absent" }))),
        ("not yet", with(json!({ "nbf": in_seconds(60) }))),
        (
            "another issuer",
            with(json!({ "iss": "https://issuer.evil" })),
        ),
        (
            "several issuers",
            with(json!({ "iss": ["https://issuer.evil"] })),
        ),
        ("another audience", with(json!({ "aud": "them" }))),
        ("without audience", with(json!({ "aud": "absent" }))),
        (
            "oversized",
            with(json!({ "more": "x".repeat(TOKEN_BYTES_MAX) })),
        ),
        ("two tokens", format!("{good}.{good}")),
        ("nothing", String::new()),
    ] {
        assert!(tokens.check(&token).await.is_none(), "{what}");
    }
}

#[tokio::test]
async fn keys_that_share_a_name_are_not_believed_and_one_that_is_listed_twice_is() {
    let (one, two, three) = (p256("same"), p256("same"), p256("other"));
    let signed = |pair: &Pair, kid| pair.sign(&claims(json!({})), Some(kid));
    let (_folder, shared) = believing(&json!([one.jwk, two.jwk, three.jwk]), None);
    for (pair, kid, believed) in [
        (&one, "same", false),
        (&two, "same", false),
        (&three, "other", true),
    ] {
        let token = signed(pair, kid);
        assert_eq!(shared.check(&token).await.is_some(), believed, "{kid}");
    }
    let (_folder, twice) = believing(&json!([one.jwk, one.jwk]), None);
    assert!(twice.check(&signed(&one, "same")).await.is_some());
    let unnamed = one.sign(&claims(json!({})), None);
    assert!(twice.check(&unnamed).await.is_some(), "it is the only one");
}
