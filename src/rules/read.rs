//! Values out of a row image, as records show them: NULL as the kind's empty value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::path::Step;
use super::value::Value;
use crate::catalog::FieldKind;
use crate::record::write_value;

/// A value in the image is not what JSON allows, or not what Rust can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// A field's value.
pub(super) fn field<'i>(kind: &FieldKind, json: &'i str) -> Result<Value<'i>, Unreadable> {
    let json = json.trim_ascii();
    Ok(match kind {
        _ if json == "null" || json.is_empty() => empty(kind),
        FieldKind::Text if json.starts_with('"') => Value::Text(string(json)?),
        FieldKind::Text | FieldKind::Date => scalar_owned(&shown(kind, json))?,
        FieldKind::Number => number(json)?,
        FieldKind::Bool | FieldKind::Json => scalar(json)?,
        FieldKind::Array(_) => Value::text(shown(kind, json)),
    })
}

/// What NULL is in a record.
fn empty(kind: &FieldKind) -> Value<'static> {
    match kind {
        FieldKind::Text | FieldKind::Date => Value::text(""),
        FieldKind::Number | FieldKind::Bool => Value::Integer(0),
        FieldKind::Json => Value::Null,
        FieldKind::Array(_) => Value::text("[]"),
    }
}

/// The JSON that a record shows.
fn shown(kind: &FieldKind, json: &str) -> String {
    let mut out = Vec::with_capacity(json.len());
    write_value(&mut out, kind, Some(json));
    String::from_utf8(out).expect("a record is written as UTF-8")
}

fn string(json: &str) -> Result<Cow<'_, str>, Unreadable> {
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner.filter(|inner| !inner.contains(['\\', '"'])) {
        Some(plain) => Ok(Cow::Borrowed(plain)),
        None => serde_json::from_str(json)
            .map(Cow::Owned)
            .map_err(|_| Unreadable),
    }
}

fn scalar_owned(json: &str) -> Result<Value<'static>, Unreadable> {
    scalar(json).map(Value::into_static)
}

/// A JSON value as SQLite extracts it: scalars as such, all else as its text.
pub(super) fn scalar(json: &str) -> Result<Value<'_>, Unreadable> {
    let json = json.trim_ascii();
    Ok(match json.as_bytes().first() {
        Some(b'"') => Value::Text(string(json)?),
        Some(b'[' | b'{') => Value::text(shown(&FieldKind::Json, json)),
        Some(b't') => Value::bool(true),
        Some(b'f') => Value::bool(false),
        Some(b'n') => Value::Null,
        _ => Value::json_number(json).ok_or(Unreadable)?,
    })
}

/// Postgres quotes the numbers that JSON cannot write, and those of the type `oid`.
fn number(json: &str) -> Result<Value<'_>, Unreadable> {
    if !json.starts_with('"') {
        return Ok(match scalar(trimmed(json))? {
            value @ Value::Real(_) => value.stored_number(),
            value => value,
        });
    }
    let text = string(json)?;
    Ok(match &*text {
        "Infinity" => Value::Real(f64::INFINITY),
        "-Infinity" => Value::Real(f64::NEG_INFINITY),
        _ => Value::Text(text).numeric(),
    })
}

/// `12.500` without its idle zeros, so that whole numbers stay exact.
fn trimmed(number: &str) -> &str {
    if !number.contains('.') || number.contains(['e', 'E']) {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.')
}

/// The items of a list field; what is no list is its only item.
pub(super) fn items<'i>(kind: &FieldKind, json: &'i str) -> Result<Vec<Value<'i>>, Unreadable> {
    let json = json.trim_ascii();
    let element = match kind {
        FieldKind::Array(element) => &**element,
        other => other,
    };
    if json == "null" {
        return Ok(Vec::new());
    }
    if !json.starts_with('[') {
        return Ok(vec![item(element, json)?]);
    }
    let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| Unreadable)?;
    items
        .into_iter()
        .map(|raw| item(element, raw.get()))
        .collect()
}

fn item<'i>(kind: &FieldKind, json: &'i str) -> Result<Value<'i>, Unreadable> {
    match json.as_bytes().first() {
        // An item that is NULL stays so.
        Some(b'n') => Ok(Value::Null),
        // All dimensions of an array have one kind.
        Some(b'[') => Ok(Value::text(shown(
            &FieldKind::Array(Box::new(kind.clone())),
            json,
        ))),
        _ => field(kind, json),
    }
}

/// The value at the end of a path; NULL where the path leads nowhere.
pub(super) fn at_path<'i>(json: &'i str, path: &[Step]) -> Result<Value<'i>, Unreadable> {
    let mut json = json.trim_ascii();
    for step in path {
        let next = match (step, json.as_bytes().first()) {
            (Step::Member(name), Some(b'{')) => member(json, name)?,
            (Step::Item(index), Some(b'[')) => nth(json, *index)?,
            _ => None,
        };
        match next {
            Some(found) => json = found.trim_ascii(),
            None => return Ok(Value::Null),
        }
    }
    scalar(json)
}

fn member<'i>(json: &'i str, name: &str) -> Result<Option<&'i str>, Unreadable> {
    serde_json::Deserializer::from_str(json)
        .deserialize_map(Member(name))
        .map_err(|_| Unreadable)
}

fn nth(json: &str, index: usize) -> Result<Option<&str>, Unreadable> {
    serde_json::Deserializer::from_str(json)
        .deserialize_seq(Nth(index))
        .map_err(|_| Unreadable)
}

/// Finds the first member of a name.
struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if found.is_none() && key == self.0 {
                found = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Finds the item at an index.
struct Nth(usize);

impl<'de> Visitor<'de> for Nth {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut index = 0;
        while let Some(item) = items.next_element::<&RawValue>()? {
            if index == self.0 {
                found = Some(item.get());
            }
            index += 1;
        }
        Ok(found)
    }
}
