use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::catalog::{CollectionKey, Field, FieldKind};
use crate::event::{RecordId, RowImage};
use crate::hub::filter::Filter;
use crate::policy::{Policy, PolicyRows};
use crate::related::Shelf;
use crate::telemetry::Metrics;
use crate::topic::Options;

/// A collection whose list rule is this one; `None` locks it. The view rule is locked.
fn collection(list: Option<&str>, fields: &[&str]) -> Arc<Collection> {
    let field = |name: &&str| Field {
        hidden: name.starts_with("secret"),
        ..Field::new(name, FieldKind::Text)
    };
    let rules: Vec<_> = list
        .map(|rule| ("posts", "list", rule))
        .into_iter()
        .collect();
    let fields = fields.iter().map(field).collect();
    Arc::new(Collection {
        policy: Arc::new(Policy::new(PolicyRows::for_everybody(&rules))),
        ..Collection::new(CollectionKey(1), "posts", fields)
    })
}

/// A row whose fields all say `x`.
fn image(collection: &Collection) -> RowImage {
    let values = vec![Some(0..3); collection.fields.len()];
    RowImage::new("\"x\"".into(), values.into())
}

/// Asks with the options `a` = `x` and perhaps a filter.
fn ask<T>(
    collection: &Collection,
    filter: &str,
    ask: impl FnOnce(Row<'_>, &Options, &RequestContext<'_>) -> T,
) -> T {
    let pairs = [("a", "x"), ("filter", filter)];
    let query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = Options {
        query: query.into_iter().collect(),
        headers: BTreeMap::new(),
    };
    let Options { query, headers } = &options;
    let (now, shelf) = (Timestamp::UNIX_EPOCH, Shelf::default());
    let request = RequestContext::realtime(None, query, headers, now, &shelf);
    let row = Row {
        collection,
        id: &RecordId("1".into()),
        image: &image(collection),
        deleted_by: None,
    };
    ask(row, &options, &request)
}

fn guest_passes(access: &Access, collection: &Collection, guard: Guard, tally: &Tally) -> bool {
    let guest = member_of(&Principal::Guest);
    ask(collection, "", |row, _, request| {
        access.lets_pass(&guest, guard, row, request, tally) == Ok(true)
    })
}

#[test]
fn rules_open_deny_and_are_counted_when_they_cannot_decide() {
    for (rule, passes, ever, errors) in [
        (Some(""), true, true, false),
        (None, false, false, false),
        (Some("title = 'x'"), true, true, false),
        (Some("title != 'x'"), false, true, false),
        (Some("title = @request.query.a"), true, true, false),
        (Some("@request.headers.b = ''"), true, true, false),
        (Some("titel = 'x'"), false, false, true),
        (Some("title.name != 'x'"), false, false, true),
        (Some(" "), false, false, true),
    ] {
        let collection = collection(rule, &["title"]);
        let (access, tally) = (Access::default(), Tally::default());
        let decided = guest_passes(&access, &collection, Guard::List, &tally);
        assert_eq!(decided, passes, "{rule:?}");
        let metrics = Metrics::new();
        tally.commit(&metrics);
        let counted = metrics.encode().contains("rowcast_rule_errors_total{");
        assert_eq!(counted, errors, "{rule:?}");
        let guest = member_of(&Principal::Guest);
        assert_eq!(
            access.may_ever_pass(&guest, &collection, Guard::List),
            ever,
            "{rule:?}"
        );
        assert!(!access.may_ever_pass(&guest, &collection, Guard::View));
        let superuser = member_of(&Principal::Superuser { id: "s".into() });
        assert!(access.may_ever_pass(&superuser, &collection, Guard::View));
    }
}

#[test]
fn a_changed_collection_has_its_rules_compiled_again() {
    let access = Access::default();
    for (rule, fields, passes) in [
        (Some("title = 'x'"), &["title"][..], true),
        (None, &["title"], false),
        (Some("title = 'x'"), &["other"], false),
        (Some("title = 'x'"), &["other", "title"], true),
    ] {
        let collection = collection(rule, fields);
        let decided = guest_passes(&access, &collection, Guard::List, &Tally::default());
        assert_eq!(decided, passes, "{fields:?}");
    }
}

#[test]
fn a_filter_is_compiled_for_who_asks_and_for_the_collection_as_it_is() {
    for (text, by_anybody, by_superusers) in [
        ("", true, true),
        ("title = 'x'", true, true),
        ("title != 'x'", false, false),
        ("nope = 'x'", false, false),
        ("secret = 'x'", false, false),
        ("@request.query.a = 'x'", false, true),
        (" ", false, false),
    ] {
        let filter = Filter::default();
        for superuser in [false, true, false] {
            let collection = collection(Some(""), &["title", "secret"]);
            let passes = ask(&collection, text, |row, options, request| {
                filter.lets_pass(
                    &collection,
                    row,
                    options,
                    request,
                    &Catalog::default(),
                    superuser,
                )
            });
            let expected = if superuser { by_superusers } else { by_anybody };
            assert_eq!(passes, Ok(expected), "{text} {superuser}");
        }
        let dropped = collection(Some(""), &["other"]);
        let passes = ask(&dropped, text, |row, options, request| {
            filter.lets_pass(&dropped, row, options, request, &Catalog::default(), false)
        });
        assert_eq!(passes == Ok(true), text.is_empty(), "{text}");
    }
}
