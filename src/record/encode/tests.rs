//! Envelope, order and formats, case by case.

use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::catalog::{CollectionKey, Field, FieldKind};
use crate::event::Action;
use crate::event::RecordId;

use FieldKind::{Bool, Date, Json, Number, Text};

mod properties;

fn array(element: FieldKind) -> FieldKind {
    FieldKind::Array(Box::new(element))
}

fn field(name: &str, kind: FieldKind) -> Field {
    Field::new(name, kind)
}

fn hidden(name: &str, kind: FieldKind) -> Field {
    Field {
        hidden: true,
        ..field(name, kind)
    }
}

fn collection(fields: Vec<Field>) -> Arc<Collection> {
    Arc::new(Collection {
        id: "pbc_1".into(),
        ..Collection::new(CollectionKey(1), "posts", fields)
    })
}

/// An image of these values as they stand; `None` is a column the image lacks.
fn image(values: &[Option<&str>]) -> RowImage {
    let mut json = String::from("{");
    let mut ranges: Vec<Option<Range<u32>>> = Vec::new();
    for value in values {
        ranges.push(value.map(|value| {
            let start = json.len() as u32;
            json.push_str(value);
            start..json.len() as u32
        }));
        json.push(',');
    }
    RowImage::new(json.into(), ranges.into())
}

fn encode(fields: Vec<Field>, values: &[Option<&str>], visibility: Visibility) -> String {
    let event = ChangeEvent {
        collection: collection(fields),
        action: Action::Create,
        id: RecordId("r1".into()),
        old: None,
        new: Some(image(values)),
        transaction: None,
        position: None,
        ends_transaction: false,
    };
    String::from_utf8(encode_change(&event, visibility)).expect("JSON is text")
}

/// What becomes of one value.
fn encode_one(kind: FieldKind, value: Option<&str>) -> String {
    const FRONT: &str = r#"{"record":{"a":"#;
    const BACK: &str =
        r#","collectionId":"pbc_1","collectionName":"posts","id":"r1"},"action":"create"}"#;
    let line = encode(vec![field("a", kind)], &[value], Visibility::Plain);
    let value = line
        .strip_prefix(FRONT)
        .and_then(|rest| rest.strip_suffix(BACK));
    value.expect("the envelope is fixed").to_owned()
}

#[test]
fn a_change_is_one_line_with_sorted_keys() {
    let fields = vec![
        field("id", Number),
        field("title", Text),
        field("_x", Text),
        field("Zed", Bool),
        field("we\"ird <k>", Text),
        hidden("secret", Text),
        field("expand", Json),
        field("collectionName", Text),
        field("gone", Date),
    ];
    let values = [
        Some("7"),
        Some("\"t\""),
        Some("null"),
        Some("true"),
        Some("\"w\""),
        Some("\"s\""),
        Some("{}"),
        Some("\"mine\""),
        None,
    ];
    let plain = r#"{"record":{"Zed":true,"_x":"","collectionId":"pbc_1","collectionName":"posts","gone":"","id":"r1","title":"t","we\"ird \u003ck\u003e":"w"},"action":"create"}"#;
    let full = r#"{"record":{"Zed":true,"_x":"","collectionId":"pbc_1","collectionName":"posts","gone":"","id":"r1","secret":"s","title":"t","we\"ird \u003ck\u003e":"w"},"action":"create"}"#;
    assert_eq!(encode(fields.clone(), &values, Visibility::Plain), plain);
    assert_eq!(encode(fields, &values, Visibility::Full), full);
}

