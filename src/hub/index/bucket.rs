//! Who is kept under which key: entries that know their places, so that each is taken out in a step.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use slab::Slab;

/// An entry's number; given anew after it is gone.
pub(super) type EntryNumber = u32;

/// Entries by key. Invariant: `buckets[place.key][place.at]` is an entry's number exactly for each of its places.
pub(super) struct Buckets<T> {
    entries: Slab<Entry<T>>,
    by_key: HashMap<u64, Bucket, BuildHasherDefault<KeyHasher>>,
}

impl<T> Default for Buckets<T> {
    fn default() -> Self {
        Self {
            entries: Slab::new(),
            by_key: HashMap::default(),
        }
    }
}

struct Entry<T> {
    value: T,
    places: Places,
}

#[derive(Clone, Copy)]
struct Place {
    key: u64,
    at: u32,
}

/// Most entries have one place.
enum Places {
    One(Place),
    Many(Box<[Place]>),
}

/// Most keys have one entry.
enum Bucket {
    One(EntryNumber),
    Many(Vec<EntryNumber>),
}

impl<T: Copy> Buckets<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn reserve(&mut self, entries: usize) {
        self.entries.reserve(entries);
        self.by_key.reserve(entries);
    }

    /// Keeps a value under these keys, of which none is there twice.
    pub(super) fn insert(&mut self, value: T, keys: &[u64]) -> EntryNumber {
        let number =
            EntryNumber::try_from(self.entries.vacant_key()).expect("subscribers are limited");
        let mut place = |key: &u64| {
            let at = match self.by_key.get_mut(key) {
                Some(bucket) => bucket.push(number),
                None => {
                    self.by_key.insert(*key, Bucket::One(number));
                    0
                }
            };
            Place { key: *key, at }
        };
        let places = match keys {
            [only] => Places::One(place(only)),
            keys => Places::Many(keys.iter().map(place).collect()),
        };
        self.entries.insert(Entry { value, places });
        number
    }

    pub(super) fn remove(&mut self, number: EntryNumber) -> Option<T> {
        let Entry { value, places } = self.entries.try_remove(number as usize)?;
        for place in places.as_slice() {
            let Some(bucket) = self.by_key.get_mut(&place.key) else {
                continue;
            };
            match bucket.remove(place.at) {
                Rest::Nothing => {
                    self.by_key.remove(&place.key);
                }
                Rest::Moved(moved) => {
                    if let Some(entry) = self.entries.get_mut(moved as usize) {
                        entry.places.moved(place.key, place.at);
                    }
                }
                Rest::Same => {}
            }
        }
        Some(value)
    }

    /// Calls `visit` with all values that are kept under a key.
    pub(super) fn visit(&self, key: u64, mut visit: impl FnMut(T)) {
        let numbers = self.by_key.get(&key).map_or(&[][..], Bucket::as_slice);
        for number in numbers {
            if let Some(entry) = self.entries.get(*number as usize) {
                visit(entry.value);
            }
        }
    }
}

impl Places {
    fn as_slice(&self) -> &[Place] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }

    fn moved(&mut self, key: u64, at: u32) {
        let places = match self {
            Self::One(place) => std::slice::from_mut(place),
            Self::Many(places) => places,
        };
        if let Some(place) = places.iter_mut().find(|place| place.key == key) {
            place.at = at;
        }
    }
}

/// What became of the others when one was taken out.
enum Rest {
    Nothing,
    Same,
    /// This one has its place now.
    Moved(EntryNumber),
}

impl Bucket {
    /// Returns where it stands.
    fn push(&mut self, number: EntryNumber) -> u32 {
        let numbers = match self {
            Self::One(first) => {
                *self = Self::Many(vec![*first]);
                return self.push(number);
            }
            Self::Many(numbers) => numbers,
        };
        let at = u32::try_from(numbers.len()).expect("subscribers are limited");
        numbers.push(number);
        at
    }

    fn remove(&mut self, at: u32) -> Rest {
        let Self::Many(numbers) = self else {
            return Rest::Nothing;
        };
        numbers.swap_remove(at as usize);
        match (numbers.is_empty(), numbers.get(at as usize)) {
            (true, _) => Rest::Nothing,
            (_, Some(moved)) => Rest::Moved(*moved),
            (_, None) => Rest::Same,
        }
    }

    fn as_slice(&self) -> &[EntryNumber] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Many(numbers) => numbers,
        }
    }
}

/// Keys are hashes already, of a hasher that nobody can foresee.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(5) ^ number;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(buckets: &Buckets<usize>, key: u64) -> Vec<usize> {
        let mut found = Vec::new();
        buckets.visit(key, |value| found.push(value));
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn all_are_found_under_their_keys_and_nobody_else(
            steps in prop::collection::vec((prop::collection::btree_set(0_u64..6, 0..4), any::<prop::sample::Index>(), any::<bool>()), 0..60),
        ) {
            let mut buckets = Buckets::default();
            let mut kept = Vec::new();
            for (value, (keys, which, removes)) in steps.into_iter().enumerate() {
                if removes && !kept.is_empty() {
                    let (number, value, _) = kept.swap_remove(which.index(kept.len()));
                    prop_assert_eq!(buckets.remove(number), Some(value));
                } else {
                    let keys: Vec<u64> = keys.into_iter().collect();
                    let number = buckets.insert(value, &keys);
                    kept.push((number, value, keys));
                }
                prop_assert_eq!(buckets.len(), kept.len());
                for key in 0..6 {
                    let of_key = kept.iter().filter(|(_, _, keys)| keys.contains(&key));
                    let mut expected: Vec<usize> = of_key.map(|(_, value, _)| *value).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found(&buckets, key), expected);
                }
            }
            for (number, ..) in kept {
                buckets.remove(number);
            }
            prop_assert!(buckets.by_key.is_empty());
        }
    }
}
