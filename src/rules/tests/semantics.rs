//! Sections 5.4 to 5.10: what expressions mean.

use serde_json::json;

use super::world::{Asking, check, decide_row};
use crate::rules::Undecidable;

const ALL: &str = "ABCDE";

#[test]
fn equality_knows_null_and_empty() {
    check(
        &Asking::guest(),
        &[
            ("t = ''", "E"),
            ("t = null", "E"),
            ("t = \"\"", "E"),
            ("t != ''", "ABCD"),
            ("t != null", "ABCD"),
            ("t != 'Abc'", "BCDE"),
            ("n = ''", ""),
            ("n = null", ""),
            ("n != null", ALL),
            ("n = 0", "E"),
            ("b = null", ""),
            ("b = false", "BCE"),
            ("b != true", "BCE"),
            ("j = null", "E"),
            ("j = ''", ""),
            ("j != null", "ABCD"),
            ("j.missing = null", ALL),
            ("j.missing = ''", ""),
            ("j.missing != ''", ALL),
            ("j.z = null", ALL),
            ("'' = null", ALL),
            ("null != ''", ""),
            ("null = NULL", ALL),
            ("null = 'x'", ""),
            ("null != 'x'", ALL),
            ("t = u", "E"),
            ("n = m", "AE"),
            ("n = u", ""),
            ("t != u", "ABCD"),
        ],
    );
}

#[test]
fn guests_are_empty() {
    check(
        &Asking::guest(),
        &[
            ("owner = @request.auth.id", "DE"),
            ("owner != @request.auth.id", "ABC"),
            ("@request.auth.role != \"banned\"", ALL),
            ("@request.auth.id != ''", ""),
            ("@request.auth.id = ''", ALL),
            ("@request.auth.nope = \"\"", ALL),
            ("@request.auth.verified = false", ""),
            ("@request.auth.verified != false", ALL),
            ("@request.auth.id ~ ''", ""),
            ("@request.auth.id !~ 'x'", ""),
            ("@request.auth.id < 'z'", ""),
            ("@request.auth.id <= ''", ""),
            ("@request.auth.id > ''", ""),
            ("@request.auth.id >= null", ""),
            ("t ~ @request.auth.id", ""),
            ("t !~ @request.auth.id", ""),
            ("@request.auth.team.name = ''", ALL),
            ("@request.auth.roles:each = ''", ALL),
            ("@request.auth.roles:length = 0", ""),
        ],
    );
}

#[test]
fn principals_bring_their_values() {
    check(
        &Asking::user(),
        &[
            ("owner = @request.auth.id", "AC"),
            ("owner != @request.auth.id", "BDE"),
            ("@request.auth.id = 'u1'", ALL),
            ("@request.auth.collectionName = 'users'", ALL),
            ("@request.auth.collectionId = 'pbc_2'", ALL),
            ("@request.auth.email ~ '@b.'", ALL),
            ("@request.auth.verified = true", ALL),
            ("@request.auth.emailVisibility = false", ALL),
            ("@request.auth.role = 'editor'", ALL),
            ("@request.auth.role:lower = 'editor'", ALL),
            ("@request.auth.role != 'banned'", ALL),
            ("@request.auth.nope = ''", ALL),
            ("@request.auth.nothing = null", ALL),
            ("@request.auth.blank = ''", ALL),
            ("@request.auth.level = '5'", ALL),
            ("@request.auth.level = n", "A"),
            ("@request.auth.level > n", "CDE"),
            ("@request.auth.ratio ~ '2'", ALL),
            ("@request.auth.ratio = 2", ALL),
            ("@request.auth.staff = true", ALL),
            ("@request.auth.roles = '[\"editor\",\"writer\"]'", ALL),
            ("@request.auth.roles:each ?= 'writer'", ALL),
            ("@request.auth.roles:each = 'writer'", ""),
            ("@request.auth.roles:length = 2", ALL),
            ("@request.auth.none:length = 0", ALL),
            ("@request.auth.role:length = 'editor'", ALL),
            ("@request.auth.realm.name = 'R'", ALL),
            ("@request.auth.realm.no = '3'", ""),
            ("@request.auth.realm.roles.1 = 'b'", ALL),
            ("@request.auth.realm.missing = null", ALL),
            // The modifier means nothing there, and is ignored.
            ("@request.auth.id:isset = 'u1'", ALL),
            ("@request.auth.id:isset = true", ""),
            ("s:each ?= @request.auth.roles:each", ""),
        ],
    );
}

