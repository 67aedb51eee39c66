//! Values of every built-in type, at their extremes and absent, as valid JSON in PocketBase's formats.

use serde_json::{Value, json};

use crate::support::feed::text;
use crate::support::{Event, Feed};

fn value(event: &Event) -> Value {
    event.change().1["v"].take()
}

#[tokio::test]
async fn values_have_the_contracts_formats() {
    let columns = [
        ("smallint", "-32768", json!(-32768)),
        (
            "bigint",
            "9223372036854775807",
            json!(9223372036854775807_i64),
        ),
        ("real", "1.5e-5", json!(0.000015)),
        ("double precision", "'NaN'", json!("NaN")),
        ("double precision", "'-Infinity'", json!("-Infinity")),
        ("double precision", "1e300", json!(1e300)),
        ("numeric", "1.500", json!(1.5)),
        ("numeric", "'NaN'", json!("NaN")),
        ("numeric", "'Infinity'", json!("Infinity")),
        ("numeric(6,2)", "5", json!(5)),
        ("boolean", "true", json!(true)),
        (
            "text",
            r#"E'line\nbreak\u2028<&>"\\'"#,
            json!("line\nbreak\u{2028}<&>\"\\"),
        ),
        ("varchar(10)", "''", json!("")),
        ("char(4)", "'a'", json!("a   ")),
        ("name", "'n'", json!("n")),
        ("\"char\"", "'c'", json!("c")),
        (
            "uuid",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("bytea", r"'\x00ff'", json!("\\x00ff")),
        ("date", "'2024-02-29'", json!("2024-02-29 00:00:00.000Z")),
        ("date", "'infinity'", json!("infinity")),
        ("date", "'0044-03-15 BC'", json!("0044-03-15 BC")),
        (
            "timestamp",
            "'2024-02-29 10:00:00.123999'",
            json!("2024-02-29 10:00:00.123Z"),
        ),
        (
            "timestamptz",
            "'2024-02-29 10:00:00.123999+02'",
            json!("2024-02-29 08:00:00.123Z"),
        ),
        ("timestamptz", "'-infinity'", json!("-infinity")),
        ("time", "'10:00:00.5'", json!("10:00:00.5")),
        ("timetz", "'10:00+02'", json!("10:00:00+02")),
        ("interval", "'1 year 2 days'", json!("1 year 2 days")),
        (
            "json",
            "E'{\"b\" : 1.50,\\n \"a\":[ 1,\\t2 ], \"a\":3}'",
            json!({"b": 1.50, "a": 3}),
        ),
        (
            "jsonb",
            "E'{\"b\" : 1,\\n \"a\":[ 1,\\t2 ]}'",
            json!({"b": 1, "a": [1, 2]}),
        ),
        ("jsonb", "'null'", json!(null)),
        ("json", "'\"text\"'", json!("text")),
        ("xml", "E'<a>\\n</a>'", json!("<a>\n</a>")),
        ("inet", "'::1/128'", json!("::1")),
        ("cidr", "'10.0.0.0/8'", json!("10.0.0.0/8")),
        ("macaddr", "'08:00:2b:01:02:03'", json!("08:00:2b:01:02:03")),
        ("bit(3)", "B'101'", json!("101")),
        ("varbit", "B'1'", json!("1")),
        ("point", "'(1,2)'", json!("(1,2)")),
        ("polygon", "'((0,0),(1,1))'", json!("((0,0),(1,1))")),
        ("circle", "'<(0,0),1>'", json!("<(0,0),1>")),
        ("tsvector", "'a b'", json!("'a' 'b'")),
        ("tsquery", "'a & b'", json!("'a' & 'b'")),
        ("oid", "42", json!(42)),
        ("pg_lsn", "'0/1'", json!("0/1")),
        ("int4range", "'[1,5)'", json!("[1,5)")),
        ("int4range", "'empty'", json!("empty")),
        ("int4multirange", "'{[1,5),[7,9)}'", json!("{[1,5),[7,9)}")),
        (
            "tstzrange",
            "'[2024-01-01T00:00:00Z,)'",
            json!("[\"2024-01-01 00:00:00+00\",)"),
        ),
        ("integer[]", "'{1,null,3}'", json!([1, null, 3])),
        ("integer[]", "'{{1,2},{3,4}}'", json!([[1, 2], [3, 4]])),
        ("integer[]", "'[0:1]={1,2}'", json!([1, 2])),
        ("integer[]", "'{}'", json!([])),
        (
            "text[]",
            r#"E'{"a\nb","{}",null,NULL,"null"}'"#,
            json!(["a\nb", "{}", null, null, "null"]),
        ),
        (
            "timestamptz[]",
            "'{2024-02-29T10:00:00+02}'",
            json!(["2024-02-29 08:00:00.000Z"]),
        ),
        (
            "jsonb[]",
            r#"array['{"a":1}','[1]','null']::jsonb[]"#,
            json!([{"a": 1}, [1], null]),
        ),
        ("numeric[]", "'{1.50,NaN}'", json!([1.5, "NaN"])),
        ("boolean[]", "'{t,f,null}'", json!([true, false, null])),
        ("int4range[]", "'{\"[1,5)\"}'", json!(["[1,5)"])),
        ("mood", "'very happy'", json!("very happy")),
        ("mood[]", "'{very happy}'", json!(["very happy"])),
        ("positive", "5", json!(5)),
        (
            "stamps",
            "'{2024-02-29}'",
            json!(["2024-02-29 00:00:00.000Z"]),
        ),
        ("pair", "row(1, 'x')", json!({"a": 1, "b": "x"})),
        (
            "pair[]",
            "array[row(1, 'x')::pair]",
            json!([{"a": 1, "b": "x"}]),
        ),
    ];
    let tables: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(at, (kind, ..))| {
            format!("create table t{at} (id integer primary key, v {kind}); select rowcast.attach('t{at}', list_rule => '');")
        })
        .collect();
    let mut feed = Feed::open(
        &format!(
            "create type mood as enum ('very happy'); create domain positive as numeric check (value > 0);
             create domain stamps as date[]; create type pair as (a integer, b text); {}",
            tables.join("\n")
        ),
        &["*"],
    )
    .await;
    let writes: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(at, (_, value, _))| {
            format!(
                "insert into t{at} values (1, {value}), (2, null); delete from t{at} where id = 2;"
            )
        })
        .collect();
    feed.run(&writes.join("\n")).await;
    feed.mark().await;
    let events = feed
        .stream
        .next_events(columns.len() * 3, crate::support::DEADLINE)
        .await;
    for ((kind, written, expected), events) in columns.iter().zip(events.chunks(3)) {
        assert_eq!(value(&events[0]), *expected, "{kind} {written}");
        assert!(
            !events[0].data.contains(['\n', '\r', '\u{2028}']),
            "{}",
            events[0].data
        );
        let empty = value(&events[1]);
        let allowed = match expected {
            Value::Array(_) => json!([]),
            _ if kind.starts_with("json") || *kind == "pair" => json!(null),
            Value::Bool(_) => json!(false),
            Value::Number(_) => json!(0),
            _ if ["double precision", "numeric"].contains(kind) => json!(0),
            _ => json!(""),
        };
        assert_eq!(empty, allowed, "null of {kind}");
        assert_eq!(value(&events[2]), allowed, "null of {kind}, deleted");
    }
}

