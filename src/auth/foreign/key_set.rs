//! A JSON Web Key Set: the public keys of one issuer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use serde_json::Value;

use super::options::ForeignAlgorithm;

/// A key, and the one algorithm that it is for.
pub(super) struct Key {
    pub(super) algorithm: ForeignAlgorithm,
    pub(super) decoding: DecodingKey,
}

/// Keys by the name that tokens call them by.
#[derive(Default)]
pub(super) struct KeySet {
    /// `None`: several keys have this name, and none of them is meant for sure.
    by_id: HashMap<String, Option<Arc<Key>>>,
    /// The only key there is.
    single: Option<Arc<Key>>,
}

impl KeySet {
    /// Reads a set; keys that are no public keys for signatures of a known kind, or of the `only` one,
    /// are left out. `source` is where it comes from, for the log.
    pub(super) fn read(
        json: &[u8],
        only: Option<ForeignAlgorithm>,
        source: &str,
    ) -> Result<Self, serde_json::Error> {
        // Key by key: one of a kind that nobody here knows must not spoil the others.
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json)?;
        let shared = set.keys.iter().any(|key| key["kty"] == "oct");
        if shared {
            tracing::warn!(
                source,
                "the key set holds a shared secret, which is not believed: whoever reads the set could sign with it"
            );
        }
        let keys = set.keys.into_iter();
        let mut keys: Vec<Jwk> = keys
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter(|jwk| algorithm_of(jwk).is_some_and(|own| only.is_none_or(|it| it == own)))
            .collect();
        // A key that is listed twice is one key.
        let mut seen = Vec::with_capacity(keys.len());
        keys.retain(|jwk| {
            let identity = (jwk.common.key_id.clone(), jwk.algorithm.clone());
            let new = !seen.contains(&identity);
            seen.push(identity);
            new
        });
        let set = Self::new(keys, source);
        if set.is_empty() {
            tracing::warn!(source, "the key set has no key that could be used");
        }
        Ok(set)
    }

    fn new(keys: Vec<Jwk>, source: &str) -> Self {
        let usable = keys.into_iter().filter_map(|jwk| {
            let key = Key {
                algorithm: algorithm_of(&jwk)?,
                decoding: DecodingKey::from_jwk(&jwk).ok()?,
            };
            Some((jwk.common.key_id, Arc::new(key)))
        });
        let usable: Vec<_> = usable.collect();
        let single = match usable.as_slice() {
            [(_, only)] => Some(Arc::clone(only)),
            _ => None,
        };
        let mut by_id = HashMap::new();
        for (id, key) in usable {
            let Some(id) = id else { continue };
            match by_id.entry(id) {
                Entry::Vacant(free) => {
                    free.insert(Some(key));
                }
                Entry::Occupied(mut taken) => {
                    tracing::warn!(source, kid = %taken.key(), "several keys have this name; none of them is used");
                    taken.insert(None);
                }
            }
        }
        Self { by_id, single }
    }

    /// The key of this name; without a name, the only one there is.
    pub(super) fn find(&self, id: Option<&str>) -> Option<Arc<Key>> {
        match id {
            Some(id) => self.by_id.get(id).cloned().flatten(),
            None => self.single.clone(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.single.is_none() && self.by_id.is_empty()
    }
}

/// What a key checks signatures of, by its own kind. Shared secrets have no place in a set of public
/// keys.
fn algorithm_of(jwk: &Jwk) -> Option<ForeignAlgorithm> {
    let own = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => ForeignAlgorithm::Rs256,
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => {
            ForeignAlgorithm::Es256
        }
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            ForeignAlgorithm::EdDsa
        }
        _ => return None,
    };
    let common = &jwk.common;
    let named = common.key_algorithm.is_none_or(|it| it == in_sets(own));
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    (named && signs && verifies).then_some(own)
}

fn in_sets(algorithm: ForeignAlgorithm) -> KeyAlgorithm {
    match algorithm {
        ForeignAlgorithm::Hs256 => KeyAlgorithm::HS256,
        ForeignAlgorithm::Rs256 => KeyAlgorithm::RS256,
        ForeignAlgorithm::Es256 => KeyAlgorithm::ES256,
        ForeignAlgorithm::EdDsa => KeyAlgorithm::EdDSA,
    }
}
