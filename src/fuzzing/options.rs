//! Subscriptions: any text is one, and nothing in it reaches the stream but what was written.

use super::rules::check_error;
use super::world::{catalog, posts};
use crate::event::RecordId;
use crate::frame::Frame;
use crate::rules::{Predicate, Scope};
use crate::topic::{Options, Subscription, guard_of, visit_topics};

pub(super) fn check(text: &str) {
    let subscription = Subscription::parse(text);
    assert_eq!(&**subscription.text(), text);
    let (topic, options) = (subscription.topic(), subscription.options());
    assert!(text.starts_with(topic) && !topic.contains('?'), "{text:?}");
    if !text.contains('?') {
        assert_eq!(*options, Options::default(), "{text:?}");
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    for name in options.headers.keys() {
        assert!(name.chars().all(plain), "{text:?}: {name:?}");
    }
    check_written_out(options);
    check_guard(topic);
    check_frame(text);
    check_filter(options);
}

/// Options written out the way SDKs do it are read as the same.
fn check_written_out(options: &Options) {
    let json = serde_json::json!({"query": options.query, "headers": options.headers});
    let encoded: String = form_urlencoded::byte_serialize(json.to_string().as_bytes()).collect();
    let again = Subscription::parse(&format!("posts/*?options={encoded}"));
    assert_eq!(again.options(), options, "{json}");
}

/// Delivery and authorization agree about what guards a topic.
fn check_guard(topic: &str) {
    let collection = posts();
    let id = RecordId(topic.split_once('/').map_or("x", |(_, id)| id).into());
    let mut guard = None;
    visit_topics(&collection, &id, |visited, by| {
        if visited == topic {
            assert_eq!(guard.replace(by), None, "{topic:?} is visited twice");
        }
    });
    if guard.is_some() {
        assert_eq!(guard_of(topic, &collection), guard, "{topic:?}");
    }
}

/// A name cannot end its line and begin another one.
fn check_frame(name: &str) {
    let Some(frame) = Frame::event(Some("1"), name, b"{}") else {
        assert!(name.contains(char::is_control), "{name:?}");
        return;
    };
    let expected = format!("id:1\nevent:{name}\ndata:{{}}\n\n");
    assert_eq!(frame.into_bytes(), expected.as_bytes());
    assert_eq!(expected.split(['\n', '\r']).count(), 5, "{name:?}");
}

fn check_filter(options: &Options) {
    let scope = Scope {
        collection: &posts(),
        catalog: &catalog(),
        auth: None,
    };
    for superuser in [false, true] {
        if let Err(error) = Predicate::of_options(&options.query, scope, superuser) {
            let text = |name: &str| options.query.get(name).map_or("", String::as_str);
            // It is about one of them, and does not say which.
            let places = ["filter", "sort"].map(|name| text(name).split('\n').count());
            assert!(error.line() <= places[0].max(places[1]), "{error}");
            if text("sort").is_empty() {
                check_error(text("filter"), &error);
            }
        }
    }
}
