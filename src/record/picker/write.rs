//! Picking: JSON text in, the wanted part of it out. Values are copied as they are spelled.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{Node, Wanted};
use crate::record::text::write_string;

/// Levels of objects whose members are put in order; what lies deeper is copied. Each level is read
/// once for every level above it.
const ORDERED_DEPTH_MAX: usize = 32;

/// Writes what is wanted of a value; without a node, all of it.
pub(super) fn write_picked(out: &mut Vec<u8>, json: &str, node: Option<&Node>, depth: usize) {
    match node.and_then(|node| node.value) {
        None => write_parts(out, json, node, depth),
        Some(Wanted::Whole) => write_parts(out, json, None, depth),
        Some(Wanted::Excerpt(excerpt)) => match serde_json::from_str::<String>(json) {
            Ok(text) => write_string(out, &excerpt.of(&text)),
            // Only texts are shortened.
            Err(_) => write_parts(out, json, None, depth),
        },
    }
}

/// Writes an object's members in order, an array's items each for itself, and all else as it is.
fn write_parts(out: &mut Vec<u8>, json: &str, node: Option<&Node>, depth: usize) {
    let start = out.len();
    let written = depth < ORDERED_DEPTH_MAX
        && match json.as_bytes().first() {
            Some(b'{') => write_object(out, json, node, depth),
            // What holds no object holds nothing to pick from and nothing to put in order.
            Some(b'[') if json.contains('{') => write_array(out, json, node, depth),
            _ => false,
        };
    if !written {
        out.truncate(start);
        out.extend_from_slice(json.as_bytes());
    }
}

fn write_object(out: &mut Vec<u8>, json: &str, node: Option<&Node>, depth: usize) -> bool {
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
        return false;
    };
    let members = members.iter().filter_map(|(name, value)| match node {
        None => Some((name, value, None)),
        Some(node) => Some((name, value, Some(node.member(name)?))),
    });
    out.push(b'{');
    for (index, (name, value, node)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_picked(out, value.get(), node, depth + 1);
    }
    out.push(b'}');
    true
}

fn write_array(out: &mut Vec<u8>, json: &str, node: Option<&Node>, depth: usize) -> bool {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        return false;
    };
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_parts(out, item.get(), node, depth + 1);
    }
    out.push(b']');
    true
}
