//! The statements that find rows by what some of their columns equal.
//!
//! Written here are names that the catalog read from the database, quoted, and types as it wrote them;
//! values are always bound. Only the collection's fields are read: other columns are never to be seen.

use std::fmt::Write;

use crate::catalog::{Collection, ColumnType, Field, TypeClass};

/// Finds, for each of the wants whose texts are bound as one array per field, its rows and one more than
/// may be: pairs of the want's place, from 1, and the row as JSON. Without fields: all rows, once.
///
/// An index over the fields is used, once per want, because the inner query stands for itself.
pub(super) fn select(
    collection: &Collection,
    fields: &[usize],
    rows_max: usize,
    all_rows_max: usize,
) -> String {
    let (columns, table) = (columns(collection), table(collection));
    // Whole rows are written x.*, because a plain x would mean a column of that name.
    let head = "select w.n, row_to_json(x.*)::text";
    if fields.is_empty() {
        return format!(
            "{head} from (values (1::bigint)) w (n) cross join lateral \
             (select {columns} from {table} t limit {}) x limit {}",
            rows_max + 1,
            all_rows_max + 1
        );
    }
    let places = 0..fields.len();
    let arrays = join(places.clone(), ", ", |place| {
        format!("${}::text[]", place + 1)
    });
    let names = join(places.clone(), ", ", |place| format!("a{place}"));
    let conditions = join(places, " and ", |place| {
        condition(&collection.fields[fields[place]], place)
    });
    format!(
        "{head} from unnest({arrays}) with ordinality w ({names}, n) cross join lateral \
         (select {columns} from {table} t where {conditions} limit {}) x limit {}",
        rows_max + 1,
        all_rows_max + 1
    )
}

/// All rows as JSON, in the order of their keys.
pub(super) fn all_in_order(collection: &Collection) -> String {
    let keys = join(&collection.key_fields, ", ", |&index| {
        format!("x.{}", quoted(&collection.fields[index].name))
    });
    format!(
        "select row_to_json(x.*)::text from (select {} from {} t) x order by {keys}",
        columns(collection),
        table(collection)
    )
}

fn columns(collection: &Collection) -> String {
    join(&collection.fields, ", ", |field| {
        format!("t.{}", quoted(&field.name))
    })
}

fn table(collection: &Collection) -> String {
    let (schema, table) = (&collection.table.schema, &collection.table.table);
    format!("{}.{}", quoted(schema), quoted(table))
}

/// Numbers texts by the value they are of a type: equal values have equal numbers. `$1 text[]`.
pub(super) fn rank(column_type: &ColumnType) -> String {
    format!(
        "select w.a, dense_rank() over (order by w.a::{}) from unnest($1::text[]) w (a)",
        column_type.sql
    )
}

/// Whether a text is a value that a column can hold; what it cannot hold it does not equal.
pub(super) fn fits(field: &Field, text: &str) -> bool {
    if text.contains('\0') {
        return false;
    }
    match field.column_type.class {
        TypeClass::Integer if field.is_list() => match &*field.column_type.sql {
            "smallint" => text.parse::<i16>().is_ok(),
            "integer" => text.parse::<i32>().is_ok(),
            _ => text.parse::<i64>().is_ok(),
        },
        TypeClass::Integer => text.parse::<i64>().is_ok(),
        TypeClass::Uuid => is_uuid(text),
        TypeClass::Text | TypeClass::Other => true,
    }
}

/// Whether values of a column end in blanks that mean nothing.
pub(super) fn is_padded(column_type: &ColumnType) -> bool {
    let sql = &*column_type.sql;
    let fixed = sql == "character" || sql.starts_with("character(") || sql == "bpchar";
    fixed && column_type.class == TypeClass::Text
}

/// 32 hexadecimal digits, in groups of 8, 4, 4, 4 and 12 if there are hyphens.
fn is_uuid(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    matches!(lengths[..], [32] | [8, 4, 4, 4, 12]) && groups.into_iter().all(digits)
}

fn condition(field: &Field, place: usize) -> String {
    let column = format!("t.{}", quoted(&field.name));
    let scalar = scalar(&field.column_type);
    if !field.is_list() {
        return format!("{column} = w.a{place}::{scalar}");
    }
    match element(&field.column_type) {
        // An index over arrays knows only this operator.
        Some(element) => format!("{column} @> array[w.a{place}::{element}]"),
        None => format!("w.a{place}::{scalar} = any ({column})"),
    }
}

/// What a text becomes before it is compared. Neither longer than the column's values may be, which a cast
/// would cut to fit, nor refused by a domain's check, which a cast would raise as an error.
fn scalar(column_type: &ColumnType) -> &str {
    match column_type.class {
        TypeClass::Integer => "bigint",
        TypeClass::Uuid => "uuid",
        TypeClass::Text if is_padded(column_type) => "bpchar",
        TypeClass::Text => "text",
        TypeClass::Other => &column_type.sql,
    }
}

