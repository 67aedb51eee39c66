//! What can be set about another issuer's tokens.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

/// Whose tokens are believed beside our own. Exactly one of `secret`, `public_key`, `jwks` and `jwks_url`
/// switches it on.
#[derive(Clone)]
pub struct ForeignOptions {
    /// The only algorithm that is believed; `None`: each key's own. Never taken from a token.
    pub algorithm: Option<ForeignAlgorithm>,
    /// The secret shared with the issuer, for [`ForeignAlgorithm::Hs256`] only.
    pub secret: Option<String>,
    /// A file with the issuer's public key as PEM.
    pub public_key: Option<PathBuf>,
    /// A file with the issuer's public keys as a JSON Web Key Set; it is read again when a token names a
    /// key that is not in it.
    pub jwks: Option<PathBuf>,
    /// Where the issuer publishes such a set: `https://…`. A [`KeySetKeeper`](super::KeySetKeeper) fetches it.
    pub jwks_url: Option<String>,
    /// Whether `jwks_url` may be `http://…` for other hosts than this machine.
    pub jwks_http: bool,
    /// How long a fetched set is used where the issuer does not say.
    pub jwks_refresh: Duration,
    /// How soon after a fetch a token that names an unknown key may cause another.
    pub jwks_refetch: Duration,
    /// Issuers that are believed; empty for any.
    pub issuer: Vec<String>,
    /// Audiences we answer to; empty for any.
    pub audience: Vec<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// Which claim is the principal's id.
    pub id_claim: String,
    /// Which claim lists the principal's roles.
    pub roles_claim: String,
    /// An auth collection whose records the ids name; `None`: the claims are all that is known.
    pub collection: Option<String>,
}

impl Default for ForeignOptions {
    fn default() -> Self {
        Self {
            algorithm: None,
            secret: None,
            public_key: None,
            jwks: None,
            jwks_url: None,
            jwks_http: false,
            jwks_refresh: Duration::from_secs(10 * 60),
            jwks_refetch: Duration::from_secs(30),
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway: Duration::from_secs(30),
            id_claim: "sub".to_owned(),
            roles_claim: "roles".to_owned(),
            collection: None,
        }
    }
}

/// Shows everything but the secret.
impl fmt::Debug for ForeignOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignOptions")
            .field("algorithm", &self.algorithm)
            .field("secret", &self.secret.as_ref().map(|_| "***"))
            .field("public_key", &self.public_key)
            .field("jwks", &self.jwks)
            .field("jwks_url", &self.jwks_url)
            .field("jwks_http", &self.jwks_http)
            .field("jwks_refresh", &self.jwks_refresh)
            .field("jwks_refetch", &self.jwks_refetch)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway", &self.leeway)
            .field("id_claim", &self.id_claim)
            .field("roles_claim", &self.roles_claim)
            .field("collection", &self.collection)
            .finish()
    }
}

/// How foreign tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignAlgorithm {
    /// A secret shared with the issuer.
    Hs256,
    /// RSA.
    Rs256,
    /// The curve P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl From<ForeignAlgorithm> for Algorithm {
    fn from(algorithm: ForeignAlgorithm) -> Self {
        match algorithm {
            ForeignAlgorithm::Hs256 => Self::HS256,
            ForeignAlgorithm::Rs256 => Self::RS256,
            ForeignAlgorithm::Es256 => Self::ES256,
            ForeignAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// Why foreign tokens cannot be checked as configured.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// More than one key is configured.
    #[error("give only one of jwt_secret, jwt_public_key, jwt_jwks and jwt_jwks_url")]
    SeveralKeys,
    /// The kind of key does not go with the algorithm.
    #[error(
        "jwt_secret goes with jwt_algorithm HS256 and nothing else does; a public key or a key set needs RS256, ES256, EdDSA or auto"
    )]
    Mismatch,
    /// A secret that can be guessed.
    #[error("jwt_secret has less than 32 bytes, which can be guessed; take a longer one")]
    ShortSecret,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is too large to be keys.
    #[error("{path} has more than 1 MiB, which is no set of keys")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// The PEM file holds something else.
    #[error(
        "{path} holds no public key for jwt_algorithm; such a file begins with -----BEGIN PUBLIC KEY-----"
    )]
    Pem {
        /// Which.
        path: PathBuf,
        /// What the reader said.
        source: jsonwebtoken::errors::Error,
    },
    /// The key set is none.
    #[error("{path} is no JSON Web Key Set: {{\"keys\": […]}}")]
    Jwks {
        /// Which.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// A key set cannot be fetched from there.
    #[error("jwt_jwks_url {url} {problem}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A password where everybody would see it.
    #[error(
        "jwt_jwks_url holds a user name or a password; a set of public keys needs none, so leave them out"
    )]
    UrlWithPassword,
}
