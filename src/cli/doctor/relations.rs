//! What the doctor says of relations: those that lead nowhere, and those that are slow to follow back.

use tokio_postgres::{Client, Row};

use super::super::failure::Failure;
use super::Finding;
use crate::catalog::{self, Catalog, Collection, Field};
use crate::db::Database;

const RELATIONS: &str = include_str!("../../../sql/cli/doctor_relations.sql");

/// Declarations that lead nowhere, and columns that lack an index.
pub(super) async fn check(database: &Database, client: &Client) -> Result<Vec<Finding>, Failure> {
    let catalog = catalog::load(database).await?;
    let mut findings = Vec::new();
    for row in client.query(RELATIONS, &[]).await? {
        // One without a table is found elsewhere.
        let Some(collection) = catalog.find(row.try_get("name")?) else {
            continue;
        };
        findings.extend(unresolved(&catalog, collection, &row)?);
        findings.extend(unindexed(collection, &row)?);
    }
    Ok(findings)
}

fn unresolved(
    catalog: &Catalog,
    collection: &Collection,
    row: &Row,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let names: Vec<String> = row.try_get("relation_names")?;
    let targets: Vec<String> = row.try_get("relation_targets")?;
    let entries = names.iter().zip(&targets);
    let fault = |(name, target): (&String, &String)| {
        let fault = match target.contains('.') {
            true => path_fault(catalog, collection, name, target),
            false => column_fault(catalog, collection, name, target),
        }?;
        Some(Finding::remark(format!(
            "{}: {name} is declared to lead to {target}, but {fault}; rules that use it deny",
            collection.name
        )))
    };
    Ok(entries.filter_map(fault).collect())
}

/// Why a declared column leads nowhere.
fn column_fault(
    catalog: &Catalog,
    collection: &Collection,
    column: &str,
    target: &str,
) -> Option<String> {
    let table = &collection.table;
    let Some(field) = collection.field(column) else {
        return Some(format!(
            "{table} shows no column {column}; attach it again with other relations"
        ));
    };
    if collection.fields[field].relation.is_some() {
        return None;
    }
    Some(match catalog.find(target) {
        None => format!("no collection {target} is attached; attach it"),
        Some(_) => format!(
            "the keys of {target} are no values of that column any more; attach {table} again with \
             other relations"
        ),
    })
}

/// Why a name for a path leads nowhere.
fn path_fault(
    catalog: &Catalog,
    collection: &Collection,
    name: &str,
    path: &str,
) -> Option<String> {
    let table = &collection.table;
    if !collection.aliases.contains_key(name) {
        return Some(format!(
            "{table} has got a column {name}; attach it again with another name for the path"
        ));
    }
    let mut at = collection;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        match follow(catalog, at, part) {
            Some(next) => at = next,
            // The last may be any field.
            None if parts.peek().is_none() && at.field(part).is_some() => {}
            None => {
                return Some(format!(
                    "{} has no relation {part}; declare it, or attach the collection it names",
                    at.name
                ));
            }
        }
    }
    None
}

/// Where a relation or a back relation leads.
fn follow<'a>(catalog: &'a Catalog, from: &Collection, part: &str) -> Option<&'a Collection> {
    if let Some(place) = from.field(part) {
        let relation = from.fields[place].relation.as_ref()?;
        return Some(catalog.get(relation.collection)?);
    }
    // Both names may have the word in them.
    part.match_indices("_via_").find_map(|(at, via)| {
        let back = catalog.find(&part[..at])?;
        let field = &back.fields[back.field(&part[at + via.len()..])?];
        let leads_here = field.relation.as_ref()?.collection == from.key;
        leads_here.then_some(&**back)
    })
}

/// Columns by which rows are looked up when a relation is followed back, and that no index finds.
fn unindexed(collection: &Collection, row: &Row) -> Result<Option<Finding>, tokio_postgres::Error> {
    let ordered: Vec<String> = row.try_get("ordered")?;
    let inverted: Vec<String> = row.try_get("inverted")?;
    let is_slow = |field: &&Field| {
        let indexed = if field.is_list() { &inverted } else { &ordered };
        field.relation.is_some() && !indexed.iter().any(|name| **name == *field.name)
    };
    let slow: Vec<&Field> = collection.fields.iter().filter(is_slow).collect();
    let Some(first) = slow.first() else {
        return Ok(None);
    };
    let names: Vec<&str> = slow.iter().map(|field| &*field.name).collect();
    let (name, table) = (&collection.name, &collection.table);
    let method = if first.is_list() { "using gin " } else { "" };
    Ok(Some(Finding::remark(format!(
        "{name}: no index finds rows by {}; what follows the relation back ({name}_via_{first_name}) reads \
         all of {table}; create index on {table} {method}({first_name})",
        names.join(", "),
        first_name = first.name,
    ))))
}
