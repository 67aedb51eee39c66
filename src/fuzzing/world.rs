//! A collection with a field of every kind, and somebody who asks.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::catalog::{
    AuthSettings, Catalog, Collection, CollectionKey, Field, FieldKind, Relation, Rule,
};
use crate::event::{RecordId, parse_image};
use crate::related::{Found, RelatedRow, Want};
use crate::rules::{AuthValues, RelatedGates, Row, Undecidable};

/// What guests and other people do not see.
pub(super) const HIDDEN: &str = "secret";

const POSTS: CollectionKey = CollectionKey(1);
const USERS: CollectionKey = CollectionKey(2);

/// The record that everything is about.
pub(super) fn record_id() -> RecordId {
    RecordId("r1".into())
}

/// The collection `posts`: fields of every kind, one of them [`HIDDEN`], relations, and an email.
pub(super) fn posts() -> Collection {
    use FieldKind::{Bool, Date, Json, Number, Text};
    let list = |kind| FieldKind::Array(Box::new(kind));
    let to_users = |name, kind| Field {
        relation: Some(Relation {
            collection: USERS,
            field: "id".into(),
        }),
        ..Field::new(name, kind)
    };
    let fields = vec![
        Field::new("id", Number),
        Field::new("t", Text),
        Field::new("u", Text),
        Field::new("n", Number),
        Field::new("m", Number),
        Field::new("b", Bool),
        Field::new("d", Date),
        Field::new("j", Json),
        Field::new("g", Json),
        Field::new("s", list(Text)),
        Field::new("s2", list(Text)),
        Field::new("ns", list(Number)),
        Field::new("bs", list(Bool)),
        Field::new("ds", list(Date)),
        Field::new("js", list(Json)),
        Field::new("ss", list(list(Text))),
        to_users("owner", Text),
        to_users("readers", list(Text)),
        Field::new("email", Text),
        Field::new("emailVisibility", Bool),
        hidden(HIDDEN),
    ];
    Collection {
        auth: Some(auth(&fields)),
        ..Collection::new(POSTS, "posts", fields)
    }
}

/// The collection `users`, each of whom has a post.
fn users() -> Collection {
    let fields = vec![
        Field::new("id", FieldKind::Text),
        Field::new("name", FieldKind::Text),
        Field::new("level", FieldKind::Number),
        Field {
            relation: Some(Relation {
                collection: POSTS,
                field: "id".into(),
            }),
            unique: true,
            ..Field::new("post", FieldKind::Number)
        },
        hidden(HIDDEN),
    ];
    Collection::new(USERS, "users", fields)
}

fn hidden(name: &str) -> Field {
    Field {
        hidden: true,
        ..Field::new(name, FieldKind::Text)
    }
}

/// All collections there are.
pub(super) fn catalog() -> Catalog {
    Catalog::new([posts(), users()])
}

/// Lets a filter see every row, so that it says most.
#[derive(Debug)]
pub(super) struct Open;

impl RelatedGates for Open {
    fn may_ever_list(&self, _: &Collection) -> bool {
        true
    }

    fn may_list(&self, _: Row<'_>) -> Result<bool, Undecidable> {
        Ok(true)
    }
}

/// What a database might answer: one row that is as wanted, as far as the want says, with this in its
/// hidden field.
pub(super) fn answer(want: &Want, secret: &str) -> Found {
    let collection = &want.collection;
    let values = collection.fields.iter().enumerate().map(|(index, field)| {
        let wanted = want.equals.iter().find(|(field, _)| *field == index);
        let value = match (wanted, &field.kind) {
            (Some((_, text)), _) => Value::from(&**text),
            (None, FieldKind::Text) if *field.name == *HIDDEN => Value::from(secret),
            (None, FieldKind::Text) => Value::from("x"),
            (None, FieldKind::Number) => Value::from(1),
            (None, _) => Value::Null,
        };
        ((*field.name).to_owned(), value)
    });
    let json = Value::Object(values.collect()).to_string();
    let image = parse_image(json.into(), collection)
        .expect("an object")
        .image;
    let id = record_id();
    Found::Rows(vec![RelatedRow { id, image }])
}

fn auth(fields: &[Field]) -> AuthSettings {
    AuthSettings {
        identity: vec!["email".into()],
        password: None,
        token_key: None,
        auth_rule: Rule::Locked,
        manage_rule: Rule::Locked,
        secret_version: None,
        email: AuthSettings::email_field(fields),
        email_visibility: AuthSettings::email_visibility_field(fields),
    }
}

/// Somebody with these claims, which are JSON; a guest if they are not.
pub(super) fn somebody(claims: &str) -> Option<AuthValues> {
    let fields: Map<String, Value> = serde_json::from_str(claims).ok()?;
    let users = Arc::new(users());
    let image = parse_image(claims.into(), &users).ok()?.image;
    Some(AuthValues {
        id: "u1".to_owned(),
        collection_id: "pbc_2".to_owned(),
        collection_name: "users".to_owned(),
        email: "a@b.c".to_owned(),
        email_visibility: false,
        verified: true,
        fields,
        collection: Some(users),
        image: Some(image),
    })
}

/// Moments at which clocks differ in every part.
pub(super) fn moments() -> [Timestamp; 2] {
    let moment = |seconds| Timestamp::from_second(seconds).expect("a moment of these days");
    [moment(1_714_912_245), moment(1_801_872_000)]
}
