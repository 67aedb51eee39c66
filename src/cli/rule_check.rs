//! Rules are compiled before they are committed: what cannot be used is refused, doubts are told.

use tokio_postgres::Transaction;

use super::failure::{self, Failure};
use super::terminal;
use crate::catalog::{self, Catalog, LoadError};
use crate::{audit, policy};

/// Checks rules, each with its kind, that a transaction has given a collection. Doubts are told, and
/// with `strict` refused as well.
pub(super) async fn check(
    transaction: &Transaction<'_>,
    collection: &str,
    rules: &[(&str, &str)],
    strict: bool,
) -> Result<(), Failure> {
    let written = rules.iter().filter(|(_, text)| !text.is_empty());
    let written: Vec<_> = written.collect();
    if written.is_empty() {
        return Ok(());
    }
    let catalog = read_catalog(transaction).await?;
    let Some(collection) = catalog.find(collection) else {
        let text = format!("{collection} cannot be read; nothing was changed");
        return Err(Failure::new(failure::USAGE, text));
    };
    let mut doubts = 0;
    for (kind, text) in written {
        let advice = audit::check(text, collection, &catalog).map_err(|error| {
            let text = format!("the {kind} rule cannot be used, and nothing was changed: {error}");
            Failure::new(failure::USAGE, text)
        })?;
        doubts += advice.len();
        for one in advice {
            terminal::note(format_args!("warning: {kind} rule: {one}"));
        }
    }
    match strict && doubts > 0 {
        true => Err(Failure::new(
            failure::USAGE,
            "with --strict a warning is an error; nothing was changed".to_owned(),
        )),
        false => Ok(()),
    }
}

/// The catalog as a transaction sees it.
pub(super) async fn read_catalog(transaction: &Transaction<'_>) -> Result<Catalog, Failure> {
    catalog::read(transaction).await.map_err(not_read)
}

fn not_read(error: LoadError) -> Failure {
    match error {
        LoadError::Query(error) => error.into(),
        LoadError::Policy(policy::LoadError::Query(error)) => error.into(),
        error => Failure::internal("could not read the collections", error),
    }
}
