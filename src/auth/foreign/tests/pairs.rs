//! Pairs of keys of each kind, made by the crate that checks them elsewhere.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// A private key, and its public side as a key set's entry and as PEM.
pub(super) struct Pair {
    pub(super) algorithm: Algorithm,
    pub(super) private: EncodingKey,
    pub(super) jwk: Value,
    pub(super) pem: String,
}

impl Pair {
    fn new(algorithm: Algorithm, private: EncodingKey, mut jwk: Value, public: &[u8]) -> Self {
        for (name, value) in [("use", json!("sig")), ("alg", json!(algorithm))] {
            jwk[name] = value;
        }
        let public = STANDARD.encode(public);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        Self {
            algorithm,
            private,
            jwk,
            pem,
        }
    }

    /// The same with this name.
    pub(super) fn named(mut self, kid: &str) -> Self {
        self.jwk["kid"] = json!(kid);
        self
    }

    pub(super) fn sign(&self, claims: &Value, kid: Option<&str>) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.private).expect("a token")
    }
}

pub(super) fn ed25519(kid: &str) -> Pair {
    let pair = Ed25519KeyPair::generate().expect("a pair");
    let private = pair.to_pkcs8v1().expect("encodes");
    let public = pair.public_key();
    let der: PublicKeyX509Der<'_> = public.as_der().expect("encodes");
    let x = URL_SAFE_NO_PAD.encode(public.as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    let private = EncodingKey::from_ed_der(private.as_ref());
    Pair::new(Algorithm::EdDSA, private, jwk, der.as_ref()).named(kid)
}

pub(super) fn p256(kid: &str) -> Pair {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a pair");
    let private = pair.to_pkcs8v1().expect("encodes");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("encodes");
    let private = EncodingKey::from_ec_der(private.as_ref());
    Pair::new(
        Algorithm::ES256,
        private.clone(),
        entry(&private, Algorithm::ES256),
        der.as_ref(),
    )
    .named(kid)
}

pub(super) fn rsa(kid: &str) -> Pair {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a pair");
    let private: Pkcs8V1Der<'_> = pair.as_der().expect("encodes");
    let private = STANDARD.encode(private.as_ref());
    let private = format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n");
    let private = EncodingKey::from_rsa_pem(private.as_bytes()).expect("a key");
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("encodes");
    Pair::new(
        Algorithm::RS256,
        private.clone(),
        entry(&private, Algorithm::RS256),
        der.as_ref(),
    )
    .named(kid)
}

fn entry(private: &EncodingKey, algorithm: Algorithm) -> Value {
    let jwk = Jwk::from_encoding_key(private, algorithm).expect("a public side");
    serde_json::to_value(jwk).expect("encodes")
}
