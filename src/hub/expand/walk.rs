//! Following an `expand` from a record, for one subscriber.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::plan::Step;
use crate::catalog::Link;
use crate::hub::publish::Delivery;
use crate::hub::registry::Subscriber;
use crate::record::{Expansion, Related, RelatedRecord};
use crate::related::{Absent, ROWS_MAX, Want, is_value_of, keys_in};
use crate::rules::{RequestContext, Row};
use crate::topic::Guard;

/// Records in the `expand` of one record.
const RECORDS_MAX: usize = 10_000;
/// Bytes of the images of those records.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a name is missing in `expand`, although it was a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Rows have not been fetched yet; they are on the shelf's list.
    NotLoaded,
    /// Rows could not be fetched.
    NotFetched,
    /// More rows than one name may lead to; or several where there can be one only.
    TooManyRows,
    /// The value holds no keys that could be read.
    Unreadable,
    /// More records or bytes than one record may be expanded by.
    TooLarge,
    /// More was looked at for one event than may be.
    TooMuchWork,
}

impl Missing {
    /// The word used in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotLoaded => "not_loaded",
            Self::NotFetched => "not_fetched",
            Self::TooManyRows => "too_many_rows",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::TooMuchWork => "too_much_work",
        }
    }

    /// Whether the whole path from the event's record on is missing: a part of an answer must not look
    /// like one.
    fn is_about_all(self) -> bool {
        matches!(self, Self::TooLarge | Self::TooMuchWork)
    }
}

impl From<Absent> for Missing {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::NotYet | Absent::HeldBack => Self::NotLoaded,
            Absent::TooMany => Self::TooManyRows,
            Absent::Failed => Self::NotFetched,
        }
    }
}

/// Follows paths for one subscriber.
pub(super) struct Walk<'w, 'e> {
    pub(super) delivery: &'e Delivery<'e>,
    pub(super) subscriber: &'w Subscriber,
    /// What view rules are asked with.
    pub(super) request: RequestContext<'w>,
    /// Rows that may still be looked at for the event, for whomever.
    pub(super) rows_left: &'w Cell<usize>,
    /// What is in the expansion so far.
    pub(super) records: Cell<usize>,
    pub(super) bytes: Cell<usize>,
}