/// The type of an array's elements, where it is certain that the array is of just this type.
fn element(column_type: &ColumnType) -> Option<&'static str> {
    match &*column_type.sql {
        "smallint" => Some("smallint"),
        "integer" => Some("integer"),
        "bigint" => Some("bigint"),
        "uuid" => Some("uuid"),
        "text" => Some("text"),
        sql if sql.starts_with("character varying") => Some("character varying"),
        _ => None,
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn join<T>(
    items: impl IntoIterator<Item = T>,
    separator: &str,
    text: impl Fn(T) -> String,
) -> String {
    let mut joined = String::new();
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            joined.push_str(separator);
        }
        write!(joined, "{}", text(item)).expect("writing to a string cannot fail");
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{CollectionKey, FieldKind, TableName};

    fn field(name: &str, sql: &str, class: TypeClass, list: bool) -> Field {
        let kind = match list {
            true => FieldKind::Array(Box::new(FieldKind::Text)),
            false => FieldKind::Text,
        };
        Field {
            column_type: ColumnType {
                sql: sql.into(),
                class,
            },
            ..Field::new(name, kind)
        }
    }

    #[test]
    fn a_statement_names_the_fields_and_binds_the_values() {
        let fields = vec![
            field("id", "integer", TypeClass::Integer, false),
            field("the \"team\"", "uuid", TypeClass::Uuid, false),
        ];
        let mut collection = Collection::new(CollectionKey(1), "members", fields);
        collection.table = TableName {
            schema: "my schema".to_owned(),
            table: "mem\"bers".to_owned(),
        };
        assert_eq!(
            select(&collection, &[1, 0], 5, 20),
            "select w.n, row_to_json(x.*)::text from unnest($1::text[], $2::text[]) with ordinality w (a0, a1, n) \
             cross join lateral (select t.\"id\", t.\"the \"\"team\"\"\" from \"my schema\".\"mem\"\"bers\" t \
             where t.\"the \"\"team\"\"\" = w.a0::uuid and t.\"id\" = w.a1::bigint limit 6) x limit 21"
        );
        assert_eq!(
            select(&collection, &[], 5, 20),
            "select w.n, row_to_json(x.*)::text from (values (1::bigint)) w (n) cross join lateral \
             (select t.\"id\", t.\"the \"\"team\"\"\" from \"my schema\".\"mem\"\"bers\" t limit 6) x limit 21"
        );
    }

    #[test]
    fn each_type_is_compared_in_a_way_that_cannot_fail_and_can_use_an_index() {
        use TypeClass::{Integer, Other, Text, Uuid};
        for (sql, class, list, expected) in [
            ("smallint", Integer, false, "t.\"f\" = w.a0::bigint"),
            ("public.positive", Integer, false, "t.\"f\" = w.a0::bigint"),
            ("uuid", Uuid, false, "t.\"f\" = w.a0::uuid"),
            ("character varying(3)", Text, false, "t.\"f\" = w.a0::text"),
            ("character(3)", Text, false, "t.\"f\" = w.a0::bpchar"),
            ("numeric(5,2)", Other, false, "t.\"f\" = w.a0::numeric(5,2)"),
            ("integer", Integer, true, "t.\"f\" @> array[w.a0::integer]"),
            (
                "character varying(3)",
                Text,
                true,
                "t.\"f\" @> array[w.a0::character varying]",
            ),
            (
                "public.positive",
                Integer,
                true,
                "w.a0::bigint = any (t.\"f\")",
            ),
        ] {
            assert_eq!(condition(&field("f", sql, class, list), 0), expected);
        }
    }

    #[test]
    fn what_a_column_cannot_hold_is_not_asked_for() {
        use TypeClass::{Integer, Other, Text, Uuid};
        for (sql, class, list, text, expected) in [
            ("integer", Integer, false, "7", true),
            // Compared as bigint, so it is only found nowhere.
            ("integer", Integer, false, "3000000000", true),
            ("integer", Integer, true, "3000000000", false),
            ("smallint", Integer, true, "40000", false),
            ("bigint", Integer, false, "9223372036854775808", false),
            ("bigint", Integer, false, "seven", false),
            ("bigint", Integer, false, "", false),
            ("uuid", Uuid, false, "7", false),
            (
                "uuid",
                Uuid,
                false,
                "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                true,
            ),
            (
                "uuid",
                Uuid,
                false,
                "a0eebc999c0b4ef8bb6d6bb9bd380a11",
                true,
            ),
            (
                "uuid",
                Uuid,
                false,
                "a0eebc999c0b-4ef8-bb6d-6bb9bd380a11",
                false,
            ),
            ("text", Text, false, "", true),
            ("text", Text, false, "a\0b", false),
            ("numeric", Other, false, "1.0", true),
        ] {
            let field = field("f", sql, class, list);
            assert_eq!(fits(&field, text), expected, "{text} for {sql}");
        }
    }
}
