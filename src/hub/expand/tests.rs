//! What subscribers receive who ask for related records (contract, section 4.7).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::auth::{AuthRecord, AuthValues, Principal};
use crate::catalog::{
    AuthSettings, Catalog, Collection, CollectionKey, Field, FieldKind, Relation, Rule,
};
use crate::event::{Action, ChangeEvent, FeedItem, RecordId, RowImage, Transaction, parse_image};
use crate::frame::Frame;
use crate::hub::HubOptions;
use crate::hub::access::Access;
use crate::hub::mailbox::unread;
use crate::hub::publish::{Delivery, Pass};
use crate::hub::registry::Registry;
use crate::hub::tally::Tally;
use crate::policy::{Policy, PolicyRows};
use crate::related::{Found, RelatedRow, Shelf, Want};
use crate::telemetry::Metrics;
use crate::topic::Subscription;

const RULES: &[(&str, &str, &str)] = &[
    ("posts", "list", ""),
    ("posts", "view", ""),
    (
        "users",
        "view",
        "id != 'ghost' && @request.context = 'expand'",
    ),
    ("tags", "view", ""),
    ("post_tags", "view", ""),
    (
        "comments",
        "view",
        "note != 'spam' || @request.auth.id = author",
    ),
    ("profiles", "view", "@request.query.key = 'k'"),
    ("broken", "view", "nope = 1"),
];

fn to(name: &str, collection: i32) -> Field {
    Field {
        relation: Some(Relation {
            collection: CollectionKey(collection),
            field: "id".into(),
        }),
        ..text(name)
    }
}

fn text(name: &str) -> Field {
    Field::new(name, FieldKind::Text)
}

fn hidden(field: Field) -> Field {
    Field {
        hidden: true,
        ..field
    }
}

fn catalog() -> Arc<Catalog> {
    let policy = Arc::new(Policy::new(PolicyRows::for_everybody(RULES)));
    let new = |key, name, fields| Collection {
        policy: Arc::clone(&policy),
        ..Collection::new(CollectionKey(key), name, fields)
    };
    let list = FieldKind::Array(Box::new(FieldKind::Text));
    let mut posts = new(
        1,
        "posts",
        vec![
            text("id"),
            to("author", 2),
            Field {
                kind: list,
                ..to("tags", 3)
            },
            to("vault", 6),
            hidden(to("reviewer", 2)),
            to("broken", 9),
            text("zip"),
        ],
    );
    posts
        .aliases
        .insert("labels".into(), "post_tags_via_post.tag".into());
    let mut users = new(
        2,
        "users",
        vec![
            text("id"),
            text("email"),
            Field::new("emailVisibility", FieldKind::Bool),
            hidden(text("secret")),
        ],
    );
    users.auth = Some(AuthSettings {
        identity: vec!["email".into()],
        password: None,
        token_key: None,
        auth_rule: Rule::Public,
        manage_rule: Rule::Locked,
        secret_version: None,
        email: Some(1),
        email_visibility: Some(2),
    });
    Arc::new(Catalog::new([
        posts,
        users,
        new(3, "tags", vec![text("id"), to("parent", 3)]),
        new(
            4,
            "post_tags",
            vec![text("id"), to("post", 1), to("tag", 3)],
        ),
        new(
            5,
            "comments",
            vec![text("id"), to("post", 1), to("author", 2), text("note")],
        ),
        new(6, "vault", vec![text("id"), to("owner", 2), to("post", 1)]),
        new(
            7,
            "profiles",
            vec![
                text("id"),
                Field {
                    unique: true,
                    ..to("user", 2)
                },
            ],
        ),
        new(
            8,
            "reviews",
            vec![text("id"), hidden(to("post", 1)), text("note")],
        ),
        new(9, "broken", vec![text("id")]),
    ]))
}