#[test]
fn a_delete_shows_the_last_row_and_an_update_the_new_one() {
    let old = image(&[Some("\"old\"")]);
    let new = image(&[Some("\"new\"")]);
    for (action, old, new, seen) in [
        (Action::Create, None, Some(new.clone()), "new"),
        (Action::Update, Some(old.clone()), Some(new), "new"),
        (Action::Delete, Some(old), None, "old"),
    ] {
        let event = ChangeEvent {
            collection: collection(vec![field("a", Text)]),
            action,
            id: RecordId("line\nbreak \"".into()),
            old,
            new,
            transaction: None,
            position: None,
            ends_transaction: false,
        };
        let line = encode_change(&event, Visibility::Plain);
        let expected = format!(
            r#"{{"record":{{"a":"{seen}","collectionId":"pbc_1","collectionName":"posts","id":"line\nbreak \""}},"action":"{}"}}"#,
            action.as_str()
        );
        assert_eq!(String::from_utf8_lossy(&line), expected, "{action:?}");
    }
}

#[test]
fn a_gap_names_its_collection_only() {
    let gap = encode_gap(&collection(vec![field("a", Text)]));
    assert_eq!(
        String::from_utf8_lossy(&gap),
        r#"{"record":{"collectionId":"pbc_1","collectionName":"posts","id":""},"action":"resync"}"#
    );
}

