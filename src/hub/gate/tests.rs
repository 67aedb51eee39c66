use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::catalog::{Field, FieldKind, RecordOrder, Rules, TableName};
use crate::event::{RecordId, RowImage};

fn collection(list: Rule, fields: &[&str]) -> Arc<Collection> {
    let field = |name: &&str| Field {
        name: (*name).into(),
        kind: FieldKind::Text,
        hidden: name.starts_with("secret"),
    };
    Arc::new(Collection {
        key: CollectionKey(1),
        id: "pbc_1".into(),
        name: "posts".into(),
        table: TableName {
            schema: "public".into(),
            table: "posts".into(),
        },
        fields: fields.iter().map(field).collect(),
        key_fields: vec![0],
        partitioned: false,
        column_orders: Vec::new(),
        rules: Rules {
            list,
            view: Rule::Locked,
        },
        record_order: RecordOrder::default(),
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
    let request = RequestContext::realtime(None, query, headers, Timestamp::UNIX_EPOCH);
    let row = Row {
        collection,
        id: &RecordId("1".into()),
        image: &image(collection),
    };
    ask(row, &options, &request)
}

#[test]
fn rules_open_deny_and_are_counted_when_they_cannot_decide() {
    let expression = |text: &str| Rule::Expression(text.into());
    for (rule, passes, ever, ignores, errors) in [
        (Rule::Public, true, true, true, 0),
        (Rule::Locked, false, false, true, 0),
        (expression("title = 'x'"), true, true, true, 0),
        (expression("title != 'x'"), false, true, true, 0),
        (expression("title = @request.query.a"), true, true, false, 0),
        (expression("@request.headers.b = ''"), true, true, false, 0),
        (expression("titel = 'x'"), false, false, true, 1),
        (expression("title.name != 'x'"), false, false, true, 1),
        (expression(" "), false, false, true, 1),
    ] {
        let what = format!("{rule:?}");
        let collection = collection(rule, &["title"]);
        let mut gates = Gates::default();
        gates.prepare(&collection);
        let gate = gates.of(&collection);
        let metrics = Metrics::new();
        let decided = ask(&collection, "", |row, _, request| {
            gate.lets_pass(Guard::List, row, request, &metrics)
        });
        assert_eq!(decided, passes, "{what}");
        assert_eq!(gate.is_ever_open(Guard::List), ever, "{what}");
        assert_eq!(gate.ignores_options(Guard::List), ignores, "{what}");
        let counted = metrics.encode().contains("rowcast_rule_errors_total{");
        assert_eq!(counted, errors > 0, "{what}");
        assert!(!gate.is_ever_open(Guard::View));
    }
}

#[test]
fn a_changed_collection_has_its_rules_compiled_again() {
    let rule = || Rule::Expression("title = 'x'".into());
    let mut gates = Gates::default();
    for (rule, fields, passes) in [
        (rule(), &["title"][..], true),
        (Rule::Locked, &["title"], false),
        (rule(), &["other"], false),
        (rule(), &["other", "title"], true),
    ] {
        let collection = collection(rule, fields);
        gates.prepare(&collection);
        let decided = ask(&collection, "", |row, _, request| {
            let gate = gates.of(&collection);
            gate.lets_pass(Guard::List, row, request, &Metrics::new())
        });
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
            let collection = collection(Rule::Public, &["title", "secret"]);
            let passes = ask(&collection, text, |row, options, request| {
                filter.lets_pass(&collection, row, options, request, superuser)
            });
            let expected = if superuser { by_superusers } else { by_anybody };
            assert_eq!(passes, expected, "{text} {superuser}");
        }
        let dropped = collection(Rule::Public, &["other"]);
        let passes = ask(&dropped, text, |row, options, request| {
            filter.lets_pass(&dropped, row, options, request, false)
        });
        assert_eq!(passes, text.is_empty(), "{text}");
    }
}
