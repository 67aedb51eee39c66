//! Parsing of images and ids.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::catalog::{CollectionKey, FieldKind};

fn collection(fields: &[&str], key_fields: &[usize]) -> Collection {
    let field = |name: &&str| Field::new(name, FieldKind::Text);
    Collection {
        key_fields: key_fields.to_vec(),
        ..Collection::new(
            CollectionKey(1),
            "posts",
            fields.iter().map(field).collect(),
        )
    }
}

fn parse(json: &str, collection: &Collection) -> ParsedImage {
    parse_image(json.into(), collection).expect("an object")
}

#[test]
fn values_are_found_where_postgres_wrote_them() {
    let json = "{\"id\":7,\"we\\\"ird \\u003ck>\":\"a,\\\"b\",\"doc\":{ \"id\" : 1,\n\t\"x\":[] },\"n\":null}";
    let collection = collection(&["id", "we\"ird <k>", "doc", "n"], &[0]);
    let ParsedImage {
        image,
        shape_matches,
        odd_fields: _,
    } = parse(json, &collection);
    assert!(shape_matches);
    let values: Vec<_> = (0..5).map(|index| image.value(index)).collect();
    assert_eq!(
        values,
        [
            Some("7"),
            Some(r#""a,\"b""#),
            Some("{ \"id\" : 1,\n\t\"x\":[] }"),
            Some("null"),
            None
        ]
    );
}

#[test]
fn a_shape_the_catalog_does_not_know_is_noticed() {
    let collection = collection(&["id", "title"], &[0]);
    for (json, matches, title) in [
        (r#"{"id":1,"title":"t"}"#, true, Some(r#""t""#)),
        (r#"{ "id" : 1 , "title" : "t" } "#, true, Some(r#""t""#)),
        (r#"{"title":"t","id":1}"#, false, Some(r#""t""#)),
        (r#"{"id":1}"#, false, None),
        (r#"{"id":1,"title":"t","more":2}"#, false, Some(r#""t""#)),
        (r#"{"id":1,"more":2,"title":"t"}"#, false, Some(r#""t""#)),
        (r#"{"id":1,"title":"s","title":"t"}"#, false, Some(r#""t""#)),
        ("{}", false, None),
    ] {
        let parsed = parse(json, &collection);
        assert_eq!(parsed.shape_matches, matches, "{json}");
        assert_eq!(parsed.image.value(1), title, "{json}");
    }
}

#[test]
fn a_value_of_another_json_type_than_its_kinds_is_noticed() {
    let array = || FieldKind::Array(Box::new(FieldKind::Number));
    for (kind, value, odd) in [
        (FieldKind::Text, r#""x""#, false),
        (FieldKind::Text, "1", true),
        (FieldKind::Date, r#""2024-05-05""#, false),
        (FieldKind::Date, "{}", true),
        (FieldKind::Number, "-1.5", false),
        (FieldKind::Number, r#""NaN""#, false),
        (FieldKind::Number, r#""3""#, true),
        (FieldKind::Number, "true", true),
        (FieldKind::Bool, "true", false),
        (FieldKind::Bool, "0", true),
        (array(), "[]", false),
        (array(), "1", true),
        (FieldKind::Json, "1", false),
        (FieldKind::Number, "null", false),
    ] {
        let mut collection = collection(&["id", "v"], &[0]);
        collection.fields[1].kind = kind.clone();
        let parsed = parse(&format!(r#"{{"id":"1","v":{value}}}"#), &collection);
        let expected: &[usize] = if odd { &[1] } else { &[] };
        assert_eq!(parsed.odd_fields, expected, "{kind:?} {value}");
    }
}

#[test]
fn what_is_no_object_is_an_error() {
    let collection = collection(&["id"], &[0]);
    for json in [
        "",
        "[]",
        "7",
        "null",
        "{",
        r#"{"id":}"#,
        r#"{"id":1} x"#,
        r#"{"id":1"#,
    ] {
        let outcome = parse_image(json.into(), &collection);
        assert!(matches!(outcome, Err(ImageError::Malformed(_))), "{json}");
    }
}

#[test]
fn a_megabyte_is_no_special_case() {
    let collection = collection(&["id", "body", "end"], &[0]);
    let body = "x\\n".repeat(400_000);
    let parsed = parse(
        &format!(r#"{{"id":1,"body":"{body}","end":true}}"#),
        &collection,
    );
    assert!(parsed.shape_matches);
    assert_eq!(parsed.image.value(1).map(str::len), Some(body.len() + 2));
    assert_eq!(parsed.image.value(2), Some("true"));
}

#[test]
fn the_id_is_the_key_as_text() {
    for (json, keys, expected) in [
        (r#"{"a":"x y","b":1}"#, &[0][..], "x y"),
        (r#"{"a":"a,/?%\"\n","b":1}"#, &[0], "a,/?%\"\n"),
        (r#"{"a":9007199254740993,"b":1}"#, &[0], "9007199254740993"),
        (r#"{"a":1.50,"b":1}"#, &[0], "1.50"),
        (r#"{"a":true,"b":1}"#, &[0], "true"),
        (r#"{"a":"","b":1}"#, &[0], ""),
        (
            r#"{"a":"2024-05-05T10:00:00+02:00"}"#,
            &[0],
            "2024-05-05T10:00:00+02:00",
        ),
        (r#"{"a":"x","b":1}"#, &[0, 1], "x,1"),
        (r#"{"a":"x","b":1}"#, &[1, 0], "1,x"),
        (r#"{"a":"é,/?%","b":"a b"}"#, &[0, 1], "é%2C%2F%3F%25,a b"),
    ] {
        let collection = collection(&["a", "b"], keys);
        let id = record_id(&parse(json, &collection).image, &collection).expect(json);
        assert_eq!(&*id.0, expected, "{json}");
    }
}

#[test]
fn a_row_without_its_key_has_no_id() {
    for (json, expected) in [
        (r#"{"b":1}"#, r#"the row image lacks the key column "a""#),
        (r#"{"a":null,"b":1}"#, r#"the key column "a" is NULL"#),
        (r#"{"a":1}"#, r#"the row image lacks the key column "b""#),
        (
            r#"{"a":"\ud800","b":1}"#,
            r#"the value of the key column "a" is not valid JSON"#,
        ),
    ] {
        let collection = collection(&["a", "b"], &[0, 1]);
        let error = record_id(&parse(json, &collection).image, &collection).expect_err(json);
        assert_eq!(error.to_string(), expected, "{json}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_round_trips(
        members in prop::collection::btree_map(any::<String>(), any_json(), 1..8),
        pretty: bool,
    ) {
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        let collection = collection(&names, &[0]);
        let json = if pretty {
            serde_json::to_string_pretty(&members)
        } else {
            serde_json::to_string(&members)
        };
        let parsed = parse(&json.expect("it was JSON"), &collection);
        prop_assert!(parsed.shape_matches);
        for (index, value) in members.values().enumerate() {
            let found = parsed.image.value(index).expect("every member is a field");
            // Both are read once, as serde_json may read a long number a little off.
            let read = |text: &str| serde_json::from_str::<Value>(text).expect("a value is JSON");
            prop_assert_eq!(read(found), read(&value.to_string()));
        }
    }

    #[test]
    fn no_text_makes_it_panic(json: String) {
        let collection = collection(&["id"], &[0]);
        if let Ok(parsed) = parse_image(json.into(), &collection) {
            let _ = record_id(&parsed.image, &collection);
        }
    }
}
