//! The form of a login, read from any body PocketBase reads (contract, section 6.3).

use std::sync::Arc;

use axum::extract::Request;
use serde_json::{Map, Value};

use super::body::{self, Refusals, Sent};
use super::errors::{ApiError, FieldError, Invalid, Violation};
use super::form::Form;

/// What a client logs in with.
#[derive(Default, PartialEq, Eq)]
pub(super) struct LoginForm {
    pub(super) identity: String,
    pub(super) password: String,
    /// The only column the identity may stand in; empty for any.
    pub(super) identity_field: String,
}

impl LoginForm {
    const FIELD_BYTES_MAX: usize = 255;

    /// Reads the body of a request; without one all fields are empty.
    ///
    /// # Errors
    /// 413 for a body beyond `bytes_max`, 400 for one that cannot be read.
    pub(super) async fn read(request: Request, bytes_max: usize) -> Result<Self, ApiError> {
        let refusals = Refusals {
            unsupported: ApiError::unsupported_content_type,
            unreadable: ApiError::unloadable,
        };
        let form = match body::read(request, bytes_max, refusals).await? {
            Sent::Nothing => Some(Self::default()),
            Sent::Json(bytes) => Self::from_json(&bytes),
            Sent::Pairs(pairs) => Self::from_pairs(pairs),
        };
        form.ok_or_else(refusals.unreadable)
    }

    /// Reads the first JSON value of `bytes`.
    fn from_json(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let mut form = Self::default();
        form.take_json(values.next()?.ok()?)?;
        Some(form)
    }

    fn from_pairs(pairs: Vec<(String, String)>) -> Option<Self> {
        let mut form = Self::default();
        // The first of several counts.
        for (key, value) in pairs.into_iter().rev() {
            match &*key {
                Form::JSON_PAYLOAD => form.take_json(serde_json::from_str(&value).ok()?)?,
                _ => {
                    if let Some(field) = form.field(&key, false) {
                        *field = value;
                    }
                }
            }
        }
        Some(form)
    }

    /// Takes in an object's members as Go does: keys in any case, null is no text, and anything else
    /// but text is an error.
    fn take_json(&mut self, value: Value) -> Option<()> {
        let members = match value {
            Value::Null => Map::new(),
            Value::Object(members) => members,
            _ => return None,
        };
        for (key, value) in members {
            match (self.field(&key, true), value) {
                (None, _) | (Some(_), Value::Null) => {}
                (Some(field), Value::String(text)) => *field = text,
                (Some(_), _) => return None,
            }
        }
        Some(())
    }

    fn field(&mut self, key: &str, any_case: bool) -> Option<&mut String> {
        let is = |name: &str| key == name || any_case && key.eq_ignore_ascii_case(name);
        if is("identity") {
            Some(&mut self.identity)
        } else if is("password") {
            Some(&mut self.password)
        } else if is("identityField") {
            Some(&mut self.identity_field)
        } else {
            None
        }
    }

    /// Checks all fields at once; lengths are bytes.
    ///
    /// # Errors
    /// 400 that names every field at fault.
    pub(super) fn validate(&self, identity_fields: &[Arc<str>]) -> Result<(), ApiError> {
        let mut invalid = Invalid::new();
        for (name, value) in [("identity", &self.identity), ("password", &self.password)] {
            if let Some(violation) = check_length(value) {
                invalid.insert(name, FieldError::Value(violation));
            }
        }
        let field = &*self.identity_field;
        if !field.is_empty() && !identity_fields.iter().any(|allowed| **allowed == *field) {
            invalid.insert("identityField", FieldError::Value(Violation::not_allowed()));
        }
        match invalid.is_empty() {
            true => Ok(()),
            false => Err(ApiError::invalid_login(invalid)),
        }
    }
}

fn check_length(value: &str) -> Option<Violation> {
    const MAX: usize = LoginForm::FIELD_BYTES_MAX;
    match value.len() {
        0 => Some(Violation::required()),
        1..=MAX => None,
        _ => Some(Violation::length_out_of_range(1, MAX)),
    }
}