/// Values as `row_to_json` of Postgres 15 wrote them, in the time zone Europe/Berlin.
#[test]
fn every_built_in_type_has_its_format() {
    for (name, kind, postgres, expected) in [
        ("bool", Bool, "true", "true"),
        ("int2", Number, "-7", "-7"),
        ("int4", Number, "42", "42"),
        ("int8", Number, "9007199254740993", "9007199254740993"),
        ("float4", Number, "1.234567e+06", "1234567"),
        ("float8", Number, "0.1", "0.1"),
        ("float8 big", Number, "1e+21", "1e+21"),
        ("float8 small", Number, "1e-07", "1e-7"),
        ("numeric", Number, "1.50", "1.5"),
        ("numeric(10,2)", Number, "5.00", "5"),
        ("numeric NaN", Number, r#""NaN""#, r#""NaN""#),
        ("float8 -inf", Number, r#""-Infinity""#, r#""-Infinity""#),
        ("oid", Number, r#""16384""#, "16384"),
        ("money", Text, r#""$12.34""#, r#""$12.34""#),
        (
            "text",
            Text,
            "\"a \\\"q\\\" \\\\ / < > & \u{2028} \\t\\n\\u0001 é😀\"",
            r#""a \"q\" \\ / \u003c \u003e \u0026 \u2028 \t\n\u0001 é😀""#,
        ),
        ("char(3)", Text, r#""ab ""#, r#""ab ""#),
        ("name", Text, r#""nm""#, r#""nm""#),
        (
            "uuid",
            Text,
            r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#,
            r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#,
        ),
        ("enum", Text, r#""ok""#, r#""ok""#),
        ("inet", Text, r#""10.0.0.1/8""#, r#""10.0.0.1/8""#),
        (
            "macaddr",
            Text,
            r#""08:00:2b:01:02:03""#,
            r#""08:00:2b:01:02:03""#,
        ),
        ("bit(4)", Text, r#""1010""#, r#""1010""#),
        (
            "xml",
            Text,
            r#""<a>b</a>""#,
            r#""\u003ca\u003eb\u003c/a\u003e""#,
        ),
        (
            "tsvector",
            Text,
            r#""'a' 'cat' 'fat'""#,
            r#""'a' 'cat' 'fat'""#,
        ),
        ("int4range", Text, r#""[1,5)""#, r#""[1,5)""#),
        (
            "tstzrange",
            Text,
            r#""[\"2024-05-05 10:00:00+02\",)""#,
            r#""[\"2024-05-05 10:00:00+02\",)""#,
        ),
        (
            "int4multirange",
            Text,
            r#""{[1,3),[5,7)}""#,
            r#""{[1,3),[5,7)}""#,
        ),
        ("point", Text, r#""(1,2)""#, r#""(1,2)""#),
        ("circle", Text, r#""<(0,0),1>""#, r#""\u003c(0,0),1\u003e""#),
        (
            "interval",
            Text,
            r#""1 day 02:03:04.5""#,
            r#""1 day 02:03:04.5""#,
        ),
        ("time", Text, r#""10:11:12.5""#, r#""10:11:12.5""#),
        ("timetz", Text, r#""10:11:12+02""#, r#""10:11:12+02""#),
        ("bytea", Text, r#""\\x00ff""#, r#""\\x00ff""#),
        (
            "date",
            Date,
            r#""2024-05-05""#,
            r#""2024-05-05 00:00:00.000Z""#,
        ),
        ("date BC", Date, r#""0044-03-15 BC""#, r#""0044-03-15 BC""#),
        ("date infinity", Date, r#""infinity""#, r#""infinity""#),
        (
            "timestamp",
            Date,
            r#""2024-05-05T10:00:00.123456""#,
            r#""2024-05-05 10:00:00.123Z""#,
        ),
        (
            "timestamp BC",
            Date,
            r#""0044-03-15T10:00:00 BC""#,
            r#""0044-03-15T10:00:00 BC""#,
        ),
        (
            "timestamp beyond 9999",
            Date,
            r#""12345-01-02T03:04:05""#,
            r#""12345-01-02T03:04:05""#,
        ),
        (
            "timestamptz",
            Date,
            r#""2024-05-05T10:00:00.123987+02:00""#,
            r#""2024-05-05 08:00:00.123Z""#,
        ),
        (
            "timestamptz of old",
            Date,
            r#""1880-01-01T00:53:28+00:53:28""#,
            r#""1880-01-01 00:00:00.000Z""#,
        ),
        (
            "json",
            Json,
            "{ \"b\" : [1, 2.50],\n\t\"a\" : \"x y\" , \"e\":1E400 }",
            r#"{"b":[1,2.50],"a":"x y","e":1E400}"#,
        ),
        (
            "jsonb",
            Json,
            r#"{"a": "x", "b": [1, 2.50]}"#,
            r#"{"a":"x","b":[1,2.50]}"#,
        ),
        (
            "composite",
            Json,
            r#"{"x":1,"y":"z"}"#,
            r#"{"x":1,"y":"z"}"#,
        ),
        (
            "hstore",
            Json,
            r#"{"a": "1", "b": null}"#,
            r#"{"a":"1","b":null}"#,
        ),
        ("int[]", array(Number), "[1,null,3]", "[1,null,3]"),
        ("int[][]", array(Number), "[[1,2],[3,4]]", "[[1,2],[3,4]]"),
        (
            "text[]",
            array(Text),
            r#"["a","b c",null]"#,
            r#"["a","b c",null]"#,
        ),
        (
            "timestamptz[]",
            array(Date),
            r#"["2024-05-05T10:00:00+02:00"]"#,
            r#"["2024-05-05 08:00:00.000Z"]"#,
        ),
        ("jsonb[]", array(Json), r#"[{"a": 1}]"#, r#"[{"a":1}]"#),
        (
            "composite[]",
            array(Json),
            r#"[{"x":1,"y":"z"}]"#,
            r#"[{"x":1,"y":"z"}]"#,
        ),
        ("empty array", array(Text), "[]", "[]"),
        ("oidvector", array(Number), r#"["3","4"]"#, "[3,4]"),
        ("bool[]", array(Bool), "[true,false]", "[true,false]"),
        (
            "array of a domain over text[]",
            array(array(Text)),
            r#"[["a"],null]"#,
            r#"[["a"],null]"#,
        ),
        // Written while the column had another type.
        ("text that was int", Text, "5.0", r#""5.0""#),
        ("date that was int", Date, "5", r#""5""#),
        ("array that was text", array(Text), r#""a""#, r#""a""#),
    ] {
        assert_eq!(encode_one(kind, Some(postgres)), expected, "{name}");
    }
}

#[test]
fn null_and_missing_are_the_kinds_empty_value() {
    for (kind, expected) in [
        (Text, r#""""#),
        (Number, "0"),
        (Bool, "false"),
        (Date, r#""""#),
        (Json, "null"),
        (array(Number), "[]"),
    ] {
        for value in [Some("null"), Some(" null "), None] {
            assert_eq!(
                encode_one(kind.clone(), value),
                expected,
                "{kind:?} {value:?}"
            );
        }
    }
}
