//! Rules and filters: read or refused with a place, printed as what they are, decided by nothing but
//! what they name.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::world::{HIDDEN, Open, answer, catalog, moments, posts, record_id, somebody};
use crate::catalog::{Catalog, Collection};
use crate::event::{RowImage, parse_image};
use crate::related::Shelf;
use crate::rules::{
    AuthValues, ClientPredicate, ClientRow, Predicate, RequestContext, Row, RuleError, RuleUse,
    Scope, Undecidable, printed,
};
use crate::topic::{Options, Subscription};

/// The row of an input that brings none.
const ROW: &str = r#"{"id":1,"t":"Abc","u":"abc","n":5,"m":5.50,"b":true,"d":"2024-05-05T10:00:00+00:00",
"j":{"x":1,"y":"Yes","z":null,"arr":[10,{"k":"v"}]},"g":{"lon":23.3,"lat":42.7},"s":["a","b"],"s2":["b"],
"ns":[1,2],"bs":[true],"ds":["2024-05-05"],"js":[{"a":1}],"ss":[["a"]],"owner":"u1","readers":["u1","u2"],"email":"a@b.c",
"emailVisibility":false,"secret":"x"}"#;

/// Rounds of fetching until a decision; more than relations in a path.
const ROUNDS_MAX: usize = 32;

type Decision = Result<bool, Undecidable>;

/// What is asked about: two requests, rows and moments that differ wherever they can.
struct World {
    collection: Collection,
    catalog: Catalog,
    row: RowImage,
    /// The same with another value in the hidden field.
    row_with_other_secret: RowImage,
    row_of_nothing: RowImage,
    options: Options,
    auth: Option<AuthValues>,
}

/// One question to a predicate.
#[derive(Clone, Copy)]
struct Asked<'w> {
    row: &'w RowImage,
    auth: Option<&'w AuthValues>,
    query: &'w BTreeMap<String, String>,
    headers: &'w BTreeMap<String, String>,
    now: Timestamp,
    /// What stands in the hidden fields of other records.
    secret: &'w str,
}

/// Checks a text as a rule and as both kinds of filter.
pub(super) fn check(text: &str, row: &str, subscription: &str, claims: &str) {
    let reprinted = check_printing(text);
    let world = World::new(row, subscription, claims);
    for usage in [RuleUse::Rule, RuleUse::Filter, RuleUse::SuperuserFilter] {
        match Predicate::compile(text, world.scope(), usage) {
            Ok(predicate) => {
                world.check(&predicate, usage);
                if let Some(reprinted) = reprinted.as_deref() {
                    world.check_same(&predicate, reprinted, usage);
                }
            }
            Err(error) => check_error(text, &error),
        }
    }
    check_client(text, row, subscription, &world);
}

/// A text about streams is refused with a place, or decides alone.
fn check_client(text: &str, store: &str, subscription: &str, world: &World) {
    let predicate = match ClientPredicate::compile(text) {
        Ok(predicate) => predicate,
        Err(error) => return check_error(text, &error),
    };
    let store: Map<String, Value> = serde_json::from_str(store).unwrap_or_default();
    let client = ClientRow::new("c", &store, [subscription].into_iter());
    let client = client.expect("a small one");
    let shelf = Shelf::default();
    for auth in [world.auth.as_ref(), None] {
        let Options { query, headers, .. } = &world.options;
        let request = RequestContext::realtime(auth, query, headers, moments()[0], &shelf);
        let _ = predicate.decide(&client, &request);
        assert!(shelf.take_wanted().is_empty(), "{text:?} looks for records");
    }
}

/// An error names a place in the text and is fit for a terminal and for a log.
pub(super) fn check_error(text: &str, error: &RuleError) {
    let line = text.split('\n').nth(error.line() - 1);
    let length = line.map(|line| line.chars().count());
    let inside = length.is_some_and(|length| (1..=length + 1).contains(&error.column()));
    assert!(
        inside,
        "{text:?}: no line {} with a column {}",
        error.line(),
        error.column()
    );
    let message = error.to_string();
    assert!(message.chars().count() < 1_000, "{text:?}: {message}");
    let odd = message.chars().find(|&c| c.is_control() && c != '\n');
    assert_eq!(odd, None, "{text:?}: {message:?}");
}

/// The text as it is printed, if it is one of the language; that reads as the same once more.
fn check_printing(text: &str) -> Option<String> {
    let first = printed(text).ok()?;
    match printed(&first) {
        Ok(second) => assert_eq!(second, first, "{text:?}"),
        // Escapes and parentheses take room.
        Err(_) if first.len() > text.len() && first.len() > 64 * 1024 => return None,
        Err(error) => panic!("{text:?} is printed as {first}, which is refused: {error}"),
    }
    Some(first)
}