fn rows(collection: &str) -> Vec<Value> {
    match collection {
        "users" => vec![
            json!({"id": "ann", "email": "a@x", "emailVisibility": true, "secret": "s1"}),
            json!({"id": "bob", "email": "b@x", "emailVisibility": false, "secret": "s2"}),
            json!({"id": "ghost", "email": "g@x", "emailVisibility": true, "secret": "s3"}),
        ],
        "tags" => vec![
            json!({"id": "x", "parent": "y"}),
            json!({"id": "y", "parent": "x"}),
            json!({"id": "z", "parent": "x"}),
        ],
        "post_tags" => vec![
            json!({"id": "1", "post": "p", "tag": "z"}),
            json!({"id": "2", "post": "p", "tag": "x"}),
            json!({"id": "3", "post": "p", "tag": "z"}),
        ],
        "comments" => vec![
            json!({"id": "c1", "post": "p", "author": "ann", "note": "spam"}),
            json!({"id": "c2", "post": "p", "author": "bob", "note": "ok"}),
        ],
        "vault" => vec![json!({"id": "v", "owner": "ann", "post": "p"})],
        "profiles" => vec![json!({"id": "f", "user": "ann"})],
        "reviews" => vec![json!({"id": "r", "post": "p", "note": "n"})],
        "broken" => vec![json!({"id": "b"})],
        "posts" => vec![post()],
        _ => Vec::new(),
    }
}

fn post() -> Value {
    json!({
        "id": "p", "author": "bob", "tags": ["z", "nope", "x"], "vault": "v", "reviewer": "ann",
        "broken": "b", "zip": "0"
    })
}

fn image(collection: &Collection, row: &Value) -> RowImage {
    let image = parse_image(row.to_string().into(), collection);
    image.expect("an image").image
}

fn user(id: &str) -> Principal {
    Principal::Record(Arc::new(AuthRecord {
        collection_id: "rwc_2".into(),
        collection_name: "users".into(),
        id: id.into(),
        values: AuthValues::Claims(Arc::default()),
        roles: Arc::default(),
        secret_version: None,
        seen: Default::default(),
    }))
}

fn root() -> Principal {
    Principal::Superuser { id: "root".into() }
}

/// Subscribers, a change of the post, and what was asked of a database to tell of it.
struct World {
    catalog: Arc<Catalog>,
    registry: Registry,
    access: Access,
    tally: Tally,
    action: Action,
    /// What becomes of the rows of a collection, where not the usual.
    answers: HashMap<&'static str, Found>,
    asked: Vec<Want>,
    rounds: usize,
}

impl World {
    fn new() -> Self {
        let catalog = catalog();
        let mut access = Access::default();
        access.set_catalog(&catalog);
        Self {
            catalog,
            registry: Registry::default(),
            access,
            tally: Tally::default(),
            action: Action::Update,
            answers: HashMap::new(),
            asked: Vec::new(),
            rounds: 0,
        }
    }

    fn join(&mut self, name: &str, principal: Principal, query: Value) {
        let (id, slot) = unread(name);
        let address = IpAddr::from([127, 0, 0, 1]);
        self.registry.insert(id, address, slot, Arc::default());
        let key = self.registry.find(name).expect("it has joined");
        let options = json!({ "query": query }).to_string();
        let options: String = form_urlencoded::byte_serialize(options.as_bytes()).collect();
        let subscription = Subscription::parse(&format!("posts/*?options={options}"));
        self.registry.replace(key, principal, vec![subscription]);
    }

    fn answer(&self, want: &Want) -> Found {
        let Want {
            collection, equals, ..
        } = want;
        if let Some(answer) = self.answers.get(&*collection.name) {
            return answer.clone();
        }
        let fits = |row: &Value| {
            equals
                .iter()
                .all(|(field, text)| row[&*collection.fields[*field].name] == **text)
        };
        let rows = rows(&collection.name).into_iter().filter(fits);
        let related = rows.map(|row| RelatedRow {
            id: RecordId(row["id"].as_str().unwrap_or_default().into()),
            image: image(collection, &row),
        });
        Found::Rows(related.collect())
    }

    /// The data of the frames, in the order in which the subscribers joined.
    fn publish(&mut self) -> Vec<String> {
        let frames = self.frames().into_iter();
        let data = |frame: Frame| {
            let text = String::from_utf8_lossy(&frame.into_bytes()).into_owned();
            let data = text.lines().find_map(|line| line.strip_prefix("data:"));
            data.expect("data").to_owned()
        };
        frames.map(data).collect()
    }

