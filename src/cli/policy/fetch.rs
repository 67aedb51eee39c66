//! One record as the change log would show it.

use std::fmt::Write;
use std::sync::Arc;

use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::super::failure::{self, Failure};
use crate::catalog::{Catalog, Collection, ColumnType};
use crate::event::{RecordId, RowImage, key_texts, parse_image, record_id};

const RECORD_SESSION: &str = include_str!("../../../sql/cli/record_session.sql");

/// A record that was found.
pub(super) struct Found {
    pub(super) collection: Arc<Collection>,
    pub(super) id: RecordId,
    pub(super) image: RowImage,
}

/// Reads the record of this id.
pub(super) async fn record(
    transaction: &Transaction<'_>,
    catalog: &Catalog,
    name: &str,
    id: &str,
) -> Result<Found, Failure> {
    let missing = || {
        let text = format!("there is no record {name}/{id}");
        Failure::new(failure::USAGE, text)
    };
    let collection = Arc::clone(catalog.find(name).ok_or_else(missing)?);
    let texts = key_texts(id, &collection).ok_or_else(missing)?;
    let parameters: Vec<&(dyn ToSql + Sync)> = texts
        .iter()
        .map(|text| text as &(dyn ToSql + Sync))
        .collect();
    transaction.batch_execute(RECORD_SESSION).await?;
    let rows = transaction.query(&select(&collection), &parameters).await;
    let rows = match rows {
        // Text that the key's type cannot hold is no record's id.
        Err(error) if is_data_exception(&error) => return Err(missing()),
        rows => rows?,
    };
    for row in rows {
        let json: String = row.try_get("image")?;
        let unreadable = |error| Failure::internal("could not read the record", error);
        let parsed = parse_image(json.into(), &collection).map_err(unreadable)?;
        let found = record_id(&parsed.image, &collection).map_err(unreadable)?;
        if *found.0 == *id {
            return Ok(Found {
                collection,
                id: found,
                image: parsed.image,
            });
        }
    }
    Err(missing())
}

fn is_data_exception(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map(|code| code.code());
    code.is_some_and(|code| code.starts_with("22"))
}

/// Written of names and types that the catalog read from the database. Only the collection's fields
/// are read: other columns are never to be seen.
fn select(collection: &Collection) -> String {
    let columns: Vec<String> = collection
        .fields
        .iter()
        .map(|field| format!("t.{}", quoted(&field.name)))
        .collect();
    let conditions = collection
        .key_fields
        .iter()
        .zip(1..)
        .map(|(&index, place)| {
            let field = &collection.fields[index];
            let column = format!("t.{}", quoted(&field.name));
            match field.column_type == ColumnType::default() {
                true => format!("{column}::text = ${place}::text"),
                // So that the key's index is used.
                false => format!("{column} = ${place}::text::{}", field.column_type.sql),
            }
        });
    let conditions: Vec<String> = conditions.collect();
    let mut statement = format!(
        "select row_to_json(x.*)::text as image from (select {} from {}.{} t where ",
        columns.join(", "),
        quoted(&collection.table.schema),
        quoted(&collection.table.table),
    );
    write!(statement, "{} limit 2) x", conditions.join(" and "))
        .expect("writing to a string cannot fail");
    statement
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
