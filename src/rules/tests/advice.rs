//! What is remarked about rules that compile, and what is not.

use super::world::{collection, compile};
use crate::rules::advise;

/// The first lines of all advice about a rule, and what each says to write.
fn about(rule: &str) -> Vec<(String, String)> {
    if let Err(error) = compile(rule) {
        panic!("{rule}: {error}");
    }
    let advice = advise(rule, &collection()).into_iter();
    advice
        .map(|one| (one.summary().to_owned(), one.instead().to_owned()))
        .collect()
}

#[test]
fn what_guests_pass_is_said_with_the_guard_that_keeps_them_out() {
    for (rule, said) in [
        (
            "owner = @request.auth.id",
            "for guests this holds where owner is empty",
        ),
        (
            "@request.auth.id = owner",
            "for guests this holds where owner is empty",
        ),
        (
            "t = 'x' && owner ?= @request.auth.id",
            "for guests this holds where owner is empty",
        ),
        (
            "s:each ?= @request.auth.id",
            "for guests this holds where s:each is empty",
        ),
        (
            "j.owner = @request.auth.id",
            "for guests this holds where j.owner is empty",
        ),
        (
            "@request.query.me = @request.auth.id",
            "for guests this holds where @request.query.me is empty",
        ),
        (
            "owner != @request.auth.id",
            "for guests this holds where owner is not empty",
        ),
        (
            "@request.auth.role != 'banned'",
            "this holds for every guest",
        ),
        (
            "@request.auth.role:each != 'banned'",
            "this holds for every guest",
        ),
        (
            "@request.auth.verified != true",
            "this holds for every guest",
        ),
        ("owner_no != @request.auth.id", "this holds for every guest"),
        ("@request.auth.nope = ''", "this holds for every guest"),
        (
            "null = @request.auth.nope.deep",
            "this holds for every guest",
        ),
        (
            "@request.auth.a = @request.auth.b",
            "this holds for every guest",
        ),
        // The guard is missing on one side of it.
        (
            "@request.auth.id != '' || owner = @request.auth.id",
            "for guests this holds where owner is empty",
        ),
    ] {
        let said_all = about(rule);
        let [(what, instead)] = &said_all[..] else {
            panic!("{rule}: {said_all:?}");
        };
        assert!(what.starts_with(said), "{rule}: {what}");
        assert!(
            instead.contains("@request.auth.id != \"\" &&"),
            "{rule}: {instead}"
        );
    }
}

#[test]
fn a_rule_that_no_guest_passes_is_left_alone() {
    for rule in [
        "@request.auth.id != '' && owner = @request.auth.id",
        "owner = @request.auth.id && '' != @request.auth.id",
        "@request.auth.id != null && (t = 'x' || owner = @request.auth.id)",
        "@request.auth.collectionName = 'members' && owner = @request.auth.id",
        "@request.auth.verified = true && @request.auth.role != 'banned'",
        "(@request.auth.role = 'a' || @request.auth.role = 'b') && owner = @request.auth.id",
        "t = 'x' || (@request.auth.id != '' && owner = @request.auth.id)",
        "@request.auth.id ~ 'a' && owner = @request.auth.id",
        // NULL is 0 in a column of numbers, and an id is never empty.
        "owner_no = @request.auth.id",
        "id = @request.auth.id",
        // It is for guests.
        "@request.auth.id = ''",
        "@request.auth.role = 'editor'",
        "t > @request.auth.name",
        "t = 'public'",
    ] {
        assert_eq!(about(rule), [], "{rule}");
    }
}