    fn frames(&mut self) -> Vec<Frame> {
        let posts = self.catalog.find("posts").expect("posts");
        let image = Some(image(posts, &post()));
        let deleted = self.action == Action::Delete;
        let event = ChangeEvent {
            collection: Arc::clone(posts),
            action: self.action,
            id: RecordId("p".into()),
            old: image.clone().filter(|_| deleted),
            new: image.filter(|_| !deleted),
            transaction: Some(Transaction { end: 1, xid: 7 }),
            position: None,
            ends_transaction: true,
        };
        let item = FeedItem::Change(Arc::new(event));
        let mut shelf = Shelf::default();
        loop {
            self.tally.clear();
            let mut frames = Vec::new();
            let delivery = Delivery {
                registry: &self.registry,
                access: &self.access,
                options: &HubOptions::default(),
                tally: &self.tally,
                now: Timestamp::UNIX_EPOCH,
                shelf: &shelf,
                pass: Pass::Deliver,
                cohort: None,
                filters: &Default::default(),
                enriching: None,
                templates: &Default::default(),
            };
            delivery.publish(&item, |key, frame| frames.push((key, frame)));
            let wants = shelf.take_wanted();
            if wants.is_empty() {
                frames.sort_by_key(|(key, _)| *key);
                return frames.into_iter().map(|(_, frame)| frame).collect();
            }
            self.rounds += 1;
            assert!(self.rounds < 12, "nothing is ever enough: {wants:?}");
            for want in wants {
                let found = self.answer(&want);
                self.asked.push(want.clone());
                shelf.put(want, found);
            }
        }
    }

    /// The `expand` of the only frame, each record as its id and its own `expand`; nothing if there is none.
    fn expand(&mut self) -> Option<Value> {
        let data: Value = serde_json::from_str(&self.publish()[0]).expect("JSON");
        data["record"].get("expand").map(outline)
    }

    fn missing(&self) -> String {
        let metrics = Metrics::new();
        self.tally.commit(&metrics);
        let text = metrics.encode();
        let lines = text.lines();
        let counts = lines.filter_map(|line| line.strip_prefix("rowcast_expand_missing_total"));
        counts.collect()
    }
}

fn outline(expand: &Value) -> Value {
    let record = |record: &Value| match record.get("expand") {
        Some(inside) => json!([record["id"], outline(inside)]),
        None => record["id"].clone(),
    };
    let members = expand.as_object().expect("an object").iter();
    let members = members.map(|(name, value)| {
        let value = match value {
            Value::Array(records) => {
                json!({ "all": records.iter().map(record).collect::<Vec<_>>() })
            }
            one => record(one),
        };
        (name.clone(), value)
    });
    Value::Object(members.collect())
}

fn expanded(principal: Principal, expand: &str) -> Option<Value> {
    let mut world = World::new();
    world.join("one", principal, json!({ "expand": expand }));
    world.expand()
}

#[test]
fn paths_lead_to_one_record_or_to_all_in_stored_order() {
    for (expand, expected) in [
        ("author", json!({"author": "bob"})),
        ("tags", json!({"tags": {"all": ["z", "x"]}})),
        ("labels", json!({"labels": {"all": ["z", "x"]}})),
        (
            "post_tags_via_post",
            json!({"post_tags_via_post": {"all": ["1", "2", "3"]}}),
        ),
        (
            "comments_via_post",
            json!({"comments_via_post": {"all": ["c2"]}}),
        ),
        (
            " tags . parent , author ",
            json!({"author": "bob", "tags": {"all": [["z", {"parent": "x"}], ["x", {"parent": "y"}]]}}),
        ),
        (
            "comments_via_post.author,comments_via_post",
            json!({"comments_via_post": {"all": [["c2", {"author": "bob"}]]}}),
        ),
        (
            "tags.parent.parent.parent.parent.parent.parent.nope",
            json!({"tags": {"all": [
                ["z", {"parent": ["x", {"parent": ["y", {"parent": ["x", {"parent": ["y", {"parent": "x"}]}]}]}]}],
                ["x", {"parent": ["y", {"parent": ["x", {"parent": ["y", {"parent": ["x", {"parent": "y"}]}]}]}]}]
            ]}}),
        ),
    ] {
        assert_eq!(
            expanded(Principal::Guest, expand),
            Some(expected),
            "{expand}"
        );
    }
}

