//! Rows of other collections during a decision: what is wanted, and what the shelf has.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::context::AuthValues;
use super::evaluate::{Evaluation, Item};
use super::predicate::{Row, Undecidable};
use super::program::{FieldRef, Home, Reach, Rows};
use super::value::Value;
use crate::catalog::{Collection, FieldKind, TypeClass};
use crate::related::{Absent, ROWS_MAX, RelatedRow, Want, is_value_of, keys_in};

/// Whose values are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'e> {
    Record(Row<'e>),
    Joined(&'e Collection, &'e RelatedRow),
    /// The principal's record.
    Principal(&'e Collection, &'e AuthValues),
    /// There is no such row: all its values are NULL.
    Nobody,
}

/// Fields by position, and what they must equal.
type Equals = Vec<(usize, Arc<str>)>;

/// What a row must equal in a field.
enum Sought {
    Text(Arc<str>),
    /// No row has it.
    Nothing,
    /// It cannot be asked for.
    Anything,
}

impl<'e> Evaluation<'e> {
    /// The rows of a join; one that is nobody's where there are none.
    pub(super) fn rows(&self, rows: &'e Rows) -> Result<Rc<[Item<'e>]>, Undecidable> {
        let nobody = || Rc::from([Item::Row(None)]);
        let Some(narrow) = self.narrowed(rows)? else {
            return Ok(nobody());
        };
        let Reach::Keys { home, from, to } = &rows.reach else {
            let found = self.fetched(rows, narrow)?;
            let items: Rc<[_]> = found.iter().map(|row| Item::Row(Some(row))).collect();
            return Ok(if items.is_empty() { nobody() } else { items });
        };
        let mut items = Vec::new();
        let mut missing = None;
        for key in self.keys(*home, from)? {
            let fits = key.filter(|key| is_value_of(&rows.collection.fields[*to], key));
            let found = fits.map(|key| {
                let mut equals = vec![(*to, key)];
                equals.extend(narrow.iter().cloned());
                self.fetched(rows, equals)
            });
            match found.transpose() {
                Ok(Some(found)) if !found.is_empty() => {
                    items.extend(found.iter().map(|row| Item::Row(Some(row))));
                }
                Ok(_) => items.push(Item::Row(None)),
                // All keys are wanted at once.
                Err(Undecidable::NotLoaded) => missing = Some(Undecidable::NotLoaded),
                Err(other) => return Err(other),
            }
        }
        // A unique index that is gone since: which of them is meant, nobody can say.
        let surplus = rows.single && items.len() > 1;
        if items.len() > ROWS_MAX || surplus {
            let collection = rows.collection.name.to_string();
            return Err(Undecidable::TooManyRows { collection });
        }
        match missing {
            Some(missing) => Err(missing),
            None if items.is_empty() => Ok(nobody()),
            None => Ok(items.into()),
        }
    }

    /// What rows must equal beside their keys; `None` if no row can.
    fn narrowed(&self, rows: &'e Rows) -> Result<Option<Equals>, Undecidable> {
        let mut equals = Vec::new();
        for (field, source) in &rows.narrow {
            let side = self.side(source)?;
            match sought(&rows.collection, *field, &side.value) {
                Sought::Text(text) => equals.push((*field, text)),
                Sought::Nothing => return Ok(None),
                Sought::Anything => {}
            }
        }
        equals.sort_unstable();
        equals.dedup();
        Ok(Some(equals))
    }

    fn fetched(&self, rows: &'e Rows, equals: Equals) -> Result<&'e [RelatedRow], Undecidable> {
        let want = Want {
            collection: Arc::clone(&rows.collection),
            equals,
            before: self.row.deleted_by,
        };
        let collection = || rows.collection.name.to_string();
        let found = self
            .request
            .shelf
            .rows(&want)
            .map_err(|absent| match absent {
                // What is held back may not matter either; the shelf remembers which it was.
                Absent::NotYet | Absent::HeldBack => Undecidable::NotLoaded,
                Absent::TooMany => Undecidable::TooManyRows {
                    collection: collection(),
                },
                Absent::Failed => Undecidable::NotFetched {
                    collection: collection(),
                },
            })?;
        self.budget.spend(found.len())?;
        Ok(found)
    }

    /// The keys that a field holds; `None` in a list stands for nobody.
    fn keys(&self, home: Home, field: &FieldRef) -> Result<Vec<Option<Arc<str>>>, Undecidable> {
        let unreadable = || Undecidable::Unreadable {
            name: field.name.to_string(),
        };
        let Some(json) = self.image_value(home, field)? else {
            return Ok(Vec::new());
        };
        let json: Json = serde_json::from_str(json).map_err(|_| unreadable())?;
        Ok(keys_in(&json))
    }

    /// Whether whoever wrote the filter may list the row that a join has chosen.
    pub(super) fn is_visible(&self, join: usize) -> Result<bool, Undecidable> {
        match self.at(Home::Joined(join))? {
            At::Joined(collection, row) => self.may_list(collection, row),
            At::Record(_) | At::Principal(..) | At::Nobody => Ok(true),
        }
    }

    pub(super) fn may_list(
        &self,
        collection: &'e Collection,
        row: &'e RelatedRow,
    ) -> Result<bool, Undecidable> {
        let gates = self.request.gates.ok_or(Undecidable::NoGates)?;
        gates.may_list(Row {
            collection,
            id: &row.id,
            image: &row.image,
            deleted_by: self.row.deleted_by,
        })
    }
}

/// What rows can be asked for, if a field of theirs shall equal a value by `?=`.
fn sought(collection: &Collection, field: usize, value: &Value<'_>) -> Sought {
    let described = &collection.fields[field];
    // The id of a record is a text, whatever the column is.
    let is_id = collection.key_fields == [field];
    let text = match value {
        Value::Null => return Sought::Anything,
        Value::Text(text) if text.is_empty() => return Sought::Anything,
        Value::Text(text) => text.clone(),
        Value::Integer(_) | Value::Real(_) => Cow::Borrowed(""),
    };
    match (described.column_type.class, &described.kind) {
        (TypeClass::Integer, FieldKind::Number) => whole(value),
        (TypeClass::Uuid, FieldKind::Text) | (TypeClass::Text, FieldKind::Text)
            if text.is_empty() =>
        {
            Sought::Anything
        }
        _ if !is_value_of(described, &text) => Sought::Nothing,
        _ if is_id || described.kind == FieldKind::Text => Sought::Text(text.into()),
        _ => Sought::Anything,
    }
}

/// The whole number that a value is to a column of numbers.
fn whole(value: &Value<'_>) -> Sought {
    match value.borrowed().numeric().stored_number() {
        // NULL shows as it.
        Value::Integer(0) => Sought::Anything,
        Value::Integer(integer) => Sought::Text(integer.to_string().into()),
        Value::Real(_) | Value::Text(_) | Value::Null => Sought::Nothing,
    }
}