#[test]
fn comparisons_that_never_or_always_hold_are_told_with_what_to_write() {
    for (rule, said, instead) in [
        (
            "t = 5",
            "this never holds: t is text, and the number is compared as the text \"5.0\"",
            "Write: t = \"5\"",
        ),
        (
            "5 != t",
            "this always holds: t is text",
            "Write: \"5\" != t",
        ),
        (
            "id = 1",
            "this never holds: id is text",
            "Write: id = \"1\"",
        ),
        (
            "t > 5",
            "this is not the order of numbers: t is text",
            "Only a column of a number type",
        ),
        (
            "t = true",
            "t is text, and true is compared as the text \"1\"",
            "Write: t = \"true\"",
        ),
        (
            "d = '2024-05-05T10:00:00Z'",
            "dates are texts with a space",
            "Write, in UTC: d = \"2024-05-05 10:00:00.000Z\"",
        ),
        (
            "d >= '2024-05-05T10:00:00.5Z'",
            "dates are texts with a space",
            "Write, in UTC: d >= \"2024-05-05 10:00:00.5\"",
        ),
        (
            "d = '2024-05-05'",
            "this never holds: dates are texts like",
            "Write: d ~ \"2024-05-05\"",
        ),
        (
            "d != 'é'",
            "this always holds: dates are texts like",
            "Write: d !~ \"é\"",
        ),
        (
            "d = 2024",
            "this never holds: d is a date",
            "Write: d ~ \"2024\"",
        ),
        (
            "n = 'many'",
            "n is a number, 'many' is none",
            "Write a number.",
        ),
        (
            "n = null",
            "this never holds: n is a number, and never empty",
            "Write: n = 0",
        ),
        (
            "'' != n",
            "this always holds: n is a number, and never empty",
            "Write: 0 != n",
        ),
        (
            "b = 'true'",
            "this never holds: b is true or false, not a text",
            "Write: b = true",
        ),
        (
            "b = null",
            "this never holds: b is true or false, and never empty",
            "Write: b = false",
        ),
        (
            "s = 'a'",
            "this never holds: s is a list",
            "Write: s:each ?= 'a'",
        ),
        (
            "s ?!= 'a'",
            "this always holds: s is a list",
            "Write: s:each != 'a'",
        ),
        (
            "s = ''",
            "this never holds: s is a list",
            "Write: s:length = 0",
        ),
        (
            "s != null",
            "this always holds: s is a list",
            "Write: s:length > 0",
        ),
        (
            "ns = 5",
            "this never holds: ns is a list",
            "Write: ns:each ?= 5",
        ),
        (
            "@request.auth.id != '' && s = @request.auth.id",
            "this never holds: s is a list",
            "Write: s:each ?= @request.auth.id",
        ),
        (
            "owner ~ @request.auth.id",
            "~ also finds parts",
            "Write: (@request.auth.id != \"\" && owner = @request.auth.id)",
        ),
        (
            "s ~ @request.auth.id",
            "~ also finds parts",
            "Write: (@request.auth.id != \"\" && s:each ?= @request.auth.id)",
        ),
        (
            "j.x = '1'",
            "where j.x is a number in the JSON",
            "Write: j.x = 1",
        ),
        (
            "'1.5' < j.x",
            "where j.x is a number in the JSON",
            "Write: 1.5 < j.x",
        ),
        ("j = '5'", "where j is a number in the JSON", "Write: j = 5"),
        (
            "j.x != ''",
            "where j.x is missing this holds too",
            "Write: j.x != null",
        ),
        (
            "@request.query.x = 1",
            "this never holds: options are texts",
            "Write: @request.query.x = \"1\"",
        ),
        (
            "@request.headers.x > 0",
            "this is not the order of numbers: options are texts",
            "Only a column",
        ),
        (
            "@request.auth.id = 5",
            "this never holds: @request.auth.id is a text",
            "Write: @request.auth.id = \"5\"",
        ),
        (
            "@request.auth.verified = 'true'",
            "this never holds: @request.auth.verified is true or false",
            "Write: @request.auth.verified = true",
        ),
        (
            "t:lower = 'Abc'",
            "this never holds: t:lower has no capital letters",
            "Write: t:lower = 'abc'",
        ),
        ("1 = 1", "this always holds", "Leave it out."),
        ("1 > '0'", "this never holds", "Leave it out."),
        ("null > 1", "this never holds", "Leave it out."),
        (
            "t:length = 3",
            "t:length has no :length, so this is the same as t",
            "Write: t",
        ),
        ("j:each = 'a'", "j:each has no :each", "Write: j"),
        ("t:isset = true", "t:isset has no :isset", "Write: t"),
        ("id:each = 'a'", "id:each has no :each", "Write: id"),
        (
            "@request.auth.id:length = 1",
            "@request.auth.id:length has no :length",
            "Write: @request.auth.id",
        ),
        (
            "j.y:lower = 'a'",
            "inside JSON there are no modifiers",
            "Write: j.ylower",
        ),
        (
            "t = 'a' || t = 'b' && n = 1",
            "&& binds tighter than ||",
            "Write what it means: t = \"a\" || (t = \"b\" && n = 1)",
        ),
        (
            "t = 'x' && (n = 1 && b = true || t = 'a')",
            "&& binds tighter than ||",
            "Write what it means: t = \"x\" && ((n = 1 && b = true) || t = \"a\")",
        ),
    ] {
        let said_all = about(rule);
        let [(what, advised)] = &said_all[..] else {
            panic!("{rule}: {said_all:?}");
        };
        assert!(what.starts_with(said), "{rule}: {what}");
        assert!(advised.starts_with(instead), "{rule}: {advised}");
    }
}

