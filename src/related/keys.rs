//! The keys in a value, by which other records are found.

use std::sync::Arc;

use serde_json::Value;

use crate::catalog::{Field, TypeClass};

/// The keys in a value: that of a scalar, those of a list. `None` in a list stands for nobody.
pub fn keys_in(value: &Value) -> Vec<Option<Arc<str>>> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(key_in).collect(),
        scalar => vec![key_in(scalar)],
    }
}

fn key_in(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        // Whole numbers keep their digits.
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(flag) => Some(if *flag { "true" } else { "false" }.into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a text is one that a column can hold, so that the database can be asked for it.
pub fn is_value_of(field: &Field, text: &str) -> bool {
    match field.column_type.class {
        TypeClass::Integer => text.parse::<i64>().is_ok(),
        TypeClass::Uuid => is_uuid(text),
        TypeClass::Text => !text.contains('\0'),
        // It comes from a foreign key, so the database wrote it itself.
        TypeClass::Other => true,
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
