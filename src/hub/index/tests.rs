//! The index against asking every subscriber, one by one, on workloads that chance makes.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::auth::{AuthRecord, AuthValues, Principal};
use crate::catalog::{
    AuthSettings, Catalog, Collection, CollectionKey, Field, FieldKind, Relation, Rule,
};
use crate::event::{Action, ChangeEvent, FeedItem, RecordId, RowImage, Transaction, parse_image};
use crate::frame::Frame;
use crate::hub::HubOptions;
use crate::hub::access::Access;
use crate::hub::encoded::Encoded;
use crate::hub::frames::{Frames, Writer};
use crate::hub::mailbox::unread;
use crate::hub::messages::Filters;
use crate::hub::publish::{Delivery, Pass};
use crate::hub::registry::{Registry, SubscriberKey};
use crate::hub::tally::Tally;
use crate::hub::verdict::{Seen, Verdict};
use crate::policy::{Policy, PolicyRows};
use crate::related::{Found, RelatedRow, Shelf, Want};
use crate::telemetry::Metrics;
use crate::templates::Templates;
use crate::topic::{Guard, Subscription, WILDCARD, visit_topics};

/// What rules are put together from.
const ATOMS: &[&str] = &[
    "owner = @request.auth.id",
    "@request.auth.id ?= members:each",
    "team = @request.auth.team",
    "status = 'public'",
    "@request.auth.role = 'mod'",
    "n = @request.auth.level",
    "@request.auth.id != ''",
    "n > 1",
    "@request.auth.roles:each ?= status",
    "team.lead = @request.auth.id",
    "@request.auth.team.lead = owner",
    "status:lower = @request.auth.role:lower",
    "team = @request.query.team",
    "owner != @request.auth.id",
    "members:length = @request.auth.level",
    "members:each = @request.auth.id",
    "id = @request.auth.id",
    "team.lead ?= @request.auth.id && team.id ?= @request.auth.team",
    "status ~ @request.auth.role",
    "n <= @request.auth.level",
    "nope = 1",
];

const FILTERS: &[&str] = &[
    "",
    "",
    "owner = 'u1'",
    "owner = 'u2' && n > 0",
    "status = 'public' || owner = 'u3'",
    "n > 1",
    "n = 2",
    "status = 'public' || n > 1",
    "members:each ?= 'u1'",
    "team.lead = 'u1'",
    "team.lead = 'u1' && owner = 'u0'",
    "owner = null",
    "nope = 1",
    "@request.auth.id = owner",
    "status:lower = 'draft'",
    "team = 't1'",
];

const TOPICS: &[&str] = &[
    "posts/*", "posts/*", "posts/*", "posts", "posts/p1", "rwc_1/*", "*", "users/*",
];

/// Enough chance for one step.
type Dice = [u8; 12];

/// Looks a face up.
fn of<T: Clone>(pool: &[T], die: u8) -> T {
    pool[usize::from(die) % pool.len()].clone()
}

fn rule(dice: &[u8]) -> String {
    let [way, a, b, c, ..] = dice else {
        return String::new();
    };
    let (a, b, c) = (of(ATOMS, *a), of(ATOMS, *b), of(ATOMS, *c));
    match way % 8 {
        0 => String::new(),
        1 | 2 => a.to_owned(),
        3 => format!("{a} && {b}"),
        4 => format!("{a} || {b}"),
        5 => format!("({a} || {b}) && {c}"),
        6 => format!("{a} && {b} || {c}"),
        _ => format!("{a} && ({b} || {c})"),
    }
}

/// A policy of a few rows, some of them about some only, and some that deny.
fn policy(dice: Dice) -> PolicyRows {
    let mut rows = PolicyRows::default();
    let mut id = 0;
    let mut add = |ptype: &str, values: [&str; 6]| {
        id += 1;
        rows.add(id, ptype, &values.map(str::to_owned));
    };
    let first = rule(&dice[..4]);
    let first = if first.is_empty() && !dice[11].is_multiple_of(3) {
        "owner = @request.auth.id"
    } else {
        &first
    };
    add("p", ["anyone", "posts", "*", first, "allow", ""]);
    if dice[4].is_multiple_of(3) {
        let effect = of(&["allow", "allow", "deny"], dice[9]);
        let who = of(
            &["authenticated", "role:editor", "users/u1", "guest"],
            dice[10],
        );
        add("p", [who, "posts", "*", &rule(&dice[5..9]), effect, ""]);
    }
    if dice[11].is_multiple_of(2) {
        add("g", ["users/u2", "role:editor", "", "", "", ""]);
    }
    add(
        "p",
        [
            "anyone",
            "users",
            "*",
            "id = @request.auth.id || role = 'mod'",
            "allow",
            "",
        ],
    );
    rows
}

