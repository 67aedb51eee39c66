//! The client store: what is kept about a stream while it is open, for filters to read.

use serde_json::{Map, Value};

/// Keys of one stream.
const KEYS_MAX: usize = 64;
/// Bytes of one value as JSON.
const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of all of them, with their keys.
const BYTES_MAX: usize = 16 * 1024;
/// Characters of a key.
const KEY_LEN_MAX: usize = 64;
/// What PocketBase keeps there itself; `@request.auth` says who a stream is.
const RESERVED: [&str; 2] = ["auth", "pbRealtimeClientIP"];

/// What is kept about one stream. It ends with the stream.
#[derive(Debug, Default)]
pub(super) struct Store(Map<String, Value>);

/// A change of what is kept: each key's new value; null forgets the key.
pub type StoreChange = Map<String, Value>;

/// What is wrong with one key of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It could not be named in a filter.
    #[error("A key has 1 to 64 letters, digits and _, and does not begin with a digit.")]
    Name,
    /// It stands for something else.
    #[error("This key is reserved: @request.auth says who a stream is.")]
    Reserved,
    /// Its value is too large.
    #[error("A value may have 4096 bytes as JSON.")]
    ValueTooLarge,
    /// The policy does not let whoever asks set it.
    #[error(
        "You are not allowed to set this key. The policy opens a key by a row: p, ROLE, store:KEY, set, , allow."
    )]
    Forbidden,
}

/// Why a change was refused; nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No stream has this client id.
    #[error("missing or invalid client id")]
    UnknownClient,
    /// The stream was opened from another address.
    #[error("invalid realtime client")]
    ForeignAddress,
    /// The stream belongs to another principal.
    #[error("the current and the previous request authorization don't match")]
    OtherPrincipal,
    /// Some keys cannot be set.
    #[error("some keys cannot be set")]
    Keys(Vec<(String, BadKey)>),
    /// There would be too many, or they would be too large together.
    #[error("a stream may have {KEYS_MAX} keys, and {BYTES_MAX} bytes of keys and values as JSON")]
    TooMuch,
    /// The process is ending.
    #[error("the hub has stopped")]
    Stopped,
}

impl Store {
    pub(super) fn values(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Applies a change, whole or not at all.
    pub(super) fn change(&mut self, change: StoreChange) -> Result<(), StoreError> {
        check(&change)?;
        let mut values = self.0.clone();
        for (key, value) in change {
            match value {
                Value::Null => drop(values.remove(&key)),
                value => drop(values.insert(key, value)),
            }
        }
        let bytes: usize = values
            .iter()
            .map(|(key, value)| key.len() + value.to_string().len())
            .sum();
        if values.len() > KEYS_MAX || bytes > BYTES_MAX {
            return Err(StoreError::TooMuch);
        }
        self.0 = values;
        Ok(())
    }
}

/// Whether each key and value could be kept.
///
/// # Errors
/// Every one that could not.
fn check(change: &StoreChange) -> Result<(), StoreError> {
    let bad: Vec<_> = change
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), mistake(key, value)?)))
        .collect();
    match bad.is_empty() {
        true => Ok(()),
        false => Err(StoreError::Keys(bad)),
    }
}

fn mistake(key: &str, value: &Value) -> Option<BadKey> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = key
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    if !begins || key.len() > KEY_LEN_MAX || !key.bytes().all(is_plain) {
        return Some(BadKey::Name);
    }
    if RESERVED.contains(&key) {
        return Some(BadKey::Reserved);
    }
    (value.to_string().len() > VALUE_BYTES_MAX).then_some(BadKey::ValueTooLarge)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(value: Value) -> StoreChange {
        let Value::Object(map) = value else {
            panic!("an object");
        };
        map
    }

    #[test]
    fn keys_are_set_and_forgotten_together_or_not_at_all() {
        let mut store = Store::default();
        store
            .change(change(json!({"room": "7", "level": 3})))
            .expect("a good change");
        store
            .change(change(json!({"room": null, "tags": ["a"]})))
            .expect("a good change");
        assert_eq!(json!(store.values()), json!({"level": 3, "tags": ["a"]}));
        let refused = store.change(change(json!({"level": 4, "": 1})));
        assert_eq!(
            refused,
            Err(StoreError::Keys(vec![(String::new(), BadKey::Name)]))
        );
        assert_eq!(json!(store.values()), json!({"level": 3, "tags": ["a"]}));
    }

    #[test]
    fn whatever_is_too_much_is_refused_and_named() {
        let long = "x".repeat(VALUE_BYTES_MAX);
        let key = "k".repeat(KEY_LEN_MAX + 1);
        for (value, bad) in [
            (json!({"auth": 1}), BadKey::Reserved),
            (json!({"pbRealtimeClientIP": "::1"}), BadKey::Reserved),
            (json!({"a.b": 1}), BadKey::Name),
            (json!({"7": 1}), BadKey::Name),
            (json!({"é": 1}), BadKey::Name),
            (json!({key.clone(): 1}), BadKey::Name),
            (json!({"a": long}), BadKey::ValueTooLarge),
        ] {
            let value = change(value);
            let key = value.keys().next().cloned().unwrap_or_default();
            let refused = Store::default().change(value);
            assert_eq!(refused, Err(StoreError::Keys(vec![(key, bad)])));
        }
        let mut store = Store::default();
        let many: StoreChange = (0..KEYS_MAX).map(|n| (format!("k{n}"), json!(n))).collect();
        assert_eq!(store.change(many), Ok(()));
        assert_eq!(
            store.change(change(json!({"more": 1}))),
            Err(StoreError::TooMuch)
        );
        assert_eq!(store.change(change(json!({"more": 1, "k0": null}))), Ok(()));
        let large = "x".repeat(VALUE_BYTES_MAX - 2);
        let large: StoreChange = (0..5)
            .map(|n| (format!("k{n}"), json!(large.clone())))
            .collect();
        assert_eq!(store.change(large), Err(StoreError::TooMuch));
    }
}