impl<'e> Walk<'_, 'e> {
    /// What a record is expanded by; `None` if no path was without a mistake.
    pub(super) fn expand(&self, row: Row<'_>, steps: &[Step<'e>]) -> Option<Expansion<'e>> {
        let expansion = self.expansion(row, steps, true);
        expansion.expect("the outermost paths keep their troubles to themselves")
    }

    fn expansion(
        &self,
        row: Row<'_>,
        steps: &[Step<'e>],
        outermost: bool,
    ) -> Result<Option<Expansion<'e>>, Missing> {
        let mut expansion = None;
        for step in steps.iter().filter(|step| self.is_open(step)) {
            // That rows are missing does not tell from there being none.
            let Expansion { members } = expansion.get_or_insert_default();
            let before = (self.records.get(), self.bytes.get());
            match self.step(row, step) {
                Ok(related) => members.extend(related.map(|related| (step.name, related))),
                Err(missing) if missing.is_about_all() && !outermost => return Err(missing),
                Err(missing) => {
                    self.records.set(before.0);
                    self.bytes.set(before.1);
                    self.delivery.tally.expand_missing(missing.as_str());
                }
            }
        }
        Ok(expansion)
    }

    /// Whether the subscriber may see anything at all of what is on the way, to the end of one path at
    /// least.
    fn is_open(&self, step: &Step<'_>) -> bool {
        let sees = |link: &Link<'_>| {
            let member = &self.subscriber.member;
            let access = self.delivery.access;
            access.may_ever_pass(member, link.collection, Guard::View)
        };
        step.route.iter().all(sees)
            && (step.below.is_empty() || step.below.iter().any(|below| self.is_open(below)))
    }

    fn step(&self, row: Row<'_>, step: &Step<'e>) -> Result<Option<Related<'e>>, Missing> {
        let rows = self.end_of(row, step)?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            records.push(self.record(row, step)?);
        }
        Ok(match step.route.iter().all(|link| link.single) {
            true => records.pop().map(Related::One),
            false => (!records.is_empty()).then_some(Related::Many(records)),
        })
    }

    /// The rows at the end of a step.
    fn end_of(&self, row: Row<'_>, step: &Step<'e>) -> Result<Vec<Row<'e>>, Missing> {
        let Some((first, rest)) = step.route.split_first() else {
            return Ok(Vec::new());
        };
        let mut rows = self.follow(&[row], *first)?;
        for link in rest {
            rows = self.follow(&rows, *link)?;
            // Several ways may lead to one record.
            let mut seen = HashSet::new();
            rows.retain(|row| seen.insert(row.id));
        }
        Ok(rows)
    }

    /// The rows that a link leads to from any of these, as far as the subscriber may see them.
    fn follow(&self, rows: &[Row<'_>], link: Link<'e>) -> Result<Vec<Row<'e>>, Missing> {
        let mut found = Vec::new();
        let mut missing = None;
        for row in rows {
            for key in keys(*row, link)? {
                match self.with_key(key, row.deleted_by, link) {
                    Ok(rows) => found.extend(rows),
                    Err(Missing::NotLoaded) => missing = Some(Missing::NotLoaded),
                    Err(other) => return Err(other),
                }
                if found.len() > ROWS_MAX {
                    return Err(Missing::TooManyRows);
                }
            }
        }
        missing.map_or(Ok(found), Err)
    }

    fn with_key(
        &self,
        key: Arc<str>,
        deleted_by: Option<u64>,
        link: Link<'e>,
    ) -> Result<Vec<Row<'e>>, Missing> {
        let want = Want {
            collection: Arc::clone(link.collection),
            equals: vec![(link.to, key)],
            before: deleted_by,
        };
        let found = self.delivery.shelf.rows(&want)?;
        // A unique index that is gone since: which of them is meant, nobody can say.
        if link.single && found.len() > 1 {
            return Err(Missing::TooManyRows);
        }
        let left = self.rows_left.get().checked_sub(found.len());
        self.rows_left.set(left.ok_or(Missing::TooMuchWork)?);
        let rows = found.iter().map(|related| Row {
            collection: link.collection,
            id: &related.id,
            image: &related.image,
            deleted_by,
        });
        Ok(rows.filter(|row| self.sees(*row)).collect())
    }

    fn sees(&self, row: Row<'_>) -> bool {
        let Delivery { access, tally, .. } = *self.delivery;
        let member = &self.subscriber.member;
        access.lets_pass(member, Guard::View, row, &self.request, tally) == Ok(true)
    }

    fn record(&self, row: Row<'e>, step: &Step<'e>) -> Result<RelatedRecord<'e>, Missing> {
        self.records.set(self.records.get() + 1);
        self.bytes.set(self.bytes.get() + row.image.json().len());
        if self.records.get() > RECORDS_MAX || self.bytes.get() > BYTES_MAX {
            return Err(Missing::TooLarge);
        }
        Ok(RelatedRecord {
            collection: row.collection,
            id: &row.id.0,
            image: row.image,
            visibility: self
                .delivery
                .visibility(self.subscriber, row, &self.request),
            expansion: self.expansion(row, &step.below, false)?,
        })
    }
}

/// The keys by which a link finds rows. What no row can have is left out.
fn keys(row: Row<'_>, link: Link<'_>) -> Result<Vec<Arc<str>>, Missing> {
    let Some(json) = row.image.value(link.from) else {
        return Ok(Vec::new());
    };
    let value: Value = serde_json::from_str(json).map_err(|_| Missing::Unreadable)?;
    let keys = keys_in(&value);
    if keys.len() > ROWS_MAX {
        return Err(Missing::TooManyRows);
    }
    let target = &link.collection.fields[link.to];
    let keys = keys.into_iter().flatten();
    Ok(keys.filter(|key| is_value_of(target, key)).collect())
}
