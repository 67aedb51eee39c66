//! Texts about streams: whom a message is for, said of `@client.…` and `@request.…`.
//!
//! A stream is looked at like a record, of a collection that there is no table for. So what texts mean here
//! is what they mean everywhere.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::context::RequestContext;
use super::error::RuleError;
use super::predicate::{Predicate, Row, RuleUse, Scope, Undecidable};
use crate::catalog::{Catalog, Collection, CollectionKey, Field, FieldKind};
use crate::event::{ImageError, RecordId, RowImage, parse_image};

/// What `@client` is made of.
static CLIENTS: LazyLock<Collection> = LazyLock::new(|| {
    let texts = FieldKind::Array(Box::new(FieldKind::Text));
    let fields = vec![
        Field::new("id", FieldKind::Text),
        Field::new("store", FieldKind::Json),
        Field::new("subscriptions", texts),
    ];
    // Keys count from 1 in the database.
    Collection::new(CollectionKey(-1), "@client", fields)
});
/// Such texts reach no records.
static NO_COLLECTIONS: LazyLock<Catalog> = LazyLock::new(Catalog::default);

/// A stream as texts see it.
#[derive(Debug)]
pub struct ClientRow {
    id: RecordId,
    image: RowImage,
}

impl ClientRow {
    /// A stream with this client id, with what is kept about it, and the texts of its subscriptions.
    ///
    /// # Errors
    /// If that is too much to look at.
    pub fn new<'s>(
        id: &str,
        store: &Map<String, Value>,
        subscriptions: impl Iterator<Item = &'s str>,
    ) -> Result<Self, ImageError> {
        let subscriptions: Vec<&str> = subscriptions.collect();
        let json = serde_json::json!({ "id": id, "store": store, "subscriptions": subscriptions });
        let parsed = parse_image(json.to_string().into(), &CLIENTS)?;
        Ok(Self {
            id: RecordId(id.into()),
            image: parsed.image,
        })
    }

    fn row(&self) -> Row<'_> {
        Row {
            collection: &CLIENTS,
            id: &self.id,
            image: &self.image,
            deleted_by: None,
        }
    }
}

/// A text about streams, ready to decide. It never looks anything up.
#[derive(Debug)]
pub struct ClientPredicate(Predicate);

impl ClientPredicate {
    /// Compiles a text.
    ///
    /// # Errors
    /// If the text is not of the language, or names anything but streams and requests.
    pub fn compile(text: &str) -> Result<Self, RuleError> {
        let scope = Scope {
            collection: &CLIENTS,
            catalog: &NO_COLLECTIONS,
            auth: None,
        };
        Predicate::compile(text, scope, RuleUse::Client).map(Self)
    }

    /// Decides about a stream.
    ///
    /// # Errors
    /// If it cannot; then the message is not for it.
    pub fn decide(
        &self,
        client: &ClientRow,
        request: &RequestContext<'_>,
    ) -> Result<bool, Undecidable> {
        self.0.decide(client.row(), request)
    }
}
