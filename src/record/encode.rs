//! The envelope and the record object.

use super::Picker;
use super::expansion::{Expansion, RelatedRecord};
use super::text::write_string;
use super::value::write_value;
use crate::catalog::{Collection, RecordKey};
use crate::event::{Action, ChangeEvent, RowImage};

/// What stands before the record.
const OPENING: &[u8] = br#"{"record":"#;

/// The member with related records.
const EXPAND: &str = "expand";

/// Which fields are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// All but hidden ones, and the email of an auth record only if it wants to be seen.
    Plain,
    /// All but hidden ones: what a record of an auth collection sees of itself.
    Own,
    /// All.
    Full,
}

/// The data of a change: `{"record":{…},"action":"create"}` on one line.
pub fn encode_change(event: &ChangeEvent, visibility: Visibility) -> Vec<u8> {
    encode(event, visibility, None)
}

/// The same with related records in the record.
pub fn encode_expanded(
    event: &ChangeEvent,
    visibility: Visibility,
    expansion: &Expansion<'_>,
) -> Vec<u8> {
    encode(event, visibility, Some(expansion))
}

fn encode(
    event: &ChangeEvent,
    visibility: Visibility,
    expansion: Option<&Expansion<'_>>,
) -> Vec<u8> {
    let record = Record {
        collection: &event.collection,
        id: &event.id.0,
        image: event.shown(),
    };
    let expanded = expansion.map_or(0, |expansion| 2 * expansion.image_bytes());
    let mut out = Vec::with_capacity(record.image.json().len() + expanded + 192);
    out.extend_from_slice(OPENING);
    record.write(&mut out, visibility, expansion);
    write_action(&mut out, event.action.as_str());
    out
}

/// The data of a change, as [`encode_change`] wrote it, with only what is wanted of its record.
pub fn pick_change(data: &[u8], action: Action, picker: &Picker) -> Vec<u8> {
    let mut ending = Vec::with_capacity(24);
    write_action(&mut ending, action.as_str());
    let record = data
        .strip_prefix(OPENING)
        .and_then(|rest| rest.strip_suffix(&*ending))
        .and_then(|record| std::str::from_utf8(record).ok())
        .expect("the data of a change of this action");
    let mut out = Vec::with_capacity(data.len());
    out.extend_from_slice(OPENING);
    picker.pick(record, &mut out);
    out.extend_from_slice(&ending);
    out
}

/// The data of a change of a record that was written elsewhere.
pub fn with_record(record: &str, action: Action) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 40);
    out.extend_from_slice(OPENING);
    out.extend_from_slice(record.as_bytes());
    write_action(&mut out, action.as_str());
    out
}

/// One record by itself, on one line.
pub fn encode_record(
    collection: &Collection,
    id: &str,
    image: &RowImage,
    visibility: Visibility,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(image.json().len() + 128);
    let record = Record {
        collection,
        id,
        image,
    };
    record.write(&mut out, visibility, None);
    out
}

/// Writes a record that stands inside another one.
pub(super) fn write_record(out: &mut Vec<u8>, record: &RelatedRecord<'_>) {
    let RelatedRecord {
        collection,
        id,
        image,
        visibility,
        expansion,
    } = record;
    let record = Record {
        collection,
        id,
        image,
    };
    record.write(out, *visibility, expansion.as_ref());
}

/// The data of a gap in one collection: `{"record":{…},"action":"resync"}`, the record holding only
/// `collectionId`, `collectionName` and an empty `id`.
pub fn encode_gap(collection: &Collection) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_key(&mut out, collection, "");
    write_action(&mut out, "resync");
    out
}

/// The data by which a record leaves what somebody sees: nothing but which one it is.
pub fn encode_leave(collection: &Collection, id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_key(&mut out, collection, id);
    write_action(&mut out, "leave");
    out
}

/// The data of an update, whole or picked from, as that of a create: for whom the record is new.
///
/// # Panics
/// If it is not the data of an update.
pub fn entered(update: &[u8]) -> Vec<u8> {
    with_action(update, Action::Update, Action::Create.as_str())
}

