//! Row images: read or refused, and written as one line of JSON that shows nothing hidden.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::world::{HIDDEN, posts};
use crate::catalog::{FieldKind, RecordKey};
use crate::event::{Action, ChangeEvent, parse_image, record_id};
use crate::frame::Frame;
use crate::record::{Visibility, encode_change};

pub(super) fn check(row: &str) {
    let collection = Arc::new(posts());
    let Ok(parsed) = parse_image(row.into(), &collection) else {
        return;
    };
    for index in 0..collection.fields.len() {
        let value = parsed.image.value(index);
        assert!(value.is_none_or(|value| row.contains(value)));
    }
    let Ok(id) = record_id(&parsed.image, &collection) else {
        return;
    };
    let event = ChangeEvent {
        collection,
        action: Action::Create,
        id,
        old: None,
        new: Some(parsed.image),
        transaction: None,
        position: None,
        ends_transaction: false,
    };
    for visibility in [Visibility::Plain, Visibility::Own, Visibility::Full] {
        check_encoded(&event, visibility, &parsed.odd_fields);
    }
}

fn check_encoded(event: &ChangeEvent, visibility: Visibility, odd: &[usize]) {
    let data = encode_change(event, visibility);
    assert!(Frame::event(None, "posts", &data).is_some(), "one line");
    let message: BTreeMap<&str, &RawValue> = serde_json::from_slice(&data).expect("an object");
    let record: BTreeMap<&str, &RawValue> =
        serde_json::from_str(message["record"].get()).expect("an object");
    let collection = &event.collection;
    let keys = collection.record_keys().iter();
    let shown = |name: &&str| match (*name, visibility) {
        (_, Visibility::Full) => true,
        (HIDDEN, _) => false,
        ("email", Visibility::Plain) => record["emailVisibility"].get() == "true",
        _ => true,
    };
    let expected: Vec<&str> = keys.map(|key| key.name(collection)).filter(shown).collect();
    assert!(record.keys().eq(&expected), "{record:?}");
    for &key in collection.record_keys() {
        let RecordKey::Field(index) = key else {
            continue;
        };
        let field = &collection.fields[index];
        if let Some(value) = record.get(&*field.name).filter(|_| !odd.contains(&index)) {
            assert!(
                has_kind(value.get(), &field.kind),
                "{}: {value}",
                field.name
            );
        }
    }
}

/// Whether a client's type for this kind of field can take the value.
fn has_kind(value: &str, kind: &FieldKind) -> bool {
    match kind {
        FieldKind::Text | FieldKind::Date => value.starts_with('"'),
        FieldKind::Bool => matches!(value, "true" | "false"),
        // What JSON has no number for is a text.
        FieldKind::Number => value.trim_matches('"').parse::<f64>().is_ok(),
        FieldKind::Array(_) => value.starts_with('['),
        FieldKind::Json => true,
    }
}
