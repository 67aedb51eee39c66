//! The rows of one statement, put where they belong, within the limits of a fetch.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::ROWS_MAX;
use super::group::Group;
use super::shelf::Found;
use super::want::RelatedRow;
use crate::event::{parse_image, record_id};

/// Rows of all statements of a fetch.
pub(super) const FETCH_ROWS_MAX: usize = 20_000;
/// Bytes of them.
const FETCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a fetch may still take in.
#[derive(Debug)]
pub(super) struct Budget {
    rows: AtomicUsize,
    bytes: AtomicUsize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            rows: AtomicUsize::new(FETCH_ROWS_MAX),
            bytes: AtomicUsize::new(FETCH_BYTES_MAX),
        }
    }

    /// Takes room for a row, if there is room.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let less = |left: &AtomicUsize, amount: usize| {
            let subtract = |left: usize| left.checked_sub(amount);
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract)
                .is_ok()
        };
        less(&self.rows, 1) && less(&self.bytes, bytes)
    }
}

/// What was found so far for each want of a group.
pub(super) struct Gathered {
    found: Vec<Found>,
    /// The want that the last row belongs to.
    last: usize,
    in_order: bool,
    /// From this want on, not all rows have come.
    cut_at: Option<usize>,
    /// A row could not be read.
    pub unreadable: bool,
}

impl Gathered {
    pub(super) fn new(group: &Group) -> Self {
        Self {
            found: vec![Found::Rows(Vec::new()); group.wants.len()],
            last: 0,
            in_order: true,
            cut_at: None,
            unreadable: false,
        }
    }

    /// Takes in a row of the want at this place, from 1; `false` if no more are to come.
    pub(super) fn take(&mut self, n: i64, json: &str, group: &Group, budget: &Budget) -> bool {
        let place = usize::try_from(n - 1).unwrap_or(usize::MAX);
        self.in_order &= place >= self.last;
        self.last = place;
        if !budget.take(json.len()) {
            self.cut_at = Some(if self.in_order { place } else { 0 });
            return false;
        }
        let Some(found) = self.found.get_mut(place) else {
            return true;
        };
        let Found::Rows(rows) = found else {
            return true;
        };
        if rows.len() == ROWS_MAX {
            *found = Found::TooMany;
            return true;
        }
        match related_row(json, group) {
            Some(row) => rows.push(row),
            None => {
                self.unreadable = true;
                *found = Found::Failed;
            }
        }
        true
    }

    /// What was found for each want; `None` where not all has come.
    pub(super) fn into_found(self) -> Vec<Option<Found>> {
        let whole = self.cut_at.unwrap_or(self.found.len());
        let found = self.found.into_iter().enumerate();
        found
            .map(|(place, found)| (place < whole).then_some(found))
            .collect()
    }
}

fn related_row(json: &str, group: &Group) -> Option<RelatedRow> {
    let image = parse_image(json.into(), &group.collection).ok()?.image;
    let id = record_id(&image, &group.collection).ok()?;
    Some(RelatedRow { id, image })
}
