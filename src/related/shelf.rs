//! What was fetched, and what is missing: who reads finds the one and notes the other.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use indexmap::IndexSet;
use tokio::time::Instant;

use super::library::{FetchError, Reading};
use super::want::{RelatedRow, Want};

/// The answer to a want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// All rows there are, in the order of their ids.
    Rows(Vec<RelatedRow>),
    /// More than [`ROWS_MAX`](super::ROWS_MAX).
    TooMany,
    /// The database refused or could not be asked, whose log line is written.
    Failed,
    /// The database did not answer in time, and is not asked for this again before then.
    HeldBack {
        /// When it may be asked again.
        until: Instant,
    },
}

/// Why there are no rows to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Nobody has fetched them; they are noted as wanted.
    NotYet,
    /// There are too many.
    TooMany,
    /// They could not be fetched.
    Failed,
    /// They cannot be fetched now, but may be soon.
    HeldBack,
}

/// A moment in what was looked for on a shelf.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    wanted: usize,
    held_back: Option<Instant>,
}

/// Rows of other collections, all of one moment. Begins empty.
#[derive(Debug, Default)]
pub struct Shelf {
    found: HashMap<Want, Found>,
    wanted: RefCell<IndexSet<Want>>,
    held_back: Cell<Option<Instant>>,
}

impl Shelf {
    /// The rows that answer a want.
    ///
    /// # Errors
    /// If they are not there. Those that were never fetched are noted, for [`take_wanted`](Self::take_wanted).
    pub fn rows(&self, want: &Want) -> Result<&[RelatedRow], Absent> {
        match self.found.get(want) {
            Some(Found::Rows(rows)) => Ok(rows),
            Some(Found::TooMany) => Err(Absent::TooMany),
            Some(Found::Failed) => Err(Absent::Failed),
            Some(Found::HeldBack { until }) => {
                self.held_back.set(self.held_back.get().max(Some(*until)));
                Err(Absent::HeldBack)
            }
            None => {
                let mut wanted = self.wanted.borrow_mut();
                if !wanted.contains(want) {
                    wanted.insert(want.clone());
                }
                Err(Absent::NotYet)
            }
        }
    }

    /// Whether something was looked for in vain since [`take_wanted`](Self::take_wanted) was last asked.
    pub fn is_wanting(&self) -> bool {
        !self.wanted.borrow().is_empty()
    }

    /// What was looked for in vain since this was last asked, in that order.
    pub fn take_wanted(&self) -> Vec<Want> {
        self.wanted.take().into_iter().collect()
    }

    /// Until when rows are held back that were looked for since [`take_held_back`](Self::take_held_back) was last
    /// asked.
    pub fn held_back(&self) -> Option<Instant> {
        self.held_back.get()
    }

    /// Until when rows are held back that were looked for since this was last asked.
    pub fn take_held_back(&self) -> Option<Instant> {
        self.held_back.take()
    }

    /// What has been looked for in vain so far.
    pub fn mark(&self) -> Mark {
        Mark {
            wanted: self.wanted.borrow().len(),
            held_back: self.held_back.get(),
        }
    }

    /// Forgets what was looked for in vain since a mark: it turned out not to matter.
    pub fn forget_since(&self, mark: Mark) {
        self.wanted.borrow_mut().truncate(mark.wanted);
        self.held_back.set(mark.held_back);
    }

    /// Puts in the answer to a want.
    pub fn put(&mut self, want: Want, found: Found) {
        self.found.insert(want, found);
    }

    /// Fetches what was looked for in vain since this or [`take_wanted`](Self::take_wanted) was last asked, and puts it in;
    /// `false` if nothing was, so that asking again would change nothing.
    ///
    /// # Errors
    /// If the database cannot be asked now. What was wanted is forgotten then.
    pub async fn fetch_wanted(&mut self, reading: &mut dyn Reading) -> Result<bool, FetchError> {
        let wants = self.take_wanted();
        if wants.is_empty() {
            return Ok(false);
        }
        for (want, found) in reading.fetch(wants).await? {
            self.put(want, found);
        }
        Ok(true)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.found.clear();
        self.wanted.take();
        self.held_back.take();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::{Collection, CollectionKey, Field, FieldKind};

    #[test]
    fn what_is_looked_for_in_vain_is_noted_once_and_found_when_it_was_put_in() {
        let fields = vec![Field::new("id", FieldKind::Text)];
        let collection = Arc::new(Collection::new(CollectionKey(1), "teams", fields));
        let want = |key: &str| Want {
            collection: Arc::clone(&collection),
            equals: vec![(0, key.into())],
            before: None,
        };
        let mut shelf = Shelf::default();
        for _ in 0..2 {
            assert_eq!(shelf.rows(&want("a")), Err(Absent::NotYet));
            assert_eq!(shelf.rows(&want("b")), Err(Absent::NotYet));
        }
        assert!(shelf.is_wanting());
        assert_eq!(shelf.take_wanted(), [want("a"), want("b")]);
        assert!(!shelf.is_wanting());
        assert_eq!(shelf.take_wanted(), []);
        shelf.put(want("a"), Found::Rows(Vec::new()));
        shelf.put(want("b"), Found::TooMany);
        assert_eq!(shelf.rows(&want("a")), Ok(&[][..]));
        assert_eq!(shelf.rows(&want("b")), Err(Absent::TooMany));
        assert_eq!(shelf.take_held_back(), None);
        let until = Instant::now();
        shelf.put(want("c"), Found::HeldBack { until });
        assert_eq!(shelf.rows(&want("c")), Err(Absent::HeldBack));
        assert!(!shelf.is_wanting());
        assert_eq!(shelf.take_held_back(), Some(until));
        assert_eq!(shelf.take_held_back(), None);
        let earlier = Want {
            before: Some(7),
            ..want("a")
        };
        assert_eq!(shelf.rows(&earlier), Err(Absent::NotYet));
    }
}