#[test]
fn types_compare_as_in_sqlite() {
    check(
        &Asking::guest(),
        &[
            ("n = '5'", "A"),
            ("n = ' 5.0 '", "A"),
            ("n > '4'", "AB"),
            ("b = '1'", "AD"),
            ("b = 'true'", ""),
            ("n > '10a'", ""),
            ("n < '10a'", ALL),
            ("t = 5", ""),
            ("t = '5'", "D"),
            ("t > 5", "AB"),
            ("t > 4", "ABD"),
            ("d > 2023", "AC"),
            ("d > 2023.5", "AC"),
            ("n = true", ""),
            ("m = true", "D"),
            ("true = 1", ALL),
            ("t = true", ""),
            ("true = '1'", ""),
            ("1 < '0'", ALL),
            ("j.x = '1'", ""),
            ("j.x = 1", "A"),
            ("j.num = '1'", "A"),
            ("j.num = 1", ""),
            // A column has its say about JSON, too.
            ("j.num = m", ""),
            ("j.x > '0'", ""),
            ("j.f = 1.5", "A"),
            ("j.yes = 1", "A"),
            ("j.yes = true", "A"),
            ("strftime('%s', d) > 1", "ABC"),
            ("t = 'abc'", ""),
            ("t = 'Abc'", "A"),
            ("'10' > '9'", ""),
            ("u > '9'", "A"),
            ("d > '2025'", "C"),
            ("d >= '2024-05-05'", "AC"),
            ("d ~ '2024'", "A"),
            ("d = '2024-05-05T10:00:00.000Z'", ""),
            ("d = '2024-05-05 10:00:00.000Z'", "A"),
            ("d <= '2025-12-31 23:59:59.999Z'", ALL),
            ("d = ''", "DE"),
            ("s = '[\"a\",\"b\"]'", "A"),
            ("s = 'a'", ""),
            ("s = ''", ""),
            ("s = '[]'", "E"),
            ("s ~ 'a'", "ACD"),
            ("ns = '[1,2]'", "A"),
            ("ds ~ '2024-05-05 00:00:00.000Z'", "A"),
            ("j = 5", "B"),
            ("j = 'text'", "C"),
            ("j = '[]'", "D"),
            ("j.list = '[]'", "A"),
            ("j.arr.0 = 10", "A"),
            ("j.arr.1.k = 'v'", "A"),
            ("j.arr.1 = '{\"k\":\"v\"}'", "A"),
            ("j.arr.2 = null", ALL),
            ("g.lon > 23", "AB"),
            ("g ~ '42.7001'", "B"),
            ("n = 1.5", "D"),
            ("n ~ '1.5'", "D"),
            ("id = '1'", "A"),
            ("id = 1", ""),
            ("id != '1'", "BCDE"),
            ("TRUE = 1", ALL),
            ("False = 0", ALL),
        ],
    );
}

#[test]
fn options_are_texts_unless_named_like_numbers() {
    check(
        &Asking::guest(),
        &[
            ("@request.query.n = 7", ALL),
            ("@request.query.x = 1", ""),
            ("@request.query.x = '1'", ALL),
            ("@request.query.x > 0", ALL),
            ("@request.query.id = '5'", ALL),
            ("@request.query.e = ''", ALL),
            ("@request.query.e <= 'a'", ALL),
            ("@request.query.e = null", ALL),
            ("@request.query.missing = ''", ALL),
            ("@request.query.missing <= 'a'", ""),
            ("@request.query.x.y = null", ALL),
            ("@request.query.x.y:isset = true", ""),
            ("@request.query.e:isset = true", ALL),
            ("@request.query.missing:isset = false", ALL),
            ("@request.query.a:lower = 'abc'", ALL),
            ("t ~ @request.query.a", "A"),
            ("t:lower = @request.query.a:lower", "A"),
            ("@request.headers.x_token = 'secret'", ALL),
            ("@request.headers.x_token:isset = true", ALL),
            ("@request.context = 'realtime'", ALL),
            ("@request.method = 'GET'", ALL),
            ("@request.body.t = null", ALL),
            ("@request.body.t:isset = false", ALL),
            ("@request.body.t:changed = false", ALL),
            ("@request.body.s:length = 0", ALL),
            ("@request.body.s:each = ''", ALL),
            ("@request.body.t:lower = ''", ALL),
            ("@request.body.any.path = ''", ALL),
        ],
    );
}