fn field(name: &str, kind: FieldKind) -> Field {
    Field::new(name, kind)
}

fn text(name: &str) -> Field {
    field(name, FieldKind::Text)
}

fn team() -> Field {
    Field {
        relation: Some(Relation {
            collection: CollectionKey(3),
            field: "id".into(),
        }),
        ..text("team")
    }
}

fn catalog(policy: PolicyRows) -> Arc<Catalog> {
    let policy = Arc::new(Policy::new(policy));
    let new = |key, name, fields| Collection {
        policy: Arc::clone(&policy),
        ..Collection::new(CollectionKey(key), name, fields)
    };
    let list = || FieldKind::Array(Box::new(FieldKind::Text));
    let number = FieldKind::Number;
    let posts = vec![
        text("id"),
        text("owner"),
        team(),
        text("status"),
        field("n", number.clone()),
        field("members", list()),
    ];
    let users = vec![
        text("id"),
        team(),
        text("role"),
        field("level", number),
        field("roles", list()),
    ];
    let mut users = new(2, "users", users);
    users.auth = Some(AuthSettings {
        identity: Vec::new(),
        password: None,
        token_key: Some("key".into()),
        auth_rule: Rule::Locked,
        manage_rule: Rule::Locked,
        secret_version: None,
        email: None,
        email_visibility: None,
    });
    let mut teams = new(3, "teams", vec![text("id"), text("lead")]);
    teams.fields[0].unique = true;
    Arc::new(Catalog::new([new(1, "posts", posts), users, teams]))
}

fn post(dice: &[u8]) -> Value {
    let members: &[&[&str]] = &[&[], &["u1"], &["u1", "u2"], &["u3", "", "u0"]];
    let mut post = json!({
        "id": of(&["p1", "p2", "u1"], dice[0]),
        "owner": of(&[json!("u0"), json!("u1"), json!("u2"), json!("u3"), json!(""), json!(null), json!("2")], dice[1]),
        "team": of(&[json!("t0"), json!("t1"), json!("t2"), json!(null)], dice[2]),
        "status": of(&[json!("public"), json!("Draft"), json!("mod"), json!(""), json!(null)], dice[3]),
        "n": of(&[json!(0), json!(1), json!(2), json!(2.5), json!(null)], dice[4]),
        "members": of(members, dice[5]),
    });
    if dice[4].is_multiple_of(17) {
        post.as_object_mut().expect("an object").remove("owner");
    }
    post
}

fn user(id: &str, dice: &[u8]) -> Value {
    let roles: &[&[&str]] = &[&[], &["public"], &["Draft", "mod"]];
    json!({
        "id": id,
        "team": of(&[json!("t0"), json!("t1"), json!(null)], dice[0]),
        "role": of(&["", "mod", "DRAFT"], dice[1]),
        "level": of(&[json!(2), json!(0), json!(null), json!(2.5)], dice[2]),
        "roles": of(roles, dice[3]),
    })
}

fn image(collection: &Collection, values: &Value) -> RowImage {
    let parsed = parse_image(values.to_string().into(), collection);
    parsed.expect("an image").image
}

fn principal(catalog: &Catalog, dice: &[u8]) -> Principal {
    let id = of(&["u0", "u1", "u2", "u3"], dice[0]);
    let users = catalog.find("users").expect("users");
    let values = user(id, &dice[2..]);
    let values = match dice[1] % 8 {
        0 => return Principal::Guest,
        1 => return Principal::Superuser { id: "root".into() },
        2 | 3 => {
            let mut claims = values.as_object().expect("an object").clone();
            claims.insert(
                "level".into(),
                of(&[json!("2"), json!(2), json!("2.0")], dice[4]),
            );
            AuthValues::Claims(Arc::new(claims))
        }
        _ => AuthValues::Row {
            collection: Arc::clone(users),
            image: image(users, &values),
        },
    };
    Principal::Record(Arc::new(AuthRecord {
        collection_id: "rwc_2".into(),
        collection_name: "users".into(),
        id: id.into(),
        values,
        roles: if dice[6].is_multiple_of(4) {
            ["editor".into()].into()
        } else {
            Arc::default()
        },
        secret_version: None,
        seen: Default::default(),
    }))
}

