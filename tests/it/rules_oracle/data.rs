//! Values that make trouble: empty, alike, too large, not what they look like.

use super::chance::Chance;
use super::schema::{Column, Kind, Table, Target, quoted};

pub const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "abc",
    "aBc",
    "5",
    "5.0",
    " 5 ",
    "-1",
    "10",
    "10a",
    "1",
    "0",
    "true",
    "null",
    "é",
    "É",
    "a%c",
    "a_c",
    "%",
    "_",
    "\\",
    "a\\",
    "a\\%c",
    "2024",
    "[]",
    "日本",
    "it's",
    "\"q\"",
    "x,y/z?",
    "line\nfeed",
    "9007199254740993",
];
pub const INTS: &[&str] = &["0", "1", "-1", "2", "5", "10", "100", "2024"];
pub const BIG_INTS: &[&str] = &[
    "9007199254740993",
    "9007199254740992",
    "-9223372036854775808",
    "9223372036854775807",
];
pub const REALS: &[&str] = &[
    "0.1",
    "5.5",
    "-0.25",
    "1e15",
    "1e16",
    "1e21",
    "0.00001",
    "123456789.125",
    "0.3333333333333333",
];
const NUMERICS: &[&str] = &[
    "5.00",
    "1.50",
    "12345678901234567.00",
    "123456789012345678901234567890",
    "0.10000000000000000001",
];
const SPECIAL_REALS: &[&str] = &["'NaN'", "'Infinity'", "'-Infinity'"];
pub const MOMENTS: &[&str] = &[
    "2024-05-05 10:00:00.123456+00",
    "2024-05-05 00:00:00+00",
    "2023-12-31 23:59:59.999999+00",
    "2024-02-29 12:30:45.678+00",
    "2025-01-01 01:30:00+02",
];
pub const DAYS: &[&str] = &["2024-05-05", "2023-12-31", "2024-02-29"];
pub const JSONS: &[&str] = &[
    "null",
    "5",
    "5.0",
    "1.50",
    "\"5\"",
    "\"\"",
    "\"abc\"",
    "true",
    "false",
    "[]",
    "{}",
    "[1, \"a\", null]",
    "\"a%c\"",
    "{\"a\": 5, \"b\": [10, {\"a\": \"v\"}]}",
    "{\"a\": \"abc\", \"b\": \"1\"}",
    "{\"a\": null, \"lon\": 23.3, \"lat\": 42.7}",
    "{\"a\": true, \"alower\": \"key\", \"lon\": 23.5, \"lat\": -42}",
    "9007199254740993",
    "{\"b\": [{}, \"\"]}",
];
pub const UUIDS: &[&str] = &[
    "00000000-0000-0000-0000-000000000000",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12",
    "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13",
    "c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a14",
    "d0eebc99-9c0b-4ef8-bb6d-6bb9bd380a15",
    "e0eebc99-9c0b-4ef8-bb6d-6bb9bd380a16",
    "f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a17",
    "f1eebc99-9c0b-4ef8-bb6d-6bb9bd380a18",
];

/// Keys by kind, more than any table has rows; the first ones look empty.
fn key_text(kind: Kind, at: usize) -> String {
    const TEXT_KEYS: &[&str] = &["", "k1", "5", "é", "a%c", "0", "x,y/z?", "K1", "007"];
    match kind {
        Kind::Text => TEXT_KEYS[at % TEXT_KEYS.len()].to_owned(),
        Kind::Uuid => UUIDS[at % UUIDS.len()].to_owned(),
        Kind::Int8 if at == 3 => "9007199254740993".to_owned(),
        Kind::Int8 if at == 4 => "9007199254740992".to_owned(),
        _ => at.to_string(),
    }
}

/// Gives a table its rows; `counts` says how many each table has.
pub fn fill(chance: &mut Chance, table: &mut Table, at: usize, counts: &[usize]) {
    let mut pairs = Vec::new();
    for row in 0..counts[at] {
        let values: Vec<String> = (0..table.columns.len())
            .map(|column| value(chance, &table.columns[column], row, counts))
            .collect();
        let key: Vec<String> = table
            .key
            .iter()
            .map(|&column| values[column].clone())
            .collect();
        if !pairs.contains(&key) {
            pairs.push(key);
            table.rows.push(values);
        }
    }
}

/// The value of a column in the row at this place.
fn value(chance: &mut Chance, column: &Column, row: usize, counts: &[usize]) -> String {
    if let Some(target) = column.target {
        return related(chance, column, target, row, counts);
    }
    if column.unique {
        return quoted(&key_text(column.kind, row));
    }
    if !column.not_null && chance.percent(20) {
        return "null".to_owned();
    }
    match column.list {
        true => {
            let items = (0..chance.below(4)).map(|_| match chance.percent(10) {
                true => "null".to_owned(),
                false => scalar(chance, column.kind),
            });
            let items: Vec<_> = items.collect();
            format!("array[{}]::{}[]", items.join(", "), column.kind.sql())
        }
        false => scalar(chance, column.kind),
    }
}

fn related(
    chance: &mut Chance,
    column: &Column,
    target: Target,
    row: usize,
    counts: &[usize],
) -> String {
    let key = |at| quoted(&key_text(column.kind, at));
    let there = counts[target.table];
    if column.list {
        if chance.percent(15) {
            return "null".to_owned();
        }
        // Keys of nobody, keys twice, and no keys at all.
        let keys: Vec<String> = (0..chance.below(4))
            .map(|_| match chance.percent(10) {
                true => "null".to_owned(),
                false => key(chance.below(there + 2)),
            })
            .collect();
        return format!("array[{}]::{}[]", keys.join(", "), column.kind.sql());
    }
    if !column.not_null && chance.percent(30) || column.unique && row >= there {
        return "null".to_owned();
    }
    key(if column.unique {
        row
    } else {
        chance.below(there)
    })
}

fn scalar(chance: &mut Chance, kind: Kind) -> String {
    match kind {
        Kind::Text => quoted(chance.word(TEXTS)),
        Kind::Uuid => quoted(chance.word(UUIDS)),
        Kind::Int4 => chance.word(INTS).to_owned(),
        Kind::Int8 => {
            let numbers = *chance.pick(&[INTS, BIG_INTS]);
            quoted(chance.word(numbers))
        }
        Kind::Numeric => {
            let numbers = *chance.pick(&[INTS, NUMERICS, REALS, BIG_INTS]);
            chance.word(numbers).to_owned()
        }
        Kind::Float8 => {
            let numbers = *chance.pick(&[INTS, REALS, INTS, REALS, SPECIAL_REALS]);
            chance.word(numbers).to_owned()
        }
        Kind::Bool => (*chance.pick(&["true", "false"])).to_owned(),
        Kind::Timestamp | Kind::Date if chance.percent(5) => "'infinity'".to_owned(),
        Kind::Timestamp => quoted(chance.word(MOMENTS)),
        Kind::Date => quoted(chance.word(DAYS)),
        Kind::Json => quoted(chance.word(JSONS)),
    }
}
