//! The records that a transaction touched, as they were before it, from the change log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::{TryStreamExt, pin_mut};
use indexmap::IndexMap;
use tokio_postgres::Row;
use tokio_postgres::types::{PgLsn, ToSql};

use crate::catalog::Collection;
use crate::db::PooledClient;
use crate::event::{RecordId, RowImage, parse_image, record_id};

const TRANSACTION_CHANGES: &str = include_str!("../../sql/related/transaction_changes.sql");
const TRANSACTION_IS_WHOLE: &str = include_str!("../../sql/related/transaction_is_whole.sql");

/// Log rows of one transaction and collection that are looked at.
const CHANGES_MAX: usize = 10_000;
/// Bytes of them.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a transaction found when it came.
#[derive(Debug)]
pub(super) enum Past {
    /// For each record it touched, the row before; `None` of records that did not exist.
    Known(HashMap<RecordId, Option<RowImage>>),
    /// It touched more than can be looked at.
    TooMany,
    /// The log does not say, and why.
    Unknown(&'static str),
}

/// A row before and after one statement.
type Step = (Option<RowImage>, Option<RowImage>);

/// The steps of one statement: each record changes once in it.
#[derive(Default)]
struct Statement {
    lsn: u64,
    nested: bool,
    steps: IndexMap<RecordId, Step>,
}

/// Takes in log rows, in the order of the log.
struct History<'c> {
    collection: &'c Collection,
    statement: Statement,
    /// Each record's steps in the order of the log, and whether a statement of a trigger did one.
    records: HashMap<RecordId, (Vec<Step>, bool)>,
}

impl Past {
    /// Reads what the log says of a transaction and a collection.
    ///
    /// # Errors
    /// If the database says no; the transaction of the reading is spoilt then.
    pub(super) async fn load(
        client: &PooledClient,
        xid: u64,
        collection: &Arc<Collection>,
    ) -> Result<Self, tokio_postgres::Error> {
        let xid = xid.to_string();
        let is_whole = client.prepare_cached(TRANSACTION_IS_WHOLE).await?;
        let is_whole = client.query_one(&is_whole, &[&xid]).await?;
        if !is_whole.try_get::<_, bool>("whole")? {
            return Ok(Self::Unknown("the log was trimmed or closed"));
        }
        let changes = client.prepare_cached(TRANSACTION_CHANGES).await?;
        let limit = i64::try_from(CHANGES_MAX + 1).expect("a small number");
        let parameters: [&(dyn ToSql + Sync); 3] = [&xid, &collection.key.0, &limit];
        let rows = client.query_raw(&changes, parameters).await?;
        pin_mut!(rows);
        let mut history = History::new(collection);
        let (mut count, mut bytes) = (0, 0);
        while let Some(row) = rows.try_next().await? {
            count += 1;
            bytes += row.raw_size_bytes();
            if count > CHANGES_MAX || bytes > BYTES_MAX {
                return Ok(Self::TooMany);
            }
            if let Err(reason) = history.take(&row)? {
                return Ok(Self::Unknown(reason));
            }
        }
        Ok(history.into_past())
    }
}

impl<'c> History<'c> {
    fn new(collection: &'c Collection) -> Self {
        Self {
            collection,
            statement: Statement::default(),
            records: HashMap::new(),
        }
    }

    fn take(&mut self, row: &Row) -> Result<Result<(), &'static str>, tokio_postgres::Error> {
        let op: i8 = row.try_get("op")?;
        let lsn: PgLsn = row.try_get("lsn")?;
        let (old, new) = (row.try_get("old")?, row.try_get("new")?);
        Ok(self.note(op.cast_unsigned(), lsn.into(), old, new))
    }

    /// Notes one row of the log; fails, with the reason, if it does not say what happened.
    fn note(
        &mut self,
        op: u8,
        lsn: u64,
        old: Option<&str>,
        new: Option<&str>,
    ) -> Result<(), &'static str> {
        let nested = op.is_ascii_lowercase();
        if self.statement.lsn != lsn || self.statement.nested != nested {
            self.end_statement();
            (self.statement.lsn, self.statement.nested) = (lsn, nested);
        }
        let (old, new) = match (op.to_ascii_uppercase(), old, new) {
            // A mark that stands beside the change itself.
            (b'K', ..) => return Ok(()),
            (b'I', None, Some(new)) => (None, Some(new)),
            (b'D', Some(old), None) => (Some(old), None),
            (b'U', Some(old), Some(new)) => (Some(old), Some(new)),
            (b'T', ..) => return Err("rows were truncated and not listed"),
            _ => return Err("an image was withheld"),
        };
        if let Some((id, old)) = old.map(|old| self.read(old)).transpose()? {
            let step = self.statement.steps.entry(id).or_default();
            // From a row that was deleted and made anew in one statement, as by a move between partitions.
            step.0.get_or_insert(old);
        }
        if let Some((id, new)) = new.map(|new| self.read(new)).transpose()? {
            self.statement.steps.entry(id).or_default().1 = Some(new);
        }
        Ok(())
    }

    fn read(&self, json: &str) -> Result<(RecordId, RowImage), &'static str> {
        let unreadable = |_| "an image cannot be read";
        let parsed = parse_image(json.into(), self.collection).map_err(unreadable)?;
        if !parsed.shape_matches {
            return Err("the table was changed since");
        }
        let id = record_id(&parsed.image, self.collection).map_err(unreadable)?;
        Ok((id, parsed.image))
    }

    fn end_statement(&mut self) {
        let Statement { nested, steps, .. } = std::mem::take(&mut self.statement);
        for (id, step) in steps {
            let (record, any_nested) = self.records.entry(id).or_default();
            record.push(step);
            *any_nested |= nested;
        }
    }

    fn into_past(mut self) -> Past {
        self.end_statement();
        let mut known = HashMap::with_capacity(self.records.len());
        for (id, (steps, nested)) in self.records {
            let first = match nested {
                true => first_of_chain(steps),
                false => steps.into_iter().next().map(|(old, _)| old),
            };
            match first {
                Some(first) => known.insert(id, first),
                None => return Past::Unknown("triggers changed a record more than once"),
            };
        }
        Past::Known(known)
    }
}

