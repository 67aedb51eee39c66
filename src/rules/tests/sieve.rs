//! What is found without asking about every pair, and that nothing is missed.

use std::collections::hash_map::RandomState;

use super::world::{Asking, collection, compile, compile_for, image, rows};
use crate::event::{RecordId, RowImage};
use crate::rules::{Demand, KeySpace, Row, RuleUse, Sieve};

/// Calls `visit` with the letter of each row and the row.
fn each_row(mut visit: impl FnMut(char, Row<'_>)) {
    let collection = collection();
    for (letter, values) in rows() {
        let image: RowImage = image(&collection, &values);
        let id = RecordId(values["id"].to_string().into());
        let row = Row {
            collection: &collection,
            id: &id,
            image: &image,
            deleted_by: None,
        };
        visit(letter, row);
    }
}

/// The letters of the rows that find somebody, `*` for all; panics if one is missed.
fn finding(rule: &str, asking: &Asking) -> String {
    let predicate = compile(rule).unwrap_or_else(|error| panic!("{rule}\n{error}"));
    let Some(sieve) = Sieve::of(&predicate) else {
        return "*".to_owned();
    };
    let space = KeySpace {
        hasher: &RandomState::new(),
        number: 7,
    };
    let request = asking.context();
    let (mut found, nobody) = (String::new(), Asking::guest());
    each_row(|letter, row| {
        let (mut own, mut sought) = (Vec::new(), Vec::new());
        let asked = sieve.asker_keys(row, &request, space, &mut own);
        let mut blind = nobody.context();
        blind.now = request.now;
        let looked = sieve.row_keys(row, &blind, space, &mut sought);
        let is_found =
            asked.is_err() || looked.is_err() || own.iter().any(|key| sought.contains(key));
        found.extend(is_found.then_some(letter));
        let passes = predicate.decide(row, &request) == Ok(true);
        assert!(is_found || !passes, "{rule} misses {letter}");
    });
    found
}

#[test]
fn rows_and_those_who_ask_find_each_other_by_what_must_be_equal() {
    let mut wrong = Vec::new();
    for (rule, by_user, by_guest) in [
        ("owner = @request.auth.id", "AC", "DE"),
        ("@request.auth.id ?= owner", "AC", "DE"),
        // Of an `&&`, one part finds and others hold back.
        ("owner = @request.auth.id && n > 0", "A", "D"),
        ("owner = @request.auth.id && t ~ 'b'", "A", ""),
        (
            "@request.auth.id != '' && owner = @request.auth.id",
            "AC",
            "",
        ),
        ("@request.auth.role = 'nobody' && n > 0", "", ""),
        (
            "owner != @request.auth.id && owner:lower = @request.auth.id",
            "AC",
            "DE",
        ),
        // Of an `||`, every part has to be understood.
        ("t = '5' || owner = @request.auth.id", "ACD", "DE"),
        (
            "@request.auth.role = 'editor' || owner = @request.auth.id",
            "ABCDE",
            "DE",
        ),
        (
            "n < @request.auth.level || owner = @request.auth.id",
            "*",
            "*",
        ),
        (
            "(n < @request.auth.level || n = 1) && owner = @request.auth.id",
            "AC",
            "DE",
        ),
        ("(t = 'zzz' || owner = @request.auth.id) && n > 5", "B", "B"),
        // Numbers, lists, parts of JSON, options.
        ("n = @request.auth.level", "A", ""),
        ("owner_no = @request.auth.id", "", ""),
        ("s:each ?= @request.auth.id", "", "E"),
        ("@request.auth.roles:each ?= t", "", "E"),
        ("j.x = @request.auth.ratio", "", "BCDE"),
        ("u = @request.query.id", "B", "B"),
        ("ns:each ?= @request.query.x", "AC", "AC"),
        ("t:lower = @request.query.a:lower", "A", "A"),
        ("@request.auth.realm.no ?= ns:each", "C", "DE"),
        // What says nothing about being equal.
        ("owner != @request.auth.id", "*", "*"),
        ("owner ~ @request.auth.id", "*", "*"),
        ("@now > @request.auth.until", "*", "*"),
        // What is about rows alone is tried once.
        ("t = 'Abc' && d < @now", "A", "A"),
    ] {
        let found = [Asking::user(), Asking::guest()].map(|asking| finding(rule, &asking));
        if found != [by_user, by_guest] {
            wrong.push(format!("{rule}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn filters_are_found_by_the_constants_that_they_demand() {
    let hasher = RandomState::new();
    let space = KeySpace {
        hasher: &hasher,
        number: 1,
    };
    for (filter, found) in [
        ("owner = 'u1'", "AC"),
        ("'u1' = owner && n > 0", "AC"),
        ("owner = 'u2' || t = '5'", "BD"),
        ("n = 5", "A"),
        ("s:each ?= 'b'", "ABC"),
        ("t:lower = 'abc'", "A"),
        ("owner = null", "DE"),
        ("n > 5", "*"),
        ("owner = 'u1' || n > 5", "*"),
        ("owner = t", "*"),
        ("d = @now", "*"),
    ] {
        let predicate = compile_for(&collection(), filter, RuleUse::Filter).expect("a filter");
        let Some(demands) = Demand::of(&predicate) else {
            assert_eq!(found, "*", "{filter}");
            continue;
        };
        let asking = Asking::guest();
        let request = asking.context();
        let mut letters = String::new();
        each_row(|letter, row| {
            let is_met = |demand: &Demand| {
                let mut keys = Vec::new();
                let read = demand.side.keys(row, &request, space, &mut keys);
                read.is_ok() && keys.contains(&demand.key(space))
            };
            let is_found = demands.iter().any(is_met);
            letters.extend(is_found.then_some(letter));
            let passes = predicate.decide(row, &request) == Ok(true);
            assert!(is_found || !passes, "{filter} misses {letter}");
        });
        assert_eq!(letters, found, "{filter}");
    }
}

#[test]
fn lists_of_any_length_find_and_are_found() {
    let collection = collection();
    let many: Vec<String> = (0..3_000).map(|n| format!("i{n}")).collect();
    let image = image(
        &collection,
        &serde_json::json!({"id": 1, "s": many, "t": "u1"}),
    );
    let row = Row {
        collection: &collection,
        id: &RecordId("1".into()),
        image: &image,
        deleted_by: None,
    };
    let hasher = RandomState::new();
    let space = KeySpace {
        hasher: &hasher,
        number: 1,
    };
    let asking = Asking::user();
    let mut keys = Vec::new();
    let filter = compile_for(&collection, "s:each ?= 'i2999'", RuleUse::Filter).expect("a filter");
    let demands = Demand::of(&filter).expect("demands");
    let read = demands[0]
        .side
        .keys(row, &asking.context(), space, &mut keys);
    assert!(read.is_ok() && keys.contains(&demands[0].key(space)));
    // Of a rule, so many would be looked up for each of its ways: rather everybody is asked.
    let rule = compile("s:each ?= @request.auth.id").expect("a rule");
    let sieve = Sieve::of(&rule).expect("a sieve");
    let read = sieve.row_keys(row, &asking.context(), space, &mut keys);
    assert!(read.is_err());
}

#[test]
fn the_same_side_of_different_filters_is_one() {
    let side = |filter: &str| {
        let predicate = compile_for(&collection(), filter, RuleUse::Filter).expect("a filter");
        let mut demands = Demand::of(&predicate).expect("demands");
        demands.remove(0).side
    };
    assert_eq!(
        side("s2:each ?= 'a' && s:each ?= 'b'"),
        side("s2:each ?= 'c'")
    );
    assert_eq!(side("n > 0 && owner = 'a'"), side("'b' = owner"));
    assert_ne!(side("owner = 'a'"), side("t = 'a'"));
    assert_ne!(side("s:each ?= 'a'"), side("s2:each ?= 'a'"));
}