fn subscriptions(dice: &[u8]) -> Vec<Subscription> {
    let texts = dice.chunks(3).map(|dice| {
        let [topic, filter, other] = dice else {
            return "posts/*".to_owned();
        };
        let mut query = json!({});
        let filter = of(FILTERS, *filter);
        if !filter.is_empty() {
            query["filter"] = filter.into();
        }
        if other.is_multiple_of(3) {
            query["leave"] = "true".into();
        }
        if other.is_multiple_of(5) {
            query["team"] = of(&["t0", "t1"], other / 5).into();
        }
        match query == json!({}) {
            true => of(TOPICS, *topic).to_owned(),
            false => format!(
                "{}?options={}",
                of(TOPICS, *topic),
                json!({ "query": query })
            ),
        }
    });
    texts.map(|text| Subscription::parse(&text)).collect()
}

/// What is received, by whom.
type Received = Vec<(SubscriberKey, Vec<u8>)>;

struct Site {
    registry: Registry,
    access: Access,
    tally: Tally,
    filters: Filters,
    catalog: Arc<Catalog>,
    shelf: Shelf,
    joined: usize,
}

impl Site {
    fn new() -> Self {
        let mut registry = Registry::default();
        registry.index_from = 0;
        let mut site = Self {
            registry,
            access: Access::default(),
            tally: Tally::default(),
            filters: Filters::default(),
            catalog: Arc::default(),
            shelf: Shelf::default(),
            joined: 0,
        };
        site.set_policy(policy([1; 12]));
        site
    }

    fn set_policy(&mut self, policy: PolicyRows) {
        self.catalog = catalog(policy);
        self.access.set_catalog(&self.catalog);
        self.shelf.clear();
    }

    fn join(&mut self, principal: Principal, subscriptions: Vec<Subscription>) {
        let (id, slot) = unread(&self.joined.to_string());
        self.joined += 1;
        self.registry.insert(
            id.clone(),
            IpAddr::from([127, 0, 0, 1]),
            slot,
            Arc::default(),
        );
        let key = self.registry.find(&id.0).expect("it has joined");
        self.registry.replace(key, principal, subscriptions);
    }

    /// Somebody who is there.
    fn somebody(&self, die: u8) -> Option<SubscriberKey> {
        let id = usize::from(die) % self.joined.max(1);
        self.registry.find(&id.to_string())
    }