/// The row that a record's steps begin with, where a trigger's statement may stand in the log before the one
/// that fired it: the one row that no step ends with. `None` if that cannot be told.
fn first_of_chain(steps: Vec<Step>) -> Option<Option<RowImage>> {
    if let [_] = &steps[..] {
        return steps.into_iter().next().map(|(old, _)| old);
    }
    let json = |image: &Option<RowImage>| image.as_ref().map(|image| image.json().to_owned());
    let mut ends: Vec<_> = steps.iter().map(|(_, new)| json(new)).collect();
    let mut begins = Vec::new();
    let mut seen = HashSet::new();
    for (old, _) in steps {
        let text = json(&old);
        match ends.iter().position(|end| *end == text) {
            Some(place) => drop(ends.swap_remove(place)),
            None if seen.insert(text) => begins.push(old),
            None => return None,
        }
    }
    match begins.len() {
        1 => begins.pop(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{CollectionKey, Field, FieldKind};

    fn collection() -> Arc<Collection> {
        let fields = ["id", "v"].map(|name| Field::new(name, FieldKind::Text));
        Arc::new(Collection::new(CollectionKey(1), "teams", fields.into()))
    }

    /// `2:U:xa>xb` is an update, in the statement that ended at 2, of record x from value a to b.
    fn past(log: &str) -> String {
        let collection = collection();
        let mut history = History::new(&collection);
        for row in log.split(' ').filter(|row| !row.is_empty()) {
            let mut parts = row.split(':');
            let lsn = parts.next().expect("an lsn").parse().expect("a number");
            let op = parts.next().expect("an op").as_bytes()[0];
            let (old, new) = parts.next().expect("rows").split_once('>').expect("two");
            let image = |text: &str| {
                let (id, value) = text.split_at_checked(1)?;
                (!value.is_empty()).then(|| format!(r#"{{"id":"{id}","v":"{value}"}}"#))
            };
            let (old, new) = (image(old), image(new));
            if let Err(reason) = history.note(op, lsn, old.as_deref(), new.as_deref()) {
                return reason.to_owned();
            }
        }
        let known = match history.into_past() {
            Past::Known(known) => known,
            Past::TooMany => return "too many".to_owned(),
            Past::Unknown(reason) => return reason.to_owned(),
        };
        let mut texts: Vec<_> = known
            .into_iter()
            .map(|(id, row)| {
                let value = row.as_ref().and_then(|row| row.value(1)).unwrap_or("-");
                format!("{id}={}", value.trim_matches('"'))
            })
            .collect();
        texts.sort();
        texts.join(" ")
    }

    #[test]
    fn the_row_before_is_what_the_first_change_began_with() {
        for (what, log, expected) in [
            ("nothing happened", "", ""),
            ("deleted", "1:D:xa>", "x=a"),
            (
                "updated twice, then deleted",
                "1:U:xa>xb 2:U:xb>xc 3:D:xc>",
                "x=a",
            ),
            ("created and deleted", "1:I:>xa 2:D:xa>", "x=-"),
            ("deleted and created again", "1:D:xa> 2:I:>xb", "x=a"),
            (
                "keys that move along in one statement",
                "1:U:xa>ya 1:U:yb>zb",
                "x=a y=b z=-",
            ),
            ("moved between partitions", "1:D:xa> 1:I:>xb", "x=a"),
            (
                "a trigger's update stands before what fired it",
                "1:u:xb>xc 2:U:xa>xb",
                "x=a",
            ),
            (
                "a trigger's update of what was inserted",
                "1:u:xa>xb 2:I:>xa",
                "x=-",
            ),
            ("a trigger's delete alone", "1:d:xa> 2:D:yb>", "x=a y=b"),
            ("a mark beside the change", "1:K:xa> 1:U:xa>xb", "x=a"),
            (
                "there and back again by triggers",
                "1:u:xb>xa 2:U:xa>xb",
                "triggers changed a record more than once",
            ),
            ("not listed", "1:T:>", "rows were truncated and not listed"),
            ("withheld", "1:D:>", "an image was withheld"),
        ] {
            assert_eq!(past(log), expected, "{what}");
        }
    }
}
