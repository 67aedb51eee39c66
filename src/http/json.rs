//! Bodies of our own endpoints: one JSON object, with no member but those that are known.

use axum::extract::Request;
use serde_json::{Map, Value};

use super::body::{self, Refusals, Sent};
use super::errors::{ApiError, FieldError, Invalid, Violation};

/// An object whose members are taken out one by one.
#[derive(Debug)]
pub(super) struct JsonForm {
    members: Map<String, Value>,
    invalid: Invalid,
}

impl JsonForm {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 413 for a body beyond `bytes_max`; 400 if it is no JSON object, or has a member that is not `known`:
    /// one that was misspelt could not have its effect.
    pub(super) async fn read(
        request: Request,
        bytes_max: usize,
        known: &[&str],
    ) -> Result<Self, ApiError> {
        let refusals = Refusals {
            unsupported,
            unreadable: unsupported,
        };
        let Sent::Json(bytes) = body::read(request, bytes_max, refusals).await? else {
            return Err(unsupported());
        };
        let members: Map<String, Value> = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::bad(format!("The body must be one JSON object: {error}")))?;
        if let Some(unknown) = members.keys().find(|key| !known.contains(&key.as_str())) {
            let unknown: String = unknown.chars().take(64).collect();
            return Err(ApiError::bad(format!(
                "There is no field {unknown:?}. There are {}.",
                known.join(", ")
            )));
        }
        Ok(Self {
            members,
            invalid: Invalid::new(),
        })
    }

    /// A member that is a text; `None` if it is missing or null.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.refuse(name, "Must be a text.");
                None
            }
        }
    }

    /// A member that is a text and must be there.
    pub(super) fn required_text(&mut self, name: &'static str) -> String {
        let text = self.text(name).unwrap_or_default();
        if text.is_empty() && !self.invalid.contains_key(name) {
            let missing = FieldError::Value(Violation::required());
            self.invalid.insert(name, missing);
        }
        text
    }

    /// A member that is an object and must be there.
    pub(super) fn required_object(&mut self, name: &'static str) -> Map<String, Value> {
        match self.value(name) {
            Some(Value::Object(object)) => return object,
            Some(_) => self.refuse(name, "Must be an object."),
            None => {
                let missing = FieldError::Value(Violation::required());
                self.invalid.insert(name, missing);
            }
        }
        Map::new()
    }

    /// A member that is true or false; false if it is missing or null.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.value(name) {
            Some(Value::Bool(flag)) => flag,
            None => false,
            Some(_) => {
                self.refuse(name, "Must be true or false.");
                false
            }
        }
    }

    /// A member; `None` if it is missing or null.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// Notes what is wrong with a member.
    pub(super) fn refuse(&mut self, name: &'static str, why: &'static str) {
        let wrong = Violation::invalid(why);
        self.invalid.insert(name, FieldError::Value(wrong));
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

fn unsupported() -> ApiError {
    ApiError::bad("Send a JSON object, with Content-Type: application/json.")
}
