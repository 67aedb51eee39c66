//! Texts about streams.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::related::Shelf;
use crate::rules::{AuthValues, ClientPredicate, ClientRow, RequestContext, RuleError};

fn decide(text: &str, auth: Option<&AuthValues>) -> Result<bool, String> {
    let store = json!({ "room": "7", "level": {"n": 3}, "tags": ["a", "b"], "none": null });
    let store: Map<String, Value> = serde_json::from_value(store).expect("an object");
    let texts = ["chat", "posts/*?x"];
    let client = ClientRow::new("c1", &store, texts.into_iter()).expect("a small one");
    let query = BTreeMap::from([("lang".to_owned(), "en".to_owned())]);
    let (nothing, shelf) = (BTreeMap::new(), Shelf::default());
    let request = RequestContext::realtime(auth, &query, &nothing, Timestamp::UNIX_EPOCH, &shelf);
    let predicate = ClientPredicate::compile(text).map_err(|error| error.to_string())?;
    let decided = predicate.decide(&client, &request);
    decided.map_err(|error| error.as_str().to_owned())
}

#[test]
fn a_stream_is_asked_about_as_a_record_is() {
    let member = AuthValues {
        id: "m1".to_owned(),
        fields: json!({ "team": "red" }).as_object().expect("one").clone(),
        ..AuthValues::default()
    };
    for (text, guest, of_member) in [
        ("@client.id = 'c1'", true, true),
        ("@client.store.room = '7'", true, true),
        ("@client.store.room = 7", false, false),
        ("@client.store.level.n > 2", true, true),
        // As with fields of JSON: what is not there is null, and nothing else.
        ("@client.store.other = null", true, true),
        ("@client.store.other = ''", false, false),
        ("@client.store.room != '7'", false, false),
        ("@client.store.tags.1 = 'b'", true, true),
        ("@client.subscriptions:each ?= 'chat'", true, true),
        ("@client.subscriptions:each ?= 'news'", false, false),
        ("@client.subscriptions:length = 2", true, true),
        ("@request.auth.id != ''", false, true),
        ("@request.auth.team = 'red'", false, true),
        ("@request.query.lang = 'en'", true, true),
        (
            "@request.auth.id = '' || @client.store.room = '8'",
            true,
            false,
        ),
    ] {
        assert_eq!(decide(text, None), Ok(guest), "{text} of a guest");
        assert_eq!(
            decide(text, Some(&member)),
            Ok(of_member),
            "{text} of a member"
        );
    }
}

#[test]
fn texts_about_streams_name_nothing_else() {
    for text in [
        "room = '7'",
        "store.room = '7'",
        "id = 'c1'",
        "@collection.posts.id ?= 'x'",
        "@client = 'c1'",
        "@client.secret = 1",
        "@client.mailbox.x = 1",
        "@client.id.x = 1",
        "@client.store. = 1",
        "",
    ] {
        let refused = ClientPredicate::compile(text).map(drop);
        let error: RuleError = refused.expect_err(text);
        assert!(error.to_string().len() > 20, "{text}: {error}");
    }
    let elsewhere = super::world::collection();
    let catalog = crate::catalog::Catalog::default();
    let scope = crate::rules::Scope {
        collection: &elsewhere,
        catalog: &catalog,
        auth: None,
    };
    for usage in [crate::rules::RuleUse::Rule, crate::rules::RuleUse::Filter] {
        let refused = crate::rules::Predicate::compile("@client.id = 'x'", scope, usage);
        assert!(refused.is_err(), "a record's rule knows no streams");
    }
}
