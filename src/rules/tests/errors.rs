//! What is said about a text that cannot be used, and who may name what.

use super::world::{collection, compile, compile_for};
use crate::catalog::Catalog;
use crate::rules::{Predicate, RuleError, RuleUse, Scope};

fn error(rule: &str) -> RuleError {
    match compile(rule) {
        Err(error) => error,
        Ok(_) => panic!("{rule} compiles"),
    }
}

#[test]
fn an_error_shows_the_place_and_what_was_probably_meant() {
    for (rule, shown) in [
        (
            "t = 'x' &&\n  ownr = @request.auth.id",
            "posts has no field ownr (line 2, column 3)\n\
             \x20     ownr = @request.auth.id\n\
             \x20     ^^^^\n\
             Did you mean owner?",
        ),
        (
            "t == 'x'",
            "== is no operator (line 1, column 3)\n\
             \x20   t == 'x'\n\
             \x20     ^^\n\
             Operators are = != > >= < <= ~ !~, each also with ? before it for any of several values.",
        ),
        (
            "'é' = t\r",
            "'\\r' has no meaning here (line 1, column 8)\n\
             \x20   'é' = t \n\
             \x20          ^\n\
             Lines end in LF alone; remove the carriage return.",
        ),
        (
            "(t = 'x'",
            "this parenthesis is never closed (line 1, column 1)\n\
             \x20   (t = 'x'\n\
             \x20   ^",
        ),
        (
            "t = 'x' &&",
            "a field, a text or a number is missing here (line 1, column 11)\n\
             \x20   t = 'x' &&\n\
             \x20             ^",
        ),
    ] {
        assert_eq!(error(rule).to_string(), shown, "{rule}");
    }
}

#[test]
fn the_place_is_found_in_long_and_wide_texts() {
    let rule = format!(
        "t = '{}' && nope_nope = 'é' && t = '{}'",
        "ü".repeat(500),
        "x".repeat(500)
    );
    let error = error(&rule);
    assert_eq!((error.line(), error.column()), (1, 511));
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    let marked: String = lines[1]
        .chars()
        .zip(lines[2].chars())
        .filter(|(_, mark)| *mark == '^')
        .map(|(c, _)| c)
        .collect();
    assert_eq!(marked, "nope_nope");
    assert!(lines[1].chars().count() < 120);
}

#[test]
fn near_names_are_suggested_and_far_ones_are_not() {
    for (rule, suggestion) in [
        ("T = 1", Some("t")),
        ("ownerno = 1", Some("owner_no")),
        ("zzzzzzz = 1", None),
        ("t = @todaystart", Some("@todayStart")),
        ("t = @request.contex", Some("@request.context")),
        ("geodistance(1,2,3,4) = 1", Some("geoDistance")),
        ("t:lowr = 'x'", Some("lower")),
        ("s:Length = 1", Some("length")),
        ("idd = 1", Some("id")),
    ] {
        assert_eq!(error(rule).suggestion(), suggestion, "{rule}");
    }
}

#[test]
fn what_has_no_meaning_is_refused() {
    for rule in [
        "nope = 1",
        "#t = 1",
        "collectionId = 'x'",
        "collectionName = 'x'",
        "expand = ''",
        "b.x = 1",
        "d.x = 1",
        "id.x = 1",
        "a..b = 1",
        "j..a = 1",
        "@nope = 1",
        "@Now = 1",
        "@now:lower = 1",
        "@request = 1",
        "@request.auth = 1",
        "@request.zzz = 1",
        "@request.auth:isset = true",
        "@request.query = 1",
        "@request.context.x = 1",
        "@request.context:lower = 'x'",
        "@request.auth.id.x = 1",
        "@collection = 1",
        "@collection.posts = 1",
        "@collection.posts:a:b.t = 1",
        "@collection:x.y = 1",
        "t:nope = 1",
        "t:lower:each = 1",
        "t:LOWER = 'x'",
        "@request.query.x:length = 1",
        "@request.query.x:each = 1",
        "@request.headers.x:changed = 1",
        "@request.query.x:nope = 1",
        "@request.body.t:length = 1",
        "@request.body.t:each = 1",
        "@request.body.nope:changed = 1",
        "null:lower = 1",
        "nul = 1",
        "f() = 1",
        "GeoDistance(1,2,3,4) = 1",
        "geoDistance() = 1",
        "geoDistance(1,2,3) = 1",
        "geoDistance(1,2,3,4,5) = 1",
        "geoDistance('1',2,3,4) = 1",
        "geoDistance(strftime('%Y'),2,3,4) = 1",
        "geoDistance(nope,2,3,4) = 1",
        "strftime() = 1",
        "strftime(t) = 1",
        "strftime('%Y', strftime('%Y')) = 1",
        "strftime('%Y', d, 1) = 1",
        "strftime('%Y', d, t) = 1",
        "strftime('%Y', d, 'tomorrow') = 1",
        "strftime('%Q') = 1",
        "strftime('100%') = 1",
        "strftime('%Y', d, 'utc', 'utc', 'utc', 'utc', 'utc', 'utc', 'utc', 'utc', 'utc') = 1",
        "t ~ strftime('%Y')",
        "t !~ geoDistance(1,2,3,4)",
    ] {
        assert!(compile(rule).is_err(), "{rule}");
    }
}

