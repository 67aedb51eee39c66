//! What can be set about another issuer's tokens.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

/// Whose tokens are believed beside our own. Exactly one of `secret`, `public_key` and `jwks` switches
/// it on.
#[derive(Clone)]
pub struct ForeignOptions {
    /// What tokens are signed with; never taken from a token.
    pub algorithm: ForeignAlgorithm,
    /// The secret shared with the issuer, for [`ForeignAlgorithm::Hs256`] only.
    pub secret: Option<String>,
    /// A file with the issuer's public key as PEM.
    pub public_key: Option<PathBuf>,
    /// A file with the issuer's public keys as a JSON Web Key Set; it is read again when a token names a
    /// key that is not in it.
    pub jwks: Option<PathBuf>,
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
            algorithm: ForeignAlgorithm::Rs256,
            secret: None,
            public_key: None,
            jwks: None,
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
    #[error("give only one of jwt_secret, jwt_public_key and jwt_jwks")]
    SeveralKeys,
    /// The kind of key does not go with the algorithm.
    #[error(
        "jwt_secret goes with jwt_algorithm HS256 and nothing else does; a public key or a key set needs RS256, ES256 or EdDSA"
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
        "{path} holds no public key for the configured jwt_algorithm; it begins with -----BEGIN PUBLIC KEY-----"
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
}
