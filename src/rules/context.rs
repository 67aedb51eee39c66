//! What a rule knows beside the row: the request, the principal's record, the clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::predicate::{Row, Undecidable};
use crate::catalog::Collection;
use crate::event::RowImage;
use crate::related::Shelf;

/// The request as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct RequestContext<'c> {
    /// The principal's record; `None` for guests.
    pub auth: Option<&'c AuthValues>,
    /// `@request.query`: a subscription's own options.
    pub query: &'c BTreeMap<String, String>,
    /// `@request.headers`: a subscription's own, names in snake case.
    pub headers: &'c BTreeMap<String, String>,
    /// `@request.method`.
    pub method: &'c str,
    /// `@request.context`.
    pub context: &'c str,
    /// The moment that `@now` and its like are worked out from.
    pub now: Timestamp,
    /// Rows of other collections, as far as they were fetched.
    pub shelf: &'c Shelf,
    /// Who decides about the rows that a filter reaches; without, it reaches none.
    pub gates: Option<&'c dyn RelatedGates>,
}

/// Decides which rows of other collections a subscriber's filter may look at.
pub trait RelatedGates: fmt::Debug {
    /// Whether there may be rows of the collection that the subscriber may list.
    fn may_ever_list(&self, collection: &Collection) -> bool;

    /// Whether the subscriber may list the row.
    ///
    /// # Errors
    /// If that cannot be said (yet).
    fn may_list(&self, row: Row<'_>) -> Result<bool, Undecidable>;
}

impl<'c> RequestContext<'c> {
    /// The request behind every subscription: PocketBase calls it a `GET` in the context `realtime`.
    pub fn realtime(
        auth: Option<&'c AuthValues>,
        query: &'c BTreeMap<String, String>,
        headers: &'c BTreeMap<String, String>,
        now: Timestamp,
        shelf: &'c Shelf,
    ) -> Self {
        Self {
            auth,
            query,
            headers,
            method: "GET",
            context: "realtime",
            now,
            shelf,
            gates: None,
        }
    }
}

/// The values behind `@request.auth`.
#[derive(Debug, Clone, Default)]
pub struct AuthValues {
    /// The record's id; never empty.
    pub id: String,
    /// The id of its collection.
    pub collection_id: String,
    /// The name of its collection.
    pub collection_name: String,
    /// The email address, or nothing if none is known.
    pub email: String,
    /// Whether others may see the email address.
    pub email_visibility: bool,
    /// Whether the email address was confirmed.
    pub verified: bool,
    /// All other fields of the record, or claims of the token, in the formats of a record. Members
    /// with the names of the above are not looked at.
    pub fields: Map<String, Value>,
    /// The record's collection, which says what its fields are and point to; `None` of foreign tokens.
    pub collection: Option<Arc<Collection>>,
    /// The record's row. It tells NULL from what a record shows for it; `None` of foreign tokens.
    pub image: Option<RowImage>,
}