#[test]
fn each_author_may_name_what_is_theirs() {
    use RuleUse::{Filter, Rule, SuperuserFilter};
    for (text, allowed) in [
        ("t = 'x'", &[Rule, Filter, SuperuserFilter][..]),
        ("d > @now", &[Rule, Filter, SuperuserFilter]),
        ("@request.auth.id = owner", &[Rule, SuperuserFilter]),
        ("t = '@request.'", &[Rule, SuperuserFilter]),
        ("t = '@collection.'", &[Rule, SuperuserFilter]),
        ("t = 'x' // @request.", &[Rule, SuperuserFilter]),
        ("t = '@request'", &[Rule, Filter, SuperuserFilter]),
        ("secret = 'x'", &[Rule]),
        ("secret:lower = 'x'", &[Rule]),
        ("strftime('%Y', secret) = 'x'", &[Rule]),
        (" ", &[]),
    ] {
        for usage in [Rule, Filter, SuperuserFilter] {
            let compiled = compile_for(&collection(), text, usage);
            assert_eq!(
                compiled.is_ok(),
                allowed.contains(&usage),
                "{text} as {usage:?}"
            );
        }
    }
}

#[test]
fn a_subscriber_does_not_learn_of_hidden_fields() {
    let error = |text| {
        let compiled = compile_for(&collection(), text, RuleUse::Filter);
        compiled.expect_err(text).to_string()
    };
    assert_eq!(
        error("secret = 1"),
        error("absent = 1").replace("absent", "secret")
    );
    assert_eq!(
        error("secrey = 1"),
        error("absent = 1").replace("absent", "secrey")
    );
}

#[test]
fn options_hold_a_filter_or_none() {
    for (filter, sort, superuser, outcome) in [
        (None, "", false, Ok(false)),
        (Some(""), "@request.x", false, Ok(false)),
        (Some("t = 'x'"), "", false, Ok(true)),
        (Some("t = 'x'"), "@request.auth.id", false, Err(())),
        (Some("t = 'x'"), "@collection.x", false, Err(())),
        (Some("t = 'x'"), "@collection.x", true, Ok(true)),
        (Some("@request.auth.id = t"), "", false, Err(())),
        (Some("@request.auth.id = t"), "", true, Ok(true)),
        (Some(" "), "", true, Err(())),
    ] {
        let pairs = [("sort", Some(sort)), ("filter", filter)];
        let query = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let scope = Scope {
            collection: &collection(),
            catalog: &Catalog::default(),
            auth: None,
        };
        let found = Predicate::of_options(&query, scope, superuser);
        let found = found.map(|predicate| predicate.is_some()).map_err(drop);
        assert_eq!(found, outcome, "{filter:?} {sort:?} {superuser}");
    }
}

#[test]
fn a_predicate_knows_what_it_needs() {
    for (rule, needs) in [
        ("t = 'x'", "row"),
        ("id = 'x'", "row"),
        ("s:each ?= 'x'", "row"),
        ("'a' = 'a'", ""),
        ("@request.context = 'realtime'", ""),
        ("@request.auth.id != ''", "auth"),
        ("@request.auth.a.b = ''", "auth"),
        ("@request.auth.a:each:lower = ''", "error"),
        ("@request.auth.a:each = ''", "auth"),
        ("@request.query.x = t:lower", "row query"),
        ("@request.headers.x:isset = true", "headers"),
        (
            "d > @now && (owner = @request.auth.id || j.x = 1)",
            "row auth clock",
        ),
        ("strftime('%Y', '2024-01-01') = ''", "clock"),
        (
            "geoDistance(g.lon, @request.query.lat, 1, 2) = 1",
            "row query",
        ),
    ] {
        let words = compile(rule).map_or("error".to_owned(), |predicate| {
            let needs = predicate.needs();
            let all = [
                ("row", needs.row),
                ("auth", needs.auth),
                ("query", needs.query),
                ("headers", needs.headers),
                ("clock", needs.clock),
            ];
            let needed = all.into_iter().filter(|(_, needed)| *needed);
            needed.map(|(word, _)| word).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(words, needs, "{rule}");
    }
}
