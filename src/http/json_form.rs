//! Bodies of our own endpoints: one JSON object, with no member but those that are known, and errors that name
//! the members at fault.

use std::collections::BTreeMap;

use axum::extract::Request;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::body::{self, Refusals, Sent};
use super::errors::{ApiError, FieldError, Invalid, Violation};
use super::room::Room;

const REFUSALS: Refusals = Refusals {
    unsupported: no_json,
    unreadable: no_json,
};

fn no_json() -> ApiError {
    ApiError::unreadable("must be one JSON object, with the header Content-Type: application/json")
}

/// An object whose members are taken out one by one. A member that may be left out is not `null` instead.
#[derive(Debug)]
pub(super) struct JsonForm {
    members: BTreeMap<String, Box<RawValue>>,
    invalid: Invalid,
}

impl JsonForm {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 408 if it does not arrive, 413 if it is too large; 400 if it is no JSON object, or has a member that is
    /// not `known`: one that was misspelt could not have its effect.
    pub(super) async fn read(
        room: &Room,
        request: Request,
        known: &[&str],
    ) -> Result<Self, ApiError> {
        let sent = body::read(request, room.options.body_bytes_max, REFUSALS);
        let sent = timeout(room.options.request_timeout, sent).await;
        let Sent::Json(bytes) = sent.map_err(|_| ApiError::request_timeout())?? else {
            return Err(no_json());
        };
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::unreadable(&format!("must be one JSON object: {error}")))?;
        if let Some(unknown) = members.keys().find(|key| !known.contains(&key.as_str())) {
            let unknown: String = unknown.chars().take(64).collect();
            return Err(ApiError::unreadable(&format!(
                "has no field {unknown:?}; there are {}",
                known.join(", ")
            )));
        }
        Ok(Self {
            members,
            invalid: Invalid::new(),
        })
    }

    /// A member that is a text; `None` if it is missing.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.member(name, "Must be a text.")
    }

    /// A member that is a text and must be there.
    pub(super) fn required_text(&mut self, name: &'static str) -> String {
        let text = self.text(name).unwrap_or_default();
        if text.is_empty() && !self.invalid.contains_key(name) {
            self.violated(name, Violation::required());
        }
        text
    }

    /// A member that is an object and must be there.
    pub(super) fn required_object(&mut self, name: &'static str) -> Map<String, Value> {
        let object = self.member(name, "Must be an object.");
        if object.is_none() && !self.invalid.contains_key(name) {
            self.violated(name, Violation::required());
        }
        object.unwrap_or_default()
    }

    /// A member that is true or false; `None` if it is missing.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.member(name, "Must be true or false.")
    }

    /// A member that is any value, as it was written; `None` if it is missing.
    pub(super) fn raw(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.members.remove(name)
    }

    /// A member of some kind; `None` if it is missing.
    pub(super) fn member<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        kind: &'static str,
    ) -> Option<T> {
        let value = serde_json::from_str(self.members.remove(name)?.get());
        if value.is_err() {
            self.refuse(name, kind);
        }
        value.ok()
    }

    /// Notes what is wrong with a member.
    pub(super) fn refuse(
        &mut self,
        name: &'static str,
        why: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        self.violated(name, Violation::invalid(why));
    }

    /// Notes what a member violates.
    pub(super) fn violated(&mut self, name: &'static str, violation: Violation) {
        self.invalid.insert(name, FieldError::Value(violation));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 that names every member at fault.
    pub(super) fn end(self) -> Result<(), ApiError> {
        match self.invalid.is_empty() {
            true => Ok(()),
            false => Err(ApiError::invalid(self.invalid)),
        }
    }
}