#[test]
fn like_contains_or_follows_the_pattern() {
    check(
        &Asking::guest(),
        &[
            ("t ~ 'B'", "A"),
            ("t ~ 'a%c'", "A"),
            ("t ~ 'a_c'", ""),
            ("t ~ '%a_c'", "A"),
            ("t ~ '_'", "C"),
            ("t ~ '\\%_'", "C"),
            ("t ~ '0%'", ""),
            ("t ~ '10%'", "C"),
            ("t !~ 'b'", "BCDE"),
            ("t ~ ''", ALL),
            ("t !~ ''", ""),
            ("t ~ null", ""),
            ("t !~ null", ""),
            ("null ~ 'a'", ""),
            ("null !~ 'a'", ""),
            ("'É' ~ 'é'", ""),
            ("'É' ~ 'É'", ALL),
            ("n ~ 1", "BCD"),
            ("m ~ 1", "BCD"),
            ("n ~ 1.0", "BCD"),
            ("5 ~ '5.0'", ALL),
            ("true ~ 1", ALL),
            ("t ~ t", "ABDE"),
            ("'abc' ~ u", "AE"),
            ("j.y ~ 'yes'", "A"),
            ("j.missing !~ 'x'", ""),
        ],
    );
}

#[test]
fn and_binds_tighter_than_or() {
    check(
        &Asking::guest(),
        &[
            ("t='Abc' || t='zzz' && n=0", "A"),
            ("(t='Abc' || t='zzz') && n=0", ""),
            ("n=0 && t='zzz' || t='Abc'", "A"),
            ("t='Abc' || t='zzz' || n=0", "ABE"),
        ],
    );
}

#[test]
fn modifiers_change_what_a_name_means() {
    check(
        &Asking::guest(),
        &[
            ("s:length = 2", "A"),
            ("s:length > 0", "ABCD"),
            ("s:length = '2'", ""),
            ("s:length = 0", "E"),
            ("t:lower = 'abc'", "A"),
            ("n:lower = '5'", "A"),
            ("n:lower = 5", ""),
            ("b:lower = '1'", "AD"),
            ("s:lower = '[\"abc\"]'", "D"),
            ("j.y:lower = 'key'", "A"),
            ("j:lower = 'text'", "C"),
            // Known, but not for this kind of field: ignored.
            ("t:length = 3", ""),
            ("t:length = '5'", "D"),
            ("j:length = 5", "B"),
            ("n:each = 5", "A"),
            ("t:isset = 'Abc'", "A"),
            ("t:changed = 'Abc'", "A"),
            ("id:lower = '1'", "A"),
        ],
    );
}

#[test]
fn comparisons_of_lists_need_one_item_or_all() {
    check(
        &Asking::guest(),
        &[
            ("s:each = 'b'", "B"),
            ("s:each ?= 'b'", "ABC"),
            ("s:each != 'c'", "ABDE"),
            ("s:each ?!= 'b'", "ACDE"),
            ("ns:each > 1", "B"),
            ("ns:each ?> 1", "ABC"),
            ("ns:each < 3", "AB"),
            ("s:each = ''", "E"),
            ("s:each = s:each", "BDE"),
            ("s:each ?= s:each", ALL),
            ("s:each = s2:each", "BE"),
            ("s:each ?= s2:each", "ABE"),
            // The same list is the same item.
            ("s:each ?= 'a' && s:each ?= 'b'", ""),
            ("s:each ?= 'a' || s:each ?= 'b'", "ABC"),
            (
                "(s:each ?= 'a' || n = 10) && (s:each ?= 'b' || t = 'Abc')",
                "AB",
            ),
            ("s:each ?= 'a' && s2:each ?= 'b'", "A"),
            ("s:each != 'c' && s:each ?= 'a'", "A"),
            ("s:each ~ 'b'", "BD"),
            ("s:each ?~ 'b'", "ABCD"),
            ("ds:each = '2024-05-05 00:00:00.000Z'", "A"),
            ("ns:each = '1'", ""),
            // On single values the question mark means nothing.
            ("t ?= 'Abc'", "A"),
            ("n ?> 4", "AB"),
            ("t ?~ 'b' && t ?!~ 'z'", "A"),
            ("t ?!= 'Abc'", "BCDE"),
            ("n ?>= 10", "B"),
            ("n ?< 0", "C"),
            ("n ?<= 0", "CE"),
        ],
    );
}

