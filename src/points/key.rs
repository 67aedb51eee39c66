//! The digest of who subscribed to what under which name.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// Finds a resume point; nothing can be learned from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointKey([u8; 32]);

impl PointKey {
    /// The key of a subscription of somebody, whose text holds the name that the client gave itself.
    /// `who` is the ids of an auth collection and of a record in it; `None` stands for guests.
    pub fn new(who: Option<(&str, &str)>, subscription: &str) -> Self {
        let (collection, record) = who.unwrap_or_default();
        let mut told = Vec::new();
        for part in [collection, record, subscription] {
            told.extend_from_slice(&(part.len() as u64).to_be_bytes());
            told.extend_from_slice(part.as_bytes());
        }
        let digest = digest(&SHA256, &told);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// From what [`as_bytes`](Self::as_bytes) gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_one_principal_and_one_subscription() {
        let keys = [
            PointKey::new(None, "posts/*?k"),
            PointKey::new(None, "posts?k"),
            PointKey::new(Some(("members", "a")), "posts/*?k"),
            PointKey::new(Some(("members", "b")), "posts/*?k"),
            PointKey::new(Some(("membersa", "")), "posts/*?k"),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(place));
            assert_eq!(PointKey::from_bytes(key.as_bytes()), Some(*key));
        }
    }
}