    fn delivery(&self) -> Delivery<'_> {
        Delivery {
            registry: &self.registry,
            access: &self.access,
            options: OPTIONS.get_or_init(HubOptions::default),
            tally: &self.tally,
            now: Timestamp::UNIX_EPOCH,
            shelf: &self.shelf,
            pass: Pass::Deliver,
            cohort: None,
            filters: &self.filters,
            enriching: None,
            templates: TEMPLATES.get_or_init(Templates::default),
        }
    }

    /// By the index, with every row that is wanted.
    fn by_index(&mut self, event: &Arc<ChangeEvent>) -> Received {
        loop {
            let mut received = Received::new();
            let item = FeedItem::Change(Arc::clone(event));
            self.delivery().publish(&item, |key, frame| {
                received.push((key, frame.into_bytes().to_vec()));
            });
            if !self.fetch() {
                received.sort();
                return received;
            }
        }
    }

    /// By asking every member of every group alone.
    fn one_by_one(&mut self, event: &ChangeEvent) -> Received {
        loop {
            let mut received = Received::new();
            let delivery = self.delivery();
            let mut topics = Vec::new();
            visit_topics(&event.collection, &event.id, |topic, guard| {
                topics.push((topic.to_owned(), guard));
            });
            topics.push((WILDCARD.to_owned(), Guard::List));
            let encoded = Encoded::new(event);
            for (topic, guard) in &topics {
                let groups = self
                    .registry
                    .all_groups()
                    .filter(|(name, ..)| name == topic);
                for (_, text, group) in groups {
                    for &key in &group.members {
                        let subscriber = self.registry.get(key).expect("a member is there");
                        let writer = Writer {
                            text,
                            tally: &self.tally,
                        };
                        let frames = Frames::new(&encoded, group, writer);
                        let verdict = Verdict::new(&delivery, &encoded, group, *guard);
                        let frame: Option<Frame> = match verdict.of(subscriber) {
                            Seen::Nothing | Seen::Perhaps(_) => None,
                            Seen::Record(shown) => frames.record(shown),
                            Seen::Entering(shown) => frames.entering(shown),
                            Seen::Leaving => frames.leaving(),
                            Seen::Unpaired => frames.resync(),
                        };
                        received.extend(frame.map(|frame| (key, frame.into_bytes().to_vec())));
                    }
                }
            }
            if !self.fetch() {
                received.sort();
                return received;
            }
        }
    }

    /// Fetches what is wanted; returns whether anything was.
    fn fetch(&mut self) -> bool {
        let wants = self.shelf.take_wanted();
        let any = !wants.is_empty();
        for want in wants {
            let found = found(&want);
            self.shelf.put(want, found);
        }
        any
    }

    fn take(&mut self, step: u8, dice: Dice) -> Result<usize, TestCaseError> {
        match step % 16 {
            0..=3 => self.join(principal(&self.catalog, &dice), subscriptions(&dice[7..])),
            4 => {
                if let Some(key) = self.somebody(dice[11]) {
                    let principal = principal(&self.catalog, &dice);
                    self.registry
                        .replace(key, principal, subscriptions(&dice[5..]));
                }
            }
            5 => {
                if let Some(key) = self.somebody(dice[11]) {
                    let principal = principal(&self.catalog, &dice);
                    self.registry.set_principal(key, principal);
                }
            }
            6 => {
                if let Some(key) = self.somebody(dice[11]) {
                    self.registry.remove(key);
                }
            }
            7 | 8 => {
                let key = self.somebody(dice[11]);
                let key_and_one = key.and_then(|key| {
                    let own = self.registry.get(key)?.subscriptions();
                    Some((key, own.first()?.clone()))
                });
                if let Some((key, one)) = key_and_one {
                    match dice[0] % 2 {
                        0 => self.registry.hold_back(key, one.topic(), one.text()),
                        _ => self.registry.make_live(key, one.topic(), one.text()),
                    }
                }
            }
            9 => self.set_policy(policy(dice)),
            _ => return self.publish(dice),
        }
        Ok(0)
    }

    fn publish(&mut self, dice: Dice) -> Result<usize, TestCaseError> {
        let name = of(&["posts", "posts", "posts", "users"], dice[11]);
        let collection = Arc::clone(self.catalog.find(name).expect("a collection"));
        let row = |dice: &[u8]| match name {
            "posts" => post(dice),
            _ => user(of(&["u0", "u1"], dice[0]), dice),
        };
        let (old, new) = (row(&dice), row(&dice[5..]));
        let action = of(
            &[
                Action::Create,
                Action::Update,
                Action::Update,
                Action::Delete,
            ],
            dice[10],
        );
        let known = !(dice[10] / 4).is_multiple_of(4);
        let event = Arc::new(ChangeEvent {
            action,
            id: RecordId(of(&["p1", "p2"], dice[9]).into()),
            old: match action {
                Action::Create => None,
                Action::Update if !known => None,
                _ => Some(image(&collection, &old)),
            },
            new: (action != Action::Delete).then(|| image(&collection, &new)),
            transaction: Some(Transaction { end: 1, xid: 7 }),
            position: None,
            ends_transaction: true,
            collection,
        });
        let found = self.by_index(&event);
        let expected = self.one_by_one(&event);
        prop_assert_eq!(readable(&found), readable(&expected), "{:?}", event);
        Ok(found.len())
    }
}

static TEMPLATES: std::sync::OnceLock<Templates> = std::sync::OnceLock::new();
static OPTIONS: std::sync::OnceLock<HubOptions> = std::sync::OnceLock::new();

fn readable(received: &Received) -> Vec<(SubscriberKey, String)> {
    let texts = received.iter();
    let texts = texts.map(|(key, bytes)| (*key, String::from_utf8_lossy(bytes).into_owned()));
    texts.collect()
}

