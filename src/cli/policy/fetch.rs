//! One record as the change log would show it, and the records that rules want of it.

use std::sync::Arc;

use super::super::failure::{self, Failure};
use crate::catalog::{Catalog, Collection};
use crate::event::{RecordId, RowImage, key_texts};
use crate::related::{self, FetchError, Reading, Want};

/// A record that was found.
pub(super) struct Found {
    pub(super) collection: Arc<Collection>,
    pub(super) id: RecordId,
    pub(super) image: RowImage,
}

/// Reads the record of this id.
pub(super) async fn record(
    reading: &mut dyn Reading,
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
    let texts = texts.into_iter().map(Arc::from);
    let want = Want {
        equals: collection.key_fields.iter().copied().zip(texts).collect(),
        collection: Arc::clone(&collection),
        before: None,
    };
    let mut answers = reading.fetch(vec![want]).await.map_err(unavailable)?;
    let rows = match answers.pop() {
        Some((_, related::Found::Rows(rows))) => rows,
        Some((_, related::Found::Failed)) => {
            let text = format!(
                "the record {name}/{id} cannot be read: either its key cannot look like this, or you may not select \
                 from {}",
                collection.table
            );
            return Err(Failure::new(failure::USAGE, text));
        }
        Some((_, related::Found::HeldBack { .. })) => {
            let text = format!(
                "{} does not answer in time; is it locked?",
                collection.table
            );
            return Err(Failure::new(failure::UNAVAILABLE, text));
        }
        _ => Vec::new(),
    };
    let row = rows.into_iter().find(|row| *row.id.0 == *id);
    let row = row.ok_or_else(missing)?;
    Ok(Found {
        collection,
        id: row.id,
        image: row.image,
    })
}

/// What is said if the database cannot be asked.
pub(super) fn unavailable(error: FetchError) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    Failure::new(failure::UNAVAILABLE, text)
}
