//! The form that sets subscriptions, read from any body PocketBase reads (contract, section 2.2).

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use axum::extract::Request;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::body::{self, Refusals, Sent, pairs_of};
use super::errors::{ApiError, FieldError, Invalid, Violation};
use crate::hub::ClientId;
use crate::topic::Subscription;

/// What a client wants to be told about from now on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    client_id: String,
    subscriptions: Vec<String>,
}

/// A form that was found valid.
#[derive(Debug)]
pub(super) struct ValidForm {
    pub(super) client_id: String,
    pub(super) subscriptions: Vec<Subscription>,
    /// Where each of them stood in the form.
    pub(super) places: Vec<usize>,
}

impl ValidForm {
    /// The same from the client with this id.
    pub(super) fn of_client(self, id: &ClientId) -> Self {
        Self {
            client_id: id.0.to_string(),
            ..self
        }
    }
}

impl Form {
    const CLIENT_ID: &str = "clientId";
    pub(super) const SUBSCRIPTIONS: &str = "subscriptions";
    /// The form field whose value is JSON that is read over the form.
    pub(super) const JSON_PAYLOAD: &str = "@jsonPayload";

    const CLIENT_ID_BYTES_MAX: usize = 255;
    const SUBSCRIPTIONS_MAX: usize = 1_000;
    const SUBSCRIPTION_BYTES_MAX: usize = 2_500;

    /// Reads the body of a request.
    ///
    /// # Errors
    /// 413 for a body beyond `bytes_max`, otherwise 400 without details.
    pub(super) async fn read(request: Request, bytes_max: usize) -> Result<Self, ApiError> {
        let refusals = Refusals {
            unsupported: ApiError::bad_request,
            unreadable: ApiError::bad_request,
        };
        let form = match body::read(request, bytes_max, refusals).await? {
            Sent::Nothing => Some(Self::default()),
            Sent::Json(bytes) => Self::from_json(&bytes),
            Sent::Pairs(pairs) => Self::from_pairs(pairs),
        };
        form.ok_or_else(refusals.unreadable)
    }

    /// Reads the subscriptions in a query.
    ///
    /// # Errors
    /// 400 without details if the query cannot be read.
    pub(super) fn of_query(query: &str) -> Result<Self, ApiError> {
        let pairs = pairs_of(query.as_bytes()).ok_or_else(ApiError::bad_request)?;
        let subscriptions = pairs
            .into_iter()
            .filter(|(key, _)| key == Self::SUBSCRIPTIONS);
        Ok(Self {
            // Given when the stream is opened.
            client_id: "-".to_owned(),
            subscriptions: subscriptions.map(|(_, value)| value).collect(),
        })
    }

    /// Whether any subscription was given.
    pub(super) fn is_subscribing(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    /// Reads the first JSON value of `bytes`.
    fn from_json(bytes: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        let text = String::from_utf8_lossy(bytes);
        let mut json = serde_json::Deserializer::from_str(&text);
        OverForm(&mut form).deserialize(&mut json).ok()?;
        Some(form)
    }

    fn from_pairs(pairs: Vec<(String, String)>) -> Option<Self> {
        let mut client_id = None;
        let mut subscriptions = Vec::new();
        let mut payloads = Vec::new();
        for (key, value) in pairs {
            match &*key {
                Self::CLIENT_ID => {
                    client_id.get_or_insert(value);
                }
                Self::SUBSCRIPTIONS => subscriptions.push(value),
                Self::JSON_PAYLOAD => payloads.push(value),
                _ => {}
            }
        }
        let mut form = Self {
            client_id: client_id.unwrap_or_default(),
            subscriptions,
        };
        for payload in payloads {
            let mut json = serde_json::Deserializer::from_str(&payload);
            OverForm(&mut form).deserialize(&mut json).ok()?;
            json.end().ok()?;
        }
        Some(form)
    }

    /// Checks all fields at once (section 2.3); lengths are bytes.
    ///
    /// # Errors
    /// 400 that names every field at fault.
    pub(super) fn validate(self) -> Result<ValidForm, ApiError> {
        let mut invalid = Invalid::new();
        if let Some(violation) = check_client_id(&self.client_id) {
            invalid.insert(Self::CLIENT_ID, FieldError::Value(violation));
        }
        if let Some(error) = check_subscriptions(&self.subscriptions) {
            invalid.insert(Self::SUBSCRIPTIONS, error);
        }
        if !invalid.is_empty() {
            return Err(ApiError::invalid(invalid));
        }
        let (places, subscriptions) = distinct(&self.subscriptions);
        Ok(ValidForm {
            client_id: self.client_id,
            subscriptions,
            places,
        })
    }
}

fn check_client_id(client_id: &str) -> Option<Violation> {
    match client_id.len() {
        0 => Some(Violation::required()),
        1..=Form::CLIENT_ID_BYTES_MAX => None,
        _ => Some(Violation::length_out_of_range(1, Form::CLIENT_ID_BYTES_MAX)),
    }
}

fn check_subscriptions(subscriptions: &[String]) -> Option<FieldError> {
    if subscriptions.len() > Form::SUBSCRIPTIONS_MAX {
        let violation = Violation::length_too_long(Form::SUBSCRIPTIONS_MAX);
        return Some(FieldError::Value(violation));
    }
    let too_long = |text: &String| text.len() > Form::SUBSCRIPTION_BYTES_MAX;
    let items: BTreeMap<_, _> = subscriptions
        .iter()
        .enumerate()
        .filter(|(_, text)| too_long(text))
        .map(|(index, _)| {
            let violation = Violation::length_too_long(Form::SUBSCRIPTION_BYTES_MAX);
            (index.to_string(), violation)
        })
        .collect();
    (!items.is_empty()).then_some(FieldError::Items(items))
}

/// Each subscription once, empty ones left out, and where it stood.
fn distinct(subscriptions: &[String]) -> (Vec<usize>, Vec<Subscription>) {
    let mut seen = HashSet::new();
    subscriptions
        .iter()
        .enumerate()
        .filter(|(_, text)| !text.is_empty() && seen.insert(&***text))
        .map(|(place, text)| (place, Subscription::parse(text)))
        .unzip()
}

/// Reads JSON over a form as Go does: keys in any case, the last of several counts, `null` is no
/// text and no list, and anything of another type is an error.
struct OverForm<'a>(&'a mut Form);

impl<'de> DeserializeSeed<'de> for OverForm<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OverForm<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the members clientId and subscriptions, or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case(Form::CLIENT_ID) {
                if let Some(client_id) = map.next_value()? {
                    self.0.client_id = client_id;
                }
            } else if key.eq_ignore_ascii_case(Form::SUBSCRIPTIONS) {
                let items: Option<Vec<Option<String>>> = map.next_value()?;
                let items = items.into_iter().flatten();
                self.0.subscriptions = items.map(Option::unwrap_or_default).collect();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