/// Every team there could be, led by the user of its number.
fn found(want: &Want) -> Found {
    let rows = (0..3).map(|n| json!({"id": format!("t{n}"), "lead": format!("u{n}")}));
    let fits = |row: &Value| {
        let mut equals = want.equals.iter();
        equals.all(|(field, text)| row[&*want.collection.fields[*field].name] == **text)
    };
    let rows = rows.filter(fits).map(|row| RelatedRow {
        id: RecordId(row["id"].as_str().expect("an id").into()),
        image: image(&want.collection, &row),
    });
    Found::Rows(rows.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_whom_asking_everybody_finds(
        steps in prop::collection::vec((any::<u8>(), any::<Dice>()), 1..60),
    ) {
        let mut site = Site::new();
        for (step, dice) in steps {
            site.take(step, dice)?;
        }
    }
}

/// How many decisions one event makes, and how many frames.
fn cost(site: &mut Site, values: &Value) -> (u64, usize) {
    let collection = Arc::clone(site.catalog.find("posts").expect("posts"));
    let event = Arc::new(ChangeEvent {
        action: Action::Create,
        id: RecordId("p1".into()),
        old: None,
        new: Some(image(&collection, values)),
        transaction: None,
        position: None,
        ends_transaction: true,
        collection,
    });
    site.tally.clear();
    let received = site.by_index(&event);
    let metrics = Metrics::new();
    site.tally.commit(&metrics);
    (metrics.decisions.get(), received.len())
}

fn everybody(rule: &str) -> PolicyRows {
    PolicyRows::for_everybody(&[("posts", "list", rule)])
}

fn person(number: usize) -> Principal {
    let claims = json!({"team": format!("t{}", number % 100), "role": "writer"});
    Principal::Record(Arc::new(AuthRecord {
        collection_id: "rwc_2".into(),
        collection_name: "users".into(),
        id: format!("u{number}").into(),
        values: AuthValues::Claims(Arc::new(claims.as_object().expect("an object").clone())),
        roles: Arc::default(),
        secret_version: None,
        seen: Default::default(),
    }))
}

#[test]
fn a_change_makes_as_many_decisions_as_it_has_receivers() {
    const MEMBERS: usize = 10_000;
    let mut site = Site::new();
    for number in 0..MEMBERS {
        let filter = match number % 2 {
            0 => "posts/*".to_owned(),
            _ => format!(r#"posts/*?options={{"query":{{"x":"{number}"}}}}"#),
        };
        site.join(person(number), vec![Subscription::parse(&filter)]);
    }
    let post = json!({"id": "p1", "owner": "u7", "team": "t3", "status": "public", "n": 1, "members": ["u1", "u5000"]});
    for (rule, decisions, frames) in [
        ("owner = @request.auth.id", 1, 1),
        ("@request.auth.id ?= members:each", 2, 2),
        ("team = @request.auth.team", 100, 100),
        ("status = 'draft' || owner = @request.auth.id", 1, 1),
        ("status != 'public' && owner = @request.auth.id", 0, 0),
        (
            "@request.auth.role = 'admin' || owner = @request.auth.id",
            1,
            1,
        ),
        ("status = 'draft'", 0, 0),
        // One for each subscription text.
        ("status = 'public'", 5_001, MEMBERS),
        ("", 5_001, MEMBERS),
    ] {
        site.set_policy(everybody(rule));
        assert_eq!(cost(&mut site, &post), (decisions, frames), "{rule:?}");
    }
}

#[test]
fn filters_that_demand_a_value_cost_nothing_where_a_row_has_another() {
    let mut site = Site::new();
    site.set_policy(everybody(""));
    for number in 0..2_000 {
        let text = format!(r#"posts/*?options={{"query":{{"filter":"owner='u{number}'"}}}}"#);
        site.join(Principal::Guest, vec![Subscription::parse(&text)]);
        let text = r#"posts/*?options={"query":{"filter":"n>5"}}"#;
        site.join(Principal::Guest, vec![Subscription::parse(text)]);
    }
    let post =
        |n| json!({"id": "p1", "owner": "u7", "team": null, "status": "", "n": n, "members": []});
    // The other filter is asked once for all who wrote it, and once more for the decision.
    assert_eq!(cost(&mut site, &post(1)), (2, 1));
    assert_eq!(cost(&mut site, &post(6)), (3, 2_001));
}
