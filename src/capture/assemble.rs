//! Log rows become change events: one record each, paired by key.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::catalog::Collection;
use crate::event::{Action, ChangeEvent, ImageError, RecordId, RowImage, parse_image, record_id};

/// What a trigger noted of one row.
#[derive(Debug, Clone)]
pub(super) enum Noted {
    Inserted(Box<str>),
    Deleted(Box<str>),
    /// Paired by place in the statement, which is nearly always right.
    Updated {
        old: Option<Box<str>>,
        new: Option<Box<str>>,
    },
}

/// Collects the rows of one statement (of one transaction) into change events.
///
/// An update that leaves the key alone is an update. One that changes it deletes one record and
/// creates another; within a statement keys may also move from row to row (`set id = id + 1`), so
/// rows whose key changed wait for the end of the statement and are then paired by key.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// Rows whose key changed: what is there no longer, and what is there now.
    gone: Vec<(RecordId, RowImage)>,
    arrived: IndexMap<RecordId, RowImage>,
    /// A deletion from a partitioned table, which may be the first half of a move.
    leaving: Option<(RecordId, RowImage)>,
}

/// A noted row whose images have been read.
#[derive(Debug)]
pub(super) struct Row {
    change: Change,
    /// Whether the images have the columns the catalog knows.
    pub shape_matches: bool,
    /// Fields whose values do not look like their kind.
    pub odd_fields: Vec<usize>,
}

#[derive(Debug)]
enum Change {
    Inserted(RecordId, RowImage),
    Deleted(RecordId, RowImage),
    Updated(Option<(RecordId, RowImage)>, Option<(RecordId, RowImage)>),
}

impl Noted {
    /// Reads the images as rows of `collection`.
    ///
    /// # Errors
    /// If an image cannot be understood.
    pub(super) fn read(self, collection: &Collection) -> Result<Row, ImageError> {
        let mut shape_matches = true;
        let mut odd_fields = Vec::new();
        let mut read = |json: Box<str>| -> Result<(RecordId, RowImage), ImageError> {
            let parsed = parse_image(json, collection)?;
            shape_matches &= parsed.shape_matches;
            odd_fields.extend(parsed.odd_fields);
            Ok((record_id(&parsed.image, collection)?, parsed.image))
        };
        let change = match self {
            Self::Inserted(new) => {
                let (id, new) = read(new)?;
                Change::Inserted(id, new)
            }
            Self::Deleted(old) => {
                let (id, old) = read(old)?;
                Change::Deleted(id, old)
            }
            Self::Updated { old, new } => Change::Updated(
                old.map(&mut read).transpose()?,
                new.map(&mut read).transpose()?,
            ),
        };
        Ok(Row {
            change,
            shape_matches,
            odd_fields,
        })
    }
}

impl Row {
    /// The images as they came, to be read again under a newer catalog.
    pub(super) fn into_noted(self) -> Noted {
        let json = |(_, image): (RecordId, RowImage)| image.into_json();
        match self.change {
            Change::Inserted(_, new) => Noted::Inserted(new.into_json()),
            Change::Deleted(_, old) => Noted::Deleted(old.into_json()),
            Change::Updated(old, new) => Noted::Updated {
                old: old.map(json),
                new: new.map(json),
            },
        }
    }
}

impl Assembler {
    /// Whether something waits for more rows.
    pub(super) fn is_holding(&self) -> bool {
        !self.gone.is_empty() || !self.arrived.is_empty() || self.leaving.is_some()
    }

    /// Takes in one row of `collection`; the events that are complete now come out, in order.
    pub(super) fn take(
        &mut self,
        row: Row,
        collection: &Arc<Collection>,
        events: &mut Vec<ChangeEvent>,
    ) {
        let leaving = self.leaving.take();
        if let Change::Inserted(id, new) = row.change {
            match leaving {
                Some((left, old)) if left == id => {
                    events.push(change(collection, Action::Update, id, Some(old), Some(new)));
                }
                left => {
                    events.extend(left.map(|row| deletion(collection, row)));
                    events.push(change(collection, Action::Create, id, None, Some(new)));
                }
            }
            return;
        }
        events.extend(leaving.map(|row| deletion(collection, row)));
        match row.change {
            Change::Deleted(id, old) if collection.partitioned => self.leaving = Some((id, old)),
            Change::Deleted(id, old) => events.push(deletion(collection, (id, old))),
            // A foreign key to the table itself: the row whose key has changed follows its parent's key
            // within the same statement.
            Change::Updated(_, Some((id, new))) if self.arrived.contains_key(&id) => {
                self.arrived.insert(id, new);
            }
            Change::Updated(Some((before, old)), Some((id, new))) if before == id => {
                events.push(change(collection, Action::Update, id, Some(old), Some(new)));
            }
            Change::Updated(old, new) => {
                self.gone.extend(old);
                self.arrived.extend(new);
            }
            Change::Inserted(..) => unreachable!("handled above"),
        }
    }

    /// The statement has ended: what was held comes out, deletions first, so that a key that moved
    /// from one row to another ends up existing.
    pub(super) fn end_statement(
        &mut self,
        collection: &Arc<Collection>,
        events: &mut Vec<ChangeEvent>,
    ) {
        let mut gone: HashMap<_, _> = self.gone.drain(..).collect();
        let arrived: Vec<_> = self
            .arrived
            .drain(..)
            .map(|(id, new)| (gone.remove(&id), id, new))
            .collect();
        let mut left: Vec<_> = gone.into_iter().collect();
        left.sort_by(|(a, _), (b, _)| a.cmp(b));
        events.extend(left.into_iter().map(|row| deletion(collection, row)));
        events.extend(arrived.into_iter().map(|(old, id, new)| {
            let action = if old.is_some() {
                Action::Update
            } else {
                Action::Create
            };
            change(collection, action, id, old, Some(new))
        }));
    }

    /// The transaction, or its stretch of rows in this collection, has ended.
    pub(super) fn end_stretch(
        &mut self,
        collection: &Arc<Collection>,
        events: &mut Vec<ChangeEvent>,
    ) {
        self.end_statement(collection, events);
        events.extend(self.leaving.take().map(|row| deletion(collection, row)));
    }
}

fn deletion(collection: &Arc<Collection>, (id, old): (RecordId, RowImage)) -> ChangeEvent {
    change(collection, Action::Delete, id, Some(old), None)
}

fn change(
    collection: &Arc<Collection>,
    action: Action,
    id: RecordId,
    old: Option<RowImage>,
    new: Option<RowImage>,
) -> ChangeEvent {
    ChangeEvent {
        collection: Arc::clone(collection),
        action,
        id,
        old,
        new,
        transaction: None,
        position: None,
        ends_transaction: false,
    }
}