#[test]
fn a_path_with_a_mistake_is_left_out_and_expand_is_if_all_are() {
    for (expand, expected) in [
        ("nope", None),
        ("id", None),
        ("", None),
        (" ,.", None),
        ("nope,author", Some(json!({"author": "bob"}))),
        ("author,author.nope", None),
        ("vault", None),
        ("vault.owner", None),
        ("vault,author", Some(json!({"author": "bob"}))),
        ("vault_via_post", None),
        ("vault_via_post.owner", None),
        ("author.vault_via_owner", None),
        (
            "author.vault_via_owner,author.comments_via_author",
            Some(json!({
                "author": ["bob", {"comments_via_author": {"all": ["c2"]}}]
            })),
        ),
        ("reviewer", None),
        ("reviews_via_post", None),
        ("broken", None),
        // The rule asks for a header that is not there: a good path that finds nothing.
        (
            "author.profiles_via_user",
            Some(json!({"author": ["bob", {}]})),
        ),
    ] {
        assert_eq!(expanded(Principal::Guest, expand), expected, "{expand}");
    }
}

#[test]
fn superusers_see_everything() {
    for (expand, expected) in [
        ("vault.owner", json!({"vault": ["v", {"owner": "ann"}]})),
        ("reviewer", json!({"reviewer": "ann"})),
        (
            "reviews_via_post",
            json!({"reviews_via_post": {"all": ["r"]}}),
        ),
        (
            "comments_via_post",
            json!({"comments_via_post": {"all": ["c1", "c2"]}}),
        ),
        (
            "reviewer.profiles_via_user",
            json!({"reviewer": ["ann", {"profiles_via_user": "f"}]}),
        ),
    ] {
        assert_eq!(expanded(root(), expand), Some(expected), "{expand}");
    }
}