#[test]
fn macros_are_texts_or_numbers() {
    check(
        &Asking::guest(),
        &[
            ("d < @now", "ABDE"),
            ("d >= @todayStart && d <= @todayEnd", "A"),
            ("d ~ @year", "A"),
            ("@year = 2024", ALL),
            ("@month = 5", ALL),
            ("@weekday = 0", ALL),
            ("@now = '2024-05-05 12:30:45.678Z'", ALL),
            ("'2024' = @year", ""),
            ("n = @day", "A"),
        ],
    );
}

#[test]
fn functions_compute() {
    check(
        &Asking::guest(),
        &[
            ("geoDistance(g.lon, g.lat, 23.3, 42.7001) < 0.001", "B"),
            ("geoDistance(g.lon, g.lat, 23.32, 42.70) < 25", "AB"),
            ("geoDistance(g.lon, g.lat, 0, 0) = null", "CDE"),
            (
                "geoDistance(1, 2, 3, 4,) > 314 && geoDistance(1, 2, 3, 4) < 315",
                ALL,
            ),
            ("geoDistance(s:each, n, 3, 4) = null", ALL),
            ("geoDistance(ns:each, 0, 2, 0) < 1", "ABC"),
            ("strftime('%Y', d) = '2024'", "A"),
            ("strftime('%Y', d) = ''", "DE"),
            ("strftime('%Y', d) != '2024'", "BCDE"),
            ("strftime('%Y') = '2024'", ALL),
            (
                "strftime('%Y-%m-%d', '2024-01-31', '+1 month', 'start of month') = '2024-03-01'",
                ALL,
            ),
            ("strftime('%s', 0, 'unixepoch') = '0'", ALL),
            ("strftime('%Y', ds:each) = '2024'", "A"),
            ("strftime('%Y', @now) = @request.query.x", ""),
            ("strftime('%H:%M', 'now') = '12:30'", ALL),
            ("strftime( '%Y' , // the year\n d ) = '2024'", "A"),
        ],
    );
}

#[test]
fn what_cannot_be_known_is_an_error() {
    let user = Asking::user();
    for rule in [
        "@request.auth.team.name != 'x'",
        "@request.auth.role.name = ''",
        "@request.auth.roles.name != 'x'",
    ] {
        let decided = decide_row(rule, &json!({"id": 1}), &user);
        let error = decided.expect_err(rule);
        assert!(
            matches!(error, Undecidable::AuthPath { .. }),
            "{rule}: {error}"
        );
    }
    let lone = json!({"id": 1, "j": r#"raw:"\ud800""#});
    let decided = decide_row("j != 'x'", &lone, &user);
    let name = "j".to_owned();
    assert_eq!(decided, Err(Undecidable::Unreadable { name }));
}

#[test]
fn a_part_that_decides_spares_the_others() {
    let user = Asking::user();
    let rule = "t = '' || @request.auth.team.name = 'x'";
    assert_eq!(decide_row(rule, &json!({"id": 1}), &user), Ok(true));
}

#[test]
fn numbers_keep_all_their_digits() {
    let guest = Asking::guest();
    for (value, rule, expected) in [
        ("raw:9007199254740993", "n = '9007199254740993'", true),
        ("raw:9007199254740993", "n = '9007199254740992'", false),
        (
            "raw:12345678901234567.00",
            "n:lower = '12345678901234567'",
            true,
        ),
        ("raw:5.00", "n:lower = '5'", true),
        ("raw:1e3", "n:lower = '1000'", true),
        ("raw:1e400", "n > 0", true),
        ("raw:\"NaN\"", "n > 99999", true),
        ("raw:\"NaN\"", "n = 'NaN'", true),
        ("raw:\"-Infinity\"", "n < 0", true),
        ("raw:\"16384\"", "n = 16384", true),
        ("raw:0.1", "n:lower = '0.1'", true),
    ] {
        let decided = decide_row(rule, &json!({"id": 1, "n": value}), &guest);
        assert_eq!(decided, Ok(expected), "{value} {rule}");
    }
}