#[test]
fn what_is_plainly_meant_is_left_alone() {
    for rule in [
        "t = '5' && n = 5 && n = '5' && b = false && b = 1",
        "d > '2025' && d >= '2024-05-05' && d ~ '2024' && d = '2024-05-05 10:00:00.000Z'",
        "d > 2023 && d < @now && d != '' && d = null",
        "s = '[]' && s:length = 0 && s:each ?= 'a' && s ~ 'a' && s = s2",
        "j = null && j.x = 1 && j.x = 'a' && j.x = '' && j = '[]' && j.x != null",
        "@request.query.n = 7 && @request.query.x = '7' && @request.query.x:isset = true",
        "t:lower = 'abc' && t:lower ~ 'ABC' && t ~ 5",
        "t = 'a' || (t = 'b' && n = 1)",
        "(t = 'a' || t = 'b') && (n = 1 || n = 2)",
        "t = 'a || b && c' && owner != 'x' // || nothing",
        "strftime('%Y', d) = '2024' || geoDistance(n, 1, 2, 3) < 5",
    ] {
        assert_eq!(about(rule), [], "{rule}");
    }
}

/// Whoever follows advice shall not be advised again.
#[test]
fn what_is_advised_compiles_and_needs_no_advice() {
    for rule in [
        "owner = @request.auth.id",
        "t = 'x' && owner ?= @request.auth.id",
        "@request.auth.role != 'banned'",
        "t = 5",
        "5 != t",
        "t = true",
        "d = '2024-05-05T10:00:00Z'",
        "d = '2024-05-05'",
        "d = 2024",
        "n = null",
        "b = 'true'",
        "s = 'a'",
        "s ?!= 'a'",
        "s = ''",
        "s != null",
        "s ~ @request.auth.id",
        "j.x = '1'",
        "j.x != ''",
        "@request.query.x = 1",
        "@request.auth.verified = 'true'",
        "t:lower = 'Abc'",
        "t = 'a' || t = 'b' && n = 1",
    ] {
        for (what, instead) in about(rule) {
            let (_, text) = instead.split_once(": ").expect("a text to write");
            assert_eq!(about(text), [], "{rule}: {what}");
        }
    }
}

#[test]
fn advice_shows_the_place_like_an_error() {
    let advice = advise("t = 'x' &&\n  owner = @request.auth.id", &collection());
    let [one] = &advice[..] else {
        panic!("{advice:?}");
    };
    assert_eq!((one.line(), one.column()), (2, 3));
    assert!(one.is_about_guests());
    assert_eq!(
        one.to_string(),
        "for guests this holds where owner is empty, because @request.auth.id is empty for them (line 2, column 3)\n\
         \x20     owner = @request.auth.id\n\
         \x20     ^^^^^^^^^^^^^^^^^^^^^^^^\n\
         Write: (@request.auth.id != \"\" && owner = @request.auth.id)"
    );
    assert_eq!(advise("t ==", &collection()), []);
    let many = vec!["t = 5"; 200].join(" || ");
    assert_eq!(advise(&many, &collection()).len(), 20);
}
