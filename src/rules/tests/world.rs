//! A collection, a few rows and a few principals to ask about.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::catalog::{Catalog, Collection, CollectionKey, Field, FieldKind};
use crate::event::{RecordId, RowImage};
use crate::related::Shelf;
use crate::rules::{
    AuthValues, Predicate, RequestContext, Row, RuleError, RuleUse, Scope, Undecidable,
};

pub(super) fn list(element: FieldKind) -> FieldKind {
    FieldKind::Array(Box::new(element))
}

pub(super) fn collection_of(fields: &[(&str, FieldKind)]) -> Collection {
    let field = |(name, kind): &(&str, FieldKind)| Field {
        hidden: name.starts_with("secret"),
        ..Field::new(name, kind.clone())
    };
    let fields = fields.iter().map(field).collect();
    Collection::new(CollectionKey(1), "posts", fields)
}

pub(super) fn collection() -> Collection {
    use FieldKind::{Bool, Date, Json, Number, Text};
    collection_of(&[
        ("id", Number),
        ("t", Text),
        ("u", Text),
        ("n", Number),
        ("m", Number),
        ("b", Bool),
        ("d", Date),
        ("j", Json),
        ("g", Json),
        ("s", list(Text)),
        ("s2", list(Text)),
        ("ns", list(Number)),
        ("ds", list(Date)),
        ("owner", Text),
        ("owner_no", Number),
        ("secret", Text),
    ])
}

/// An image with these values; the others are NULL.
pub(super) fn image(collection: &Collection, values: &Value) -> RowImage {
    let mut json = "{".to_owned();
    let mut places = Vec::new();
    for field in &collection.fields {
        let value = values.get(&*field.name).unwrap_or(&Value::Null);
        json += &format!("\"{}\":", field.name);
        let start = json.len();
        // A string with this mark is JSON as it stands.
        match value.as_str().and_then(|text| text.strip_prefix("raw:")) {
            Some(raw) => json += raw,
            None => json += &value.to_string(),
        }
        let place = |at: usize| u32::try_from(at).expect("a short image");
        places.push(Some(place(start)..place(json.len())));
        json.push(',');
    }
    json.pop();
    json.push('}');
    RowImage::new(json.into(), places.into())
}

/// Rows A to D, and E, which is empty.
pub(super) fn rows() -> Vec<(char, Value)> {
    vec![
        (
            'A',
            json!({
                "id": 1, "t": "Abc", "u": "abc", "n": 5, "m": 5, "b": true,
                "d": "2024-05-05T10:00:00+00:00", "owner": "u1", "owner_no": 7,
                "j": {"x": 1, "y": "Yes", "ylower": "key", "z": null, "f": 1.5, "yes": true,
                      "arr": [10, {"k": "v"}], "list": [], "num": "1"},
                "g": {"lon": 23.3, "lat": 42.7},
                "s": ["a", "b"], "s2": ["b"], "ns": [1, 2], "ds": ["2024-05-05"], "secret": "x",
            }),
        ),
        (
            'B',
            json!({
                "id": 2, "t": "zzz", "u": "5", "n": 10, "m": -1, "d": "2023-01-01", "owner": "u2",
                "j": 5, "g": {"lon": 23.3, "lat": 42.7001}, "s": ["b"], "s2": ["b"], "ns": [2],
            }),
        ),
        (
            'C',
            json!({
                "id": 3, "t": "100%_x\\", "u": "10", "n": -1, "m": 100, "b": false,
                "d": "2025-12-31T23:59:59.999999+00:00", "owner": "u1", "j": "text",
                "s": ["a", "b", "c"], "ns": [1, 2, 3],
            }),
        ),
        (
            'D',
            json!({
                "id": 4, "t": "5", "u": "9", "n": "raw:1.50", "m": 1, "b": true, "j": [],
                "s": ["abc"], "owner_no": 42,
            }),
        ),
        ('E', json!({"id": 5})),
    ]
}

/// Who asks, and with which options.
pub(super) struct Asking {
    pub(super) auth: Option<AuthValues>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) shelf: Shelf,
}

impl Asking {
    pub(super) fn guest() -> Self {
        let pairs = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        Self {
            auth: None,
            query: pairs(&[("n", "7"), ("x", "1"), ("e", ""), ("a", "ABC"), ("id", "5")]),
            headers: pairs(&[("x_token", "secret")]),
            shelf: Shelf::default(),
        }
    }

    pub(super) fn user() -> Self {
        let fields = json!({
            "role": "editor", "level": 5, "ratio": 2.0, "staff": true, "nothing": null, "blank": "",
            "roles": ["editor", "writer"], "none": [], "id": "forged", "team": "t1",
            "realm": {"roles": ["a", "b"], "name": "R", "no": 3},
        });
        Self {
            auth: Some(AuthValues {
                id: "u1".to_owned(),
                collection_id: "pbc_2".to_owned(),
                collection_name: "users".to_owned(),
                email: "a@b.c".to_owned(),
                email_visibility: false,
                verified: true,
                fields: fields.as_object().expect("an object").clone(),
                collection: None,
                image: None,
            }),
            ..Self::guest()
        }
    }

    pub(super) fn context(&self) -> RequestContext<'_> {
        let now: Timestamp = "2024-05-05T12:30:45.678Z".parse().expect("a moment");
        let (auth, shelf) = (self.auth.as_ref(), &self.shelf);
        RequestContext::realtime(auth, &self.query, &self.headers, now, shelf)
    }
}

/// Compiles for a collection that is all there is.
pub(super) fn compile_for(
    collection: &Collection,
    text: &str,
    usage: RuleUse,
) -> Result<Predicate, RuleError> {
    let scope = Scope {
        collection,
        catalog: &Catalog::default(),
        auth: None,
    };
    Predicate::compile(text, scope, usage)
}

pub(super) fn compile(rule: &str) -> Result<Predicate, RuleError> {
    compile_for(&collection(), rule, RuleUse::Rule)
}

pub(super) fn decide_row(rule: &str, values: &Value, asking: &Asking) -> Result<bool, Undecidable> {
    let collection = collection();
    let predicate = compile(rule).unwrap_or_else(|error| panic!("{rule}\n{error}"));
    let image = image(&collection, values);
    let id = RecordId(values["id"].to_string().into());
    let row = Row::now(&collection, &id, &image);
    predicate.decide(row, &asking.context())
}

/// The letters of the rows that pass.
pub(super) fn passing(rule: &str, asking: &Asking) -> String {
    let passes = |values: &Value| {
        decide_row(rule, values, asking).unwrap_or_else(|error| panic!("{rule}: {error}"))
    };
    rows()
        .iter()
        .filter(|(_, values)| passes(values))
        .map(|(letter, _)| *letter)
        .collect()
}

pub(super) fn check(asking: &Asking, table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(rule, expected)| {
            let passed = passing(rule, asking);
            (passed != *expected).then(|| format!("{rule}: {passed:?}, not {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
