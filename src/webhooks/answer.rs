//! What a webhook that was asked may answer.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::hooks::{Connect, Refusal, Subscribe};
use crate::topic::Subscription;

/// What follows from an answer, or from there being none.
pub(super) enum Decision {
    /// There was no answer, and that is no reason to refuse.
    Open,
    Said(Said),
}

/// A good answer. What is not named stays as it is; what nobody knows is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Said {
    idle_timeout_seconds: Option<u32>,
    lifetime_seconds: Option<u32>,
    headers: BTreeMap<String, String>,
    subscriptions: Option<Vec<String>>,
}

/// Subscriptions as many as a client may have itself.
const SUBSCRIPTIONS_MAX: usize = 1_000;

impl Said {
    /// Reads the body of an answer that agrees; `None` if it is not understood.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        if body.trim_ascii().is_empty() {
            return Some(Self::default());
        }
        let said: Self = serde_json::from_slice(body).ok()?;
        let subscriptions = said.subscriptions.as_ref().map_or(0, Vec::len);
        let is_header = |(name, value): (&String, &String)| header(name, value).is_some();
        let is_good = subscriptions <= SUBSCRIPTIONS_MAX && said.headers.iter().all(is_header);
        is_good.then_some(said)
    }

    /// Sets what it says about a stream.
    pub(super) fn set_terms(self, connect: &mut Connect) {
        let span = |seconds: u32| Duration::from_secs(seconds.max(1).into());
        connect.idle_timeout = self.idle_timeout_seconds.map_or(connect.idle_timeout, span);
        connect.lifetime = self.lifetime_seconds.map_or(connect.lifetime, span);
        for (name, value) in &self.headers {
            connect.response_headers.extend(header(name, value));
        }
    }

    /// Sets what it says about subscriptions.
    pub(super) fn set_subscriptions(self, subscribe: &mut Subscribe) {
        if let Some(texts) = self.subscriptions {
            let parsed = texts.iter().map(|text| Subscription::parse(text));
            subscribe.subscriptions = parsed.collect();
        }
    }
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((name.parse().ok()?, value.parse().ok()?))
}

/// The refusal in an answer that refuses; `None` for a status that means something else. A body that is
/// not understood changes nothing about the refusal.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Option<Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Told {
        message: Option<String>,
        data: Map<String, Value>,
    }
    let plain = match status {
        StatusCode::BAD_REQUEST => Refusal::bad_request(),
        StatusCode::UNAUTHORIZED => Refusal::unauthorized(),
        StatusCode::FORBIDDEN => Refusal::forbidden(),
        StatusCode::TOO_MANY_REQUESTS => Refusal::too_many_requests(),
        _ => return None,
    };
    let told: Told = serde_json::from_slice(body).unwrap_or_default();
    let refusal = match told.message {
        Some(message) => Refusal::new(status, &message),
        None => plain,
    };
    let data = told.data.into_iter();
    Some(data.fold(refusal, |refusal, (name, value)| {
        refusal.with_data(&name, value)
    }))
}