#[tokio::test]
async fn generated_and_identity_columns_come_with_their_values() {
    let mut feed = Feed::open(
        "create table posts (id integer generated always as identity primary key, n integer, twice integer generated always as (n * 2) stored,
            made timestamptz default now());
         select rowcast.attach('posts', list_rule => '');",
        &["posts"],
    )
    .await;
    feed.run("insert into posts (n) values (4); update posts set n = 5")
        .await;
    let events = feed.events().await;
    for (event, twice) in events.iter().zip([8, 10]) {
        let record = event.change().1;
        assert_eq!(
            (&record["id"], &record["twice"]),
            (&json!("1"), &json!(twice))
        );
    }
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn rows_may_be_large_and_wide() {
    let columns: Vec<_> = (0..1598)
        .map(|at| format!("c{at} integer default {at}"))
        .collect();
    let mut feed = Feed::open(
        &format!(
            "create table posts (id text primary key, body text); create table wide (id integer primary key, {});
             select rowcast.attach('posts', list_rule => ''); select rowcast.attach('wide', list_rule => '');",
            columns.join(", ")
        ),
        &["posts", "wide"],
    )
    .await;
    feed.run(
        "insert into posts select 'big', string_agg(md5(i::text) || E'\\n', '') from generate_series(1, 32000) i;
         update posts set body = body || 'x'; insert into wide (id) values (1); update wide set c1597 = 0",
    )
    .await;
    let events = feed.events().await;
    let expected: i32 = text(&feed.client, "select length(body)::text from posts")
        .await
        .parse()
        .unwrap();
    let body = events[1].change().1["body"].as_str().unwrap().len();
    assert_eq!(body, usize::try_from(expected).unwrap());
    assert!(body > 1_000_000);
    let record = events[3].change().1;
    assert_eq!(record.as_object().unwrap().len(), 1601);
    assert_eq!(
        (&record["c1596"], &record["c1597"]),
        (&json!(1596), &json!(0))
    );
}

#[tokio::test]
async fn json_that_is_legal_in_postgres_is_legal_on_the_wire() {
    let mut feed = Feed::open(
        "create table posts (id integer primary key, v json); select rowcast.attach('posts', list_rule => '');",
        &["posts"],
    )
    .await;
    feed.run(
        "insert into posts values (1, '\"\\u0000\"'), (2, '{\"a\": 1E400}'), (3, (repeat('[', 3000) || repeat(']', 3000))::json),
            (4, '123456789012345678901234567890.50'), (5, E'\"\\u2028\"')",
    )
    .await;
    let events = feed.events().await;
    assert_eq!(events.len(), 5);
    assert!(
        events[0].data.contains(r#""v":"\u0000""#),
        "{}",
        events[0].data
    );
    assert!(
        events[1].data.contains(r#""v":{"a":1E400}"#),
        "{}",
        events[1].data
    );
    assert!(events[2].data.contains("[[[]]]"));
    assert!(
        events[3]
            .data
            .contains(r#""v":123456789012345678901234567890.50"#),
        "{}",
        events[3].data
    );
    assert!(
        events[4].data.contains(r#""v":"\u2028""#),
        "{}",
        events[4].data
    );
}