#[test]
fn each_sees_what_the_view_rules_show_it() {
    let mut world = World::new();
    let query =
        json!({"expand": "comments_via_post.author", "fields": "expand.comments_via_post.expand"});
    for (name, principal) in [
        ("guest", Principal::Guest),
        ("ann", user("ann")),
        ("bob", user("bob")),
        ("root", root()),
    ] {
        world.join(name, principal, query.clone());
    }
    let author = |data: &str| {
        format!(
            r#"{{"expand":{{"author":{{"collectionId":"rwc_2","collectionName":"users",{data}}}}}}}"#
        )
    };
    let ann = author(r#""email":"a@x","emailVisibility":true,"id":"ann""#);
    let bob = author(r#""emailVisibility":false,"id":"bob""#);
    let bob_himself = author(r#""email":"b@x","emailVisibility":false,"id":"bob""#);
    let ann_whole = author(r#""email":"a@x","emailVisibility":true,"id":"ann","secret":"s1""#);
    let bob_whole = author(r#""email":"b@x","emailVisibility":false,"id":"bob","secret":"s2""#);
    let expected = [
        vec![bob.clone()],
        vec![ann, bob],
        vec![bob_himself],
        vec![ann_whole, bob_whole],
    ]
    .map(|comments| {
        let comments = comments.join(",");
        format!(
            r#"{{"record":{{"expand":{{"comments_via_post":[{comments}]}}}},"action":"update"}}"#
        )
    });
    assert_eq!(world.publish(), expected);
}

#[test]
fn rules_of_related_records_read_the_subscriptions_own_options() {
    let mut world = World::new();
    let expand = "comments_via_post.author.profiles_via_user";
    world.join("one", user("ann"), json!({"expand": expand, "key": "k"}));
    let ann = json!(["ann", {"profiles_via_user": "f"}]);
    let expected = json!({"comments_via_post": {"all": [
        ["c1", {"author": ann}], ["c2", {"author": ["bob", {}]}]
    ]}});
    assert_eq!(world.expand(), Some(expected));
    assert_eq!(world.rounds, 3);
}

#[test]
fn expand_stands_in_its_place_and_fields_pick_from_it() {
    let mut world = World::new();
    world.join(
        "one",
        user("ann"),
        json!({"expand": "tags", "fields": "id,expand.tags.id"}),
    );
    world.join("two", user("ann"), json!({"expand": "tags"}));
    let [picked, whole] = &world.publish()[..] else {
        panic!("two subscribers");
    };
    assert_eq!(
        picked,
        r#"{"record":{"expand":{"tags":[{"id":"z"},{"id":"x"}]},"id":"p"},"action":"update"}"#
    );
    let whole: Value = serde_json::from_str(whole).expect("JSON");
    let names: Vec<_> = whole["record"]
        .as_object()
        .expect("a record")
        .keys()
        .collect();
    let sorted = "author broken collectionId collectionName expand id tags vault zip";
    assert_eq!(names, sorted.split(' ').collect::<Vec<_>>());
}

#[test]
fn a_deleted_record_is_expanded_as_it_was() {
    let mut world = World::new();
    world.action = Action::Delete;
    world.join(
        "one",
        Principal::Guest,
        json!({"expand": "author,comments_via_post"}),
    );
    assert!(world.expand().is_some());
    assert!(!world.asked.is_empty());
    assert!(world.asked.iter().all(|want| want.before == Some(7)));
}

#[test]
fn what_cannot_be_had_is_left_out_and_counted() {
    let many = |count: usize| {
        let tags = catalog();
        let tags = tags.find("tags").expect("tags");
        let row = |n: usize| RelatedRow {
            id: RecordId(n.to_string().into()),
            image: image(tags, &json!({"id": n.to_string(), "parent": "y"})),
        };
        Found::Rows((0..count).map(row).collect())
    };
    for (answer, expand, reason) in [
        (Found::TooMany, "tags", "too_many_rows"),
        (Found::Failed, "tags", "not_fetched"),
        (many(2), "author,tags.parent", "too_many_rows"),
    ] {
        let mut world = World::new();
        world.answers.insert("tags", answer);
        world.join("one", Principal::Guest, json!({"expand": expand}));
        let expand = world.expand().expect("a good path");
        assert!(
            expand
                .get("tags")
                .is_none_or(|tags| !tags.to_string().contains("parent")),
            "{expand}"
        );
        assert!(
            world.missing().contains(reason),
            "{reason}: {}",
            world.missing()
        );
    }
}

#[test]
fn more_than_a_record_may_be_expanded_by_is_left_out_whole() {
    let mut world = World::new();
    let catalog = catalog();
    let comments = catalog.find("comments").expect("comments");
    let row = |n: usize| RelatedRow {
        id: RecordId(n.to_string().into()),
        image: image(
            comments,
            &json!({"id": n.to_string(), "post": "p", "note": ""}),
        ),
    };
    let many = Found::Rows((0..200).map(row).collect());
    world.answers.insert("comments", many);
    let expand = "author,comments_via_post.post.comments_via_post";
    world.join("one", user("ann"), json!({"expand": expand}));
    assert_eq!(world.expand(), Some(json!({"author": "bob"})));
    let missing = world.missing();
    assert!(missing.contains("too_large\"} 1"), "{missing}");
}

#[test]
fn those_who_see_the_same_share_the_bytes() {
    let mut world = World::new();
    for (name, principal) in [("a", user("ann")), ("b", user("bob")), ("c", user("bob"))] {
        world.join(name, principal, json!({"expand": "comments_via_post"}));
    }
    let frames = world.frames().into_iter().map(Frame::into_bytes);
    let [ann, bob, again] = &frames.collect::<Vec<_>>()[..] else {
        panic!("three subscribers");
    };
    assert_ne!(ann, bob);
    assert_eq!(bob.as_ptr(), again.as_ptr());
}
