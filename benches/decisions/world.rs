//! A collection, its row, those who ask, and the rules of everyday life.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rowcast::catalog::{Catalog, Collection, CollectionKey, Field, FieldKind};
use rowcast::event::{RecordId, RowImage, parse_image};
use rowcast::related::Shelf;
use rowcast::rules::{AuthValues, Predicate, RequestContext, Row, RuleUse, Scope};
use serde_json::json;

/// A row as the change log holds it.
pub const ROW: &str = r#"{"id":42,"owner":"u0","team":"t1","status":"draft","n":1000,
"title":"What a decision costs","body":"Some words that no rule looks at, as most columns are",
"created":"2026-05-05T10:00:00.123456+00:00","tags":["a","b"]}"#;

/// Where the fields stand that rules look at.
pub const OWNER: usize = 1;
pub const TEAM: usize = 2;
pub const STATUS: usize = 3;
pub const N: usize = 4;

/// What a plain closure is told.
type Plain = fn(&RowImage, &AuthValues) -> bool;

/// A rule, and the same without a language.
pub struct Case {
    pub title: &'static str,
    pub rule: String,
    pub plain: Plain,
}

/// The comparisons of the longest rule; as many as a rule may have.
const COMPARISONS: i64 = 200;

/// The rules of everyday life; none holds before its last comparison was made.
pub fn cases() -> [Case; 5] {
    let many: Vec<String> = (0..COMPARISONS).map(|n| format!("n != {n}")).collect();
    let case = |title, rule: &str, plain| Case {
        title,
        rule: rule.to_owned(),
        plain,
    };
    [
        case("own rows", "owner = @request.auth.id", |row, auth| {
            text(row, OWNER) == auth.id
        }),
        case("team rows", "team = @request.auth.team", |row, auth| {
            auth.fields["team"].as_str() == Some(text(row, TEAM))
        }),
        case(
            "public or mine",
            "status = 'public' || owner = @request.auth.id",
            |row, auth| text(row, STATUS) == "public" || text(row, OWNER) == auth.id,
        ),
        case(
            "moderators, or mine",
            "@request.auth.role = 'moderator' || owner = @request.auth.id",
            |row, auth| {
                auth.fields["role"].as_str() == Some("moderator") || text(row, OWNER) == auth.id
            },
        ),
        case("200 comparisons", &many.join(" && "), |row, _| {
            (0..COMPARISONS).all(|n| row.value(N).and_then(|text| text.parse().ok()) != Some(n))
        }),
    ]
}

/// A text without escapes.
fn text(row: &RowImage, field: usize) -> &str {
    row.value(field).map_or("", |json| json.trim_matches('"'))
}

/// Everything that is decided about.
pub struct World {
    pub collection: Collection,
    pub catalog: Catalog,
    pub row: RowImage,
    pub id: RecordId,
    /// Of whom the first owns the row.
    pub people: Vec<AuthValues>,
    nothing: BTreeMap<String, String>,
    shelf: Shelf,
}

impl World {
    pub fn new() -> Self {
        let collection = collection();
        Self {
            row: parse_image(ROW.into(), &collection).expect("a row").image,
            id: RecordId("42".into()),
            catalog: Catalog::default(),
            people: (0..1_000).map(person).collect(),
            nothing: BTreeMap::new(),
            shelf: Shelf::default(),
            collection,
        }
    }

    pub fn compile(&self, rule: &str) -> Predicate {
        let scope = Scope {
            collection: &self.collection,
            catalog: &self.catalog,
            auth: None,
        };
        Predicate::compile(rule, scope, RuleUse::Rule).expect("a rule")
    }

    /// Whether this person passes.
    pub fn decide(&self, predicate: &Predicate, person: &AuthValues) -> bool {
        let nothing = &self.nothing;
        let request = RequestContext::realtime(
            Some(person),
            nothing,
            nothing,
            Timestamp::UNIX_EPOCH,
            &self.shelf,
        );
        let row = Row::now(&self.collection, &self.id, &self.row);
        predicate.decide(row, &request) == Ok(true)
    }
}

fn collection() -> Collection {
    let fields = [
        ("id", FieldKind::Number),
        ("owner", FieldKind::Text),
        ("team", FieldKind::Text),
        ("status", FieldKind::Text),
        ("n", FieldKind::Number),
        ("title", FieldKind::Text),
        ("body", FieldKind::Text),
        ("created", FieldKind::Date),
        ("tags", FieldKind::Array(Box::new(FieldKind::Text))),
    ];
    let fields = fields.map(|(name, kind)| Field::new(name, kind)).into();
    Collection::new(CollectionKey(1), "posts", fields)
}

fn person(number: usize) -> AuthValues {
    let fields = json!({"role": "writer", "team": "t1", "name": "Ada", "level": 5});
    AuthValues {
        id: format!("u{number}"),
        collection_id: "rwc_2".to_owned(),
        collection_name: "users".to_owned(),
        email: "ada@example.com".to_owned(),
        fields: fields.as_object().expect("an object").clone(),
        ..AuthValues::default()
    }
}