impl World {
    fn new(row: &str, subscription: &str, claims: &str) -> Self {
        let collection = posts();
        let image = |text: &str| parse_image(text.into(), &collection).map(|parsed| parsed.image);
        let row = image(row).or_else(|_| image(ROW)).expect("a row");
        let row_with_other_secret = with_other_secret(&row, &collection);
        Self {
            row_of_nothing: image("{}").expect("an empty row"),
            options: Subscription::parse(subscription).options().clone(),
            auth: somebody(claims),
            collection,
            catalog: catalog(),
            row,
            row_with_other_secret,
        }
    }

    fn scope(&self) -> Scope<'_> {
        let auth = self.auth.as_ref();
        Scope {
            collection: &self.collection,
            catalog: &self.catalog,
            auth: auth.and_then(|auth| auth.collection.as_deref()),
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            row: &self.row,
            auth: self.auth.as_ref(),
            query: &self.options.query,
            headers: &self.options.headers,
            now: moments()[0],
            secret: "x",
        }
    }

    /// Decides, as often as it takes until all that is looked for is there.
    fn decide(&self, predicate: &Predicate, asked: Asked<'_>) -> Decision {
        let (id, mut shelf) = (record_id(), Shelf::default());
        let row = Row::now(&self.collection, &id, asked.row);
        for _ in 0..ROUNDS_MAX {
            let Asked {
                auth,
                query,
                headers,
                now,
                ..
            } = asked;
            let mut request = RequestContext::realtime(auth, query, headers, now, &shelf);
            request.gates = Some(&Open);
            let decided = predicate.decide(row, &request);
            let wanted = shelf.take_wanted();
            if wanted.is_empty() {
                return decided;
            }
            for want in wanted {
                let found = answer(&want, asked.secret);
                shelf.put(want, found);
            }
        }
        panic!("{} looks for more and more", predicate.text())
    }

    /// Whatever a predicate does not need makes no difference, and filters need little.
    fn check(&self, predicate: &Predicate, usage: RuleUse) {
        let asked = self.asked();
        let decided = self.decide(predicate, asked);
        let needs = predicate.needs();
        let (nobody, nothing) = (somebody("{}"), BTreeMap::new());
        let others = [
            (
                !needs.row,
                "row",
                Asked {
                    row: &self.row_of_nothing,
                    ..asked
                },
            ),
            (
                !needs.auth,
                "auth",
                Asked {
                    auth: None,
                    ..asked
                },
            ),
            (
                !needs.auth,
                "auth",
                Asked {
                    auth: nobody.as_ref(),
                    ..asked
                },
            ),
            (
                !needs.query,
                "query",
                Asked {
                    query: &nothing,
                    ..asked
                },
            ),
            (
                !needs.headers,
                "headers",
                Asked {
                    headers: &nothing,
                    ..asked
                },
            ),
            (
                !needs.clock,
                "clock",
                Asked {
                    now: moments()[1],
                    ..asked
                },
            ),
            (
                !needs.related,
                "related",
                Asked {
                    secret: "y",
                    ..asked
                },
            ),
            (
                usage != RuleUse::Rule,
                HIDDEN,
                Asked {
                    row: &self.row_with_other_secret,
                    secret: "y",
                    ..asked
                },
            ),
        ];
        for (same, what, other) in others {
            let otherwise = self.decide(predicate, other);
            if same {
                assert_eq!(otherwise, decided, "{} depends on {what}", predicate.text());
            }
        }
        let asks_who = needs.auth || needs.query || needs.headers;
        assert!(
            usage != RuleUse::Filter || !asks_who,
            "{}",
            predicate.text()
        );
    }

    /// A text and what is printed of it mean the same.
    fn check_same(&self, predicate: &Predicate, reprinted: &str, usage: RuleUse) {
        let again = Predicate::compile(reprinted, self.scope(), usage);
        let again = again.unwrap_or_else(|error| panic!("{}: {error}", predicate.text()));
        assert_eq!(again.needs(), predicate.needs(), "{reprinted}");
        let decisions = [predicate, &again].map(|predicate| self.decide(predicate, self.asked()));
        assert_eq!(decisions[0], decisions[1], "{reprinted}");
    }
}

/// A row that differs in nothing but what is hidden.
fn with_other_secret(row: &RowImage, collection: &Collection) -> RowImage {
    let mut json = "{".to_owned();
    for (index, field) in collection.fields.iter().enumerate() {
        let value = match (&*field.name, row.value(index)) {
            (HIDDEN, _) => r#""another""#,
            (_, Some(value)) => value,
            (_, None) => continue,
        };
        let name = Value::from(&*field.name);
        json.push_str(&format!("{name}:{value},"));
    }
    let object = json.trim_end_matches(',').to_owned() + "}";
    let parsed = parse_image(object.into(), collection).expect("made of values that were read");
    parsed.image
}
