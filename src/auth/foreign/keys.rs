//! Another issuer's keys: one that is fixed, or a set in a file that its owner rotates.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::options::{ForeignAlgorithm, ForeignError, ForeignOptions};

/// No set of keys is larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How long a set is used before the file is looked at again.
const AGE_MAX: Duration = Duration::from_secs(60);
/// Tokens that name unknown keys make us look at the file no more often than this.
const RELOAD_INTERVAL_MIN: Duration = Duration::from_secs(2);

/// The keys of one issuer.
pub(super) enum Keys {
    Fixed(Arc<DecodingKey>),
    Set(Box<KeyFile>),
}

/// A file with a key set.
pub(super) struct KeyFile {
    path: PathBuf,
    algorithm: ForeignAlgorithm,
    /// What the file said last; kept when it cannot be read any more.
    current: RwLock<Arc<KeySet>>,
    /// When it was looked at last. Held while looking, so that one looks for all.
    looked: Mutex<Instant>,
}

#[derive(Default)]
struct KeySet {
    by_id: HashMap<String, Arc<DecodingKey>>,
    /// The only key there is.
    single: Option<Arc<DecodingKey>>,
}

impl Keys {
    /// Reads what the options name; `None` if they name nothing.
    pub(super) fn new(options: &ForeignOptions) -> Result<Option<Self>, ForeignError> {
        use ForeignAlgorithm::Hs256;
        let shared = options.algorithm == Hs256;
        match (&options.secret, &options.public_key, &options.jwks) {
            (None, None, None) => Ok(None),
            (Some(_), None, None) if !shared => Err(ForeignError::Mismatch),
            (None, _, _) if shared => Err(ForeignError::Mismatch),
            (Some(secret), None, None) if secret.len() < 32 => Err(ForeignError::ShortSecret),
            (Some(secret), None, None) => {
                let key = DecodingKey::from_secret(secret.as_bytes());
                Ok(Some(Self::Fixed(key.into())))
            }
            (None, Some(path), None) => {
                let key = public_key(path, options.algorithm)?;
                Ok(Some(Self::Fixed(key.into())))
            }
            (None, None, Some(path)) => {
                let set = KeySet::read(path, options.algorithm)?;
                Ok(Some(Self::Set(Box::new(KeyFile {
                    path: path.clone(),
                    algorithm: options.algorithm,
                    current: RwLock::new(set.into()),
                    looked: Mutex::new(Instant::now()),
                }))))
            }
            _ => Err(ForeignError::SeveralKeys),
        }
    }

    /// The key a token names; without a name, the only one there is. Safe to drop half-way.
    pub(super) async fn find(&self, id: Option<&str>) -> Option<Arc<DecodingKey>> {
        match self {
            Self::Fixed(key) => Some(Arc::clone(key)),
            Self::Set(file) => file.find(id).await,
        }
    }
}

impl KeyFile {
    async fn find(&self, id: Option<&str>) -> Option<Arc<DecodingKey>> {
        let known = self.current().find(id);
        let patience = if known.is_some() {
            AGE_MAX
        } else {
            RELOAD_INTERVAL_MIN
        };
        self.look_again(patience).await;
        // A key that was taken out of the file is believed no longer.
        self.current().find(id)
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn look_again(&self, patience: Duration) {
        let mut looked = self.looked.lock().await;
        if looked.elapsed() < patience {
            return;
        }
        *looked = Instant::now();
        let (path, algorithm) = (self.path.clone(), self.algorithm);
        let read = spawn_blocking(move || KeySet::read(&path, algorithm)).await;
        match read {
            Ok(Ok(set)) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = set.into();
            }
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn Error,
                "the key set cannot be read; the keys from before stay in use"
            ),
            Err(_) => tracing::error!("reading the key set failed inside"),
        }
    }
}

impl KeySet {
    fn read(path: &Path, algorithm: ForeignAlgorithm) -> Result<Self, ForeignError> {
        let text = read_file(path)?;
        let jwks = |source| ForeignError::Jwks {
            path: path.to_owned(),
            source,
        };
        // Key by key: one of a kind that nobody here knows must not spoil the others.
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(&text).map_err(jwks)?;
        let keys = set.keys.into_iter();
        let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: Vec<_> = keys.filter_map(|jwk| usable(jwk, algorithm)).collect();
        if keys.is_empty() {
            tracing::warn!(path = %path.display(), "the key set has no key for the configured jwt_algorithm");
        }
        Ok(Self::new(keys))
    }

    fn new(keys: Vec<(Option<String>, Arc<DecodingKey>)>) -> Self {
        let single = match keys.as_slice() {
            [(_, only)] => Some(Arc::clone(only)),
            _ => None,
        };
        let by_id = keys.into_iter().filter_map(|(id, key)| Some((id?, key)));
        Self {
            by_id: by_id.collect(),
            single,
        }
    }

    fn find(&self, id: Option<&str>) -> Option<Arc<DecodingKey>> {
        match id {
            Some(id) => self.by_id.get(id).cloned(),
            None => self.single.clone(),
        }
    }
}

/// The key if it is one to check signatures of this algorithm with. Shared secrets have no place in a
/// set of public keys.
fn usable(jwk: Jwk, algorithm: ForeignAlgorithm) -> Option<(Option<String>, Arc<DecodingKey>)> {
    let right_kind = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), ForeignAlgorithm::Rs256) => true,
        (AlgorithmParameters::EllipticCurve(curve), ForeignAlgorithm::Es256) => {
            curve.curve == EllipticCurve::P256
        }
        (AlgorithmParameters::OctetKeyPair(curve), ForeignAlgorithm::EdDsa) => {
            curve.curve == EllipticCurve::Ed25519
        }
        _ => false,
    };
    let common = &jwk.common;
    let to_sign = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let same = common
        .key_algorithm
        .is_none_or(|named| named == named_in_sets(algorithm));
    if !(right_kind && to_sign && same) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id, key.into()))
}

fn named_in_sets(algorithm: ForeignAlgorithm) -> KeyAlgorithm {
    match algorithm {
        ForeignAlgorithm::Hs256 => KeyAlgorithm::HS256,
        ForeignAlgorithm::Rs256 => KeyAlgorithm::RS256,
        ForeignAlgorithm::Es256 => KeyAlgorithm::ES256,
        ForeignAlgorithm::EdDsa => KeyAlgorithm::EdDSA,
    }
}

fn public_key(path: &Path, algorithm: ForeignAlgorithm) -> Result<DecodingKey, ForeignError> {
    let pem = read_file(path)?;
    let key = match algorithm {
        ForeignAlgorithm::Hs256 => return Err(ForeignError::Mismatch),
        ForeignAlgorithm::Rs256 => DecodingKey::from_rsa_pem(&pem),
        ForeignAlgorithm::Es256 => DecodingKey::from_ec_pem(&pem),
        ForeignAlgorithm::EdDsa => DecodingKey::from_ed_pem(&pem),
    };
    key.map_err(|source| ForeignError::Pem {
        path: path.to_owned(),
        source,
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, ForeignError> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(source) => Err(ForeignError::Read {
            path: path.to_owned(),
            source,
        }),
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(ForeignError::TooLarge {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(bytes),
    }
}

/// Shows no key.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("Fixed"),
            Self::Set(file) => f.debug_tuple("Set").field(&file.path).finish(),
        }
    }
}
