//! What holds for any row.

use std::fmt;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::*;

/// The keys of an object in the order written.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = members.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        object.deserialize_map(Collect)
    }
}

#[derive(Deserialize)]
struct Envelope {
    record: Keys,
    action: String,
}

fn any_kind() -> impl Strategy<Value = FieldKind> {
    let leaf = prop_oneof![Just(Text), Just(Number), Just(Bool), Just(Date), Just(Json)];
    leaf.prop_recursive(3, 4, 1, |inner| inner.prop_map(array))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?([+-][0-9]{2}:[0-9]{2})?)?"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn text_of(value: &Value, pretty: bool) -> String {
    let text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    text.expect("it was JSON")
}

/// What any client might take for the end of a line.
fn ends_a_line(character: char) -> bool {
    character < ' ' || ['\u{85}', '\u{2028}', '\u{2029}'].contains(&character)
}

proptest! {
    #[test]
    fn any_row_becomes_valid_json_on_one_line(
        row in prop::collection::btree_map(
            any::<String>(),
            (any_kind(), any_json(), any::<bool>(), any::<bool>()),
            0..8,
        ),
        id: String,
    ) {
        const SECRET: &str = r#""not for everybody""#;
        let mut fields = Vec::new();
        let mut texts = Vec::new();
        for (name, (kind, value, pretty, is_hidden)) in &row {
            fields.push(Field { hidden: *is_hidden, ..field(name, kind.clone()) });
            texts.push(if *is_hidden { SECRET.to_owned() } else { text_of(value, *pretty) });
        }
        let values: Vec<_> = texts.iter().map(|text| Some(text.as_str())).collect();
        let event = ChangeEvent {
            collection: collection(fields),
            action: Action::Update,
            id: RecordId(id.as_str().into()),
            old: None,
            new: Some(image(&values)),
            transaction: None,
            position: None,
 ends_transaction: false,
        };
        for visibility in [Visibility::Plain, Visibility::Full] {
            let line = String::from_utf8(encode_change(&event, visibility)).expect("text");
            prop_assert!(!line.contains(ends_a_line), "{line:?}");
            let envelope: Envelope = serde_json::from_str(&line).expect("valid JSON");
            prop_assert_eq!(envelope.action, "update");
            let shown = |is_hidden: bool| visibility == Visibility::Full || !is_hidden;
            let mut expected: Vec<&str> = row
                .iter()
                .filter(|(name, (.., is_hidden))| {
                    shown(*is_hidden)
                        && !["id", "collectionId", "collectionName", "expand"].contains(&name.as_str())
                })
                .map(|(name, _)| name.as_str())
                .chain(["collectionId", "collectionName", "id"])
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(envelope.record.0, expected);
            prop_assert!(visibility == Visibility::Full || !line.contains("not for everybody"));
            let record: Value = serde_json::from_str(&line).expect("valid JSON");
            prop_assert_eq!(&record["record"]["id"], &Value::from(id.as_str()));
        }
    }

    #[test]
    fn json_stays_the_same_value(value in any_json(), pretty: bool) {
        let text = text_of(&value, pretty);
        // Both are read once, as serde_json may read a long number a little off.
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("valid JSON");
        prop_assert_eq!(read(&encode_one(Json, Some(&text))), read(&text));
    }

    #[test]
    fn text_stays_the_same_text(text: String) {
        let json = Value::from(text.as_str()).to_string();
        let written: String = serde_json::from_str(&encode_one(Text, Some(&json))).expect("a string");
        prop_assert_eq!(written, text);
    }

    #[test]
    fn numbers_keep_their_value(number in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?") {
        let written = encode_one(Number, Some(&number));
        let parse = |text: &str| text.parse::<f64>().expect("a number");
        prop_assert_eq!(parse(&written), parse(&number), "{} became {}", number, written);
        prop_assert!(serde_json::from_str::<serde_json::Number>(&written).is_ok() || parse(&number).is_infinite());
    }

    #[test]
    fn no_text_makes_it_panic_or_break_the_line(text: String, kind in any_kind()) {
        let written = encode_one(kind, Some(&text));
        prop_assert!(!written.contains(['\n', '\r']));
    }
}

#[test]
fn arrays_nested_beyond_reason_are_copied() {
    let deep = format!("{} {}", "[".repeat(100_000), "]".repeat(100_000));
    for kind in [
        Text,
        Number,
        Bool,
        Date,
        Json,
        array(Text),
        array(array(Json)),
    ] {
        let written = encode_one(kind, Some(&deep));
        assert!(written.contains("[[[]]]"));
    }
}