/// The data of a create, whole or picked from, as that of a row that is there already.
///
/// # Panics
/// If it is not the data of a create.
pub fn snapshot_row(create: &[u8]) -> Vec<u8> {
    with_action(create, Action::Create, "snapshot")
}

/// The data that says that all rows have been sent, and how many.
pub fn encode_ready(collection: &Collection, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_key(&mut out, collection, "");
    out.extend_from_slice(br#","action":"ready","count":"#);
    out.extend_from_slice(count.to_string().as_bytes());
    out.push(b'}');
    out
}

/// The data that says that not all rows have been sent, and why: a `resync` with a `reason`.
pub fn encode_refusal(collection: &Collection, reason: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_key(&mut out, collection, "");
    out.extend_from_slice(br#","action":"resync","reason":"#);
    write_string(&mut out, reason);
    out.push(b'}');
    out
}

fn with_action(data: &[u8], from: Action, to: &str) -> Vec<u8> {
    let mut ending = Vec::with_capacity(24);
    write_action(&mut ending, from.as_str());
    let record = data.strip_suffix(&*ending);
    let mut out = record
        .expect("the data of a change of this action")
        .to_vec();
    write_action(&mut out, to);
    out
}

/// Writes the opening and a record of which nothing is told but which one it is.
fn write_key(out: &mut Vec<u8>, collection: &Collection, id: &str) {
    out.extend_from_slice(br#"{"record":{"collectionId":"#);
    write_string(out, &collection.id);
    out.extend_from_slice(br#","collectionName":"#);
    write_string(out, &collection.name);
    out.extend_from_slice(br#","id":"#);
    write_string(out, id);
    out.push(b'}');
}

fn write_action(out: &mut Vec<u8>, action: &str) {
    out.extend_from_slice(br#","action":""#);
    out.extend_from_slice(action.as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// Writes the name of a member of the object whose members begin at `start`.
fn write_name(out: &mut Vec<u8>, start: usize, name: &str) {
    if out.len() > start {
        out.push(b',');
    }
    write_string(out, name);
    out.push(b':');
}

/// One record, about to be written.
struct Record<'e> {
    collection: &'e Collection,
    id: &'e str,
    image: &'e RowImage,
}

impl Record<'_> {
    fn write(
        &self,
        out: &mut Vec<u8>,
        visibility: Visibility,
        mut expansion: Option<&Expansion<'_>>,
    ) {
        out.push(b'{');
        let start = out.len();
        for &key in self.collection.record_keys() {
            if !self.shows(key, visibility) {
                continue;
            }
            let name = key.name(self.collection);
            if name > EXPAND
                && let Some(expansion) = expansion.take()
            {
                write_name(out, start, EXPAND);
                expansion.write(out);
            }
            write_name(out, start, name);
            self.write_member(out, key);
        }
        if let Some(expansion) = expansion {
            write_name(out, start, EXPAND);
            expansion.write(out);
        }
        out.push(b'}');
    }

    fn shows(&self, key: RecordKey, visibility: Visibility) -> bool {
        let RecordKey::Field(index) = key else {
            return true;
        };
        match visibility {
            Visibility::Plain => !self.collection.fields[index].hidden && !self.keeps_back(index),
            Visibility::Own => !self.collection.fields[index].hidden,
            Visibility::Full => true,
        }
    }

    /// Whether the field is an email that its owner does not want to be seen.
    fn keeps_back(&self, index: usize) -> bool {
        let Some(auth) = &self.collection.auth else {
            return false;
        };
        let seen = auth
            .email_visibility
            .and_then(|flag| self.image.value(flag));
        auth.email == Some(index) && seen.is_none_or(|seen| seen.trim_ascii() != "true")
    }

    fn write_member(&self, out: &mut Vec<u8>, key: RecordKey) {
        match key {
            RecordKey::CollectionId => write_string(out, &self.collection.id),
            RecordKey::CollectionName => write_string(out, &self.collection.name),
            RecordKey::Id => write_string(out, self.id),
            RecordKey::Field(index) => {
                let kind = &self.collection.fields[index].kind;
                write_value(out, kind, self.image.value(index));
            }
        }
    }
}

#[cfg(test)]
mod tests;
