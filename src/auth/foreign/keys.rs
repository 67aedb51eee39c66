//! Another issuer's keys: one that is fixed, or a set that its owner rotates.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};

use super::key_file::{KeyFile, read_file};
use super::key_set::Key;
use super::key_url::KeyUrl;
use super::options::{ForeignAlgorithm, ForeignError, ForeignOptions};

/// A shared secret with less can be guessed.
const SECRET_BYTES_MIN: usize = 32;

/// The keys of one issuer.
pub(super) enum Keys {
    Fixed(Arc<Key>),
    File(Box<KeyFile>),
    Url(KeyUrl),
}

impl Keys {
    /// Reads what the options name; `None` if they name nothing. Connects to nothing.
    pub(super) fn new(options: &ForeignOptions) -> Result<Option<Self>, ForeignError> {
        use ForeignAlgorithm::Hs256;
        let only = options.algorithm;
        let named = (
            &options.secret,
            &options.public_key,
            &options.jwks,
            &options.jwks_url,
        );
        let keys = match named {
            (None, None, None, None) => return Ok(None),
            (Some(_), None, None, None) if only.is_some_and(|it| it != Hs256) => {
                return Err(ForeignError::Mismatch);
            }
            (None, ..) if only == Some(Hs256) => return Err(ForeignError::Mismatch),
            (Some(secret), None, None, None) => Self::Fixed(shared_secret(secret)?.into()),
            (None, Some(path), None, None) => Self::Fixed(public_key(path, only)?.into()),
            (None, None, Some(path), None) => {
                Self::File(Box::new(KeyFile::new(path.clone(), only)?))
            }
            (None, None, None, Some(url)) => Self::Url(KeyUrl::new(url, options)?),
            _ => return Err(ForeignError::SeveralKeys),
        };
        Ok(Some(keys))
    }

    /// Whether there might be a key for this; what a token says is only ever a reason to refuse it.
    pub(super) fn may_check(&self, algorithm: Algorithm, only: Option<ForeignAlgorithm>) -> bool {
        use ForeignAlgorithm::{EdDsa, Es256, Rs256};
        match self {
            Self::Fixed(key) => algorithm == key.algorithm.into(),
            Self::File(_) | Self::Url(_) => [Rs256, Es256, EdDsa]
                .into_iter()
                .filter(|known| only.is_none_or(|only| only == *known))
                .any(|known| algorithm == known.into()),
        }
    }

    /// The key a token names; without a name, the only one there is. Safe to drop half-way.
    pub(super) async fn find(&self, id: Option<&str>) -> Option<Arc<Key>> {
        match self {
            Self::Fixed(key) => Some(Arc::clone(key)),
            Self::File(file) => file.find(id).await,
            Self::Url(url) => url.find(id).await,
        }
    }
}

fn shared_secret(secret: &str) -> Result<Key, ForeignError> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(ForeignError::ShortSecret);
    }
    Ok(Key {
        algorithm: ForeignAlgorithm::Hs256,
        decoding: DecodingKey::from_secret(secret.as_bytes()),
    })
}

/// The key in a PEM file, which is for the algorithm of its own kind.
fn public_key(path: &Path, only: Option<ForeignAlgorithm>) -> Result<Key, ForeignError> {
    use ForeignAlgorithm::{EdDsa, Es256, Rs256};
    let pem = read_file(path)?;
    let mut refusal = None;
    for algorithm in [Rs256, Es256, EdDsa] {
        if only.is_some_and(|only| only != algorithm) {
            continue;
        }
        let decoding = match algorithm {
            Es256 => DecodingKey::from_ec_pem(&pem),
            EdDsa => DecodingKey::from_ed_pem(&pem),
            _ => DecodingKey::from_rsa_pem(&pem),
        };
        match decoding {
            Ok(decoding) => {
                return Ok(Key {
                    algorithm,
                    decoding,
                });
            }
            Err(error) => refusal = Some(error),
        }
    }
    Err(match refusal {
        Some(source) => ForeignError::Pem {
            path: path.to_owned(),
            source,
        },
        None => ForeignError::Mismatch,
    })
}

/// Shows no key.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("Fixed"),
            Self::File(file) => f.debug_tuple("File").field(&file.path).finish(),
            Self::Url(url) => f.debug_tuple("Url").field(&url.to_string()).finish(),
        }
    }
}
