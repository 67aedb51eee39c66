//! What rules know of whoever asks, from where it is kept.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::context::AuthValues;
use crate::catalog::Collection;
use crate::event::RowImage;
use crate::record::{Visibility, encode_record};

impl AuthValues {
    /// The values of an auth collection's record.
    pub fn of_row(collection: &Arc<Collection>, id: &str, image: &RowImage) -> Self {
        let json = encode_record(collection, id, image, Visibility::Full);
        // A record that cannot be read back has no values, and rules deny what they cannot see.
        let fields = serde_json::from_slice(&json).unwrap_or_default();
        Self {
            collection_id: collection.id.to_string(),
            collection_name: collection.name.to_string(),
            collection: Some(Arc::clone(collection)),
            image: Some(image.clone()),
            ..Self::of_claims(id, fields)
        }
    }

    /// The values of somebody whom claims describe, in no collection yet.
    pub fn of_claims(id: &str, fields: Map<String, Value>) -> Self {
        let is = |names: &[&str]| {
            let mut values = names.iter().map(|name| fields.get(*name));
            values.any(|value| value == Some(&true.into()))
        };
        let email = fields.get("email").and_then(Value::as_str);
        Self {
            id: id.to_owned(),
            email: email.unwrap_or_default().to_owned(),
            email_visibility: is(&["emailVisibility", "email_visibility"]),
            verified: is(&["verified", "email_verified"]),
            fields,
            ..Self::default()
        }
    }
}
