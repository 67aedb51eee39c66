//! One value of a row image, in the format of its field's kind.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::date::write_date;
use super::number::write_number;
use super::text::{write_as_string, write_compact};
use crate::catalog::FieldKind;

/// Levels of arrays written by their elements' kind; Postgres allows six dimensions. Deeper ones
/// are copied as they are.
const ARRAY_DEPTH_MAX: usize = 16;

/// Writes a value as JSON on one line; SQL's NULL and a missing value become the kind's empty one.
///
/// A value of another JSON type than the kind expects was written while the column had another
/// type. It stays valid JSON: [`FieldKind::Text`] takes it as text, the others pass it on.
pub(crate) fn write_value(out: &mut Vec<u8>, kind: &FieldKind, json: Option<&str>) {
    match json.map(str::trim_ascii) {
        None | Some("null" | "") => out.extend_from_slice(empty(kind)),
        Some(json) => write_present(out, kind, json, 0),
    }
}

fn empty(kind: &FieldKind) -> &'static [u8] {
    match kind {
        FieldKind::Text | FieldKind::Date => br#""""#,
        FieldKind::Number => b"0",
        FieldKind::Bool => b"false",
        FieldKind::Json => b"null",
        FieldKind::Array(_) => b"[]",
    }
}

fn write_present(out: &mut Vec<u8>, kind: &FieldKind, json: &str, depth: usize) {
    match kind {
        FieldKind::Text => write_as_string(out, json),
        FieldKind::Number => write_number(out, json),
        FieldKind::Date => write_date(out, json),
        FieldKind::Bool | FieldKind::Json => write_compact(out, json),
        FieldKind::Array(element) => write_array(out, element, json, depth),
    }
}

fn write_array(out: &mut Vec<u8>, element: &FieldKind, json: &str, depth: usize) {
    let start = out.len();
    let elements = Elements {
        out,
        element,
        depth,
    };
    let written = depth < ARRAY_DEPTH_MAX
        && json.starts_with('[')
        && serde_json::Deserializer::from_str(json)
            .deserialize_seq(elements)
            .is_ok();
    if !written {
        out.truncate(start);
        write_compact(out, json);
    }
}

/// Writes the elements of an array while they are found.
struct Elements<'o, 'k> {
    out: &'o mut Vec<u8>,
    element: &'k FieldKind,
    depth: usize,
}

impl Elements<'_, '_> {
    fn write(&mut self, json: &str) {
        let depth = self.depth + 1;
        match self.element {
            // A NULL among the elements stays one: an array of numbers has no empty place.
            _ if json == "null" => self.out.extend_from_slice(b"null"),
            // All dimensions of an array are of one type in Postgres.
            FieldKind::Text | FieldKind::Number | FieldKind::Bool | FieldKind::Date
                if json.starts_with('[') =>
            {
                write_array(self.out, self.element, json, depth);
            }
            element => write_present(self.out, element, json, depth),
        }
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        let mut first = true;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.write(element.get());
        }
        self.out.push(b']');
        Ok(())
    }
}
