//! JSON as templates see it. Numbers keep their digits.

use std::collections::BTreeMap;

use minijinja::Value;
use serde_json::value::RawValue;

/// Decimal digits that a float surely keeps.
const FLOAT_DIGITS: usize = 15;

/// The members of an object; `None` if it is none.
pub(super) fn object_of(json: &str) -> Option<Value> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    Some(Value::from_pairs(
        members
            .into_iter()
            .map(|(name, value)| (name, value_of(value.get()))),
    ))
}

fn value_of(json: &str) -> Value {
    const CHECKED: &str = "a part of JSON is JSON";
    match json.as_bytes()[0] {
        b'{' => object_of(json).expect(CHECKED),
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).expect(CHECKED);
            items.into_iter().map(|item| value_of(item.get())).collect()
        }
        b'"' => {
            let text: String = serde_json::from_str(json).expect(CHECKED);
            text.into()
        }
        b't' => true.into(),
        b'f' => false.into(),
        b'n' => ().into(),
        _ => number_of(json),
    }
}

/// A number; as text where it would lose digits.
fn number_of(json: &str) -> Value {
    if let Ok(whole) = json.parse::<i64>() {
        return whole.into();
    }
    let mantissa = json.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    match json.parse::<f64>() {
        Ok(float) if digits <= FLOAT_DIGITS && float.is_finite() => float.into(),
        _ => json.into(),
    }
}
