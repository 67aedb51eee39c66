//! What a token says, and when that holds (contract, section 6.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value};

use super::principal::{SUPERUSERS_ID, SUPERUSERS_NAME};

/// The claims of a token we issue, in PocketBase's order.
///
/// They hold nothing but ASCII without `>`, `?` and `~`: PocketBase's SDK decodes them as plain
/// base64, which the URL alphabet differs from for just these characters.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewClaims<'a> {
    pub(super) collection_id: &'a str,
    /// Seconds since 1970.
    pub(super) exp: u64,
    pub(super) id: &'a str,
    pub(super) refreshable: bool,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
}

/// The claims of a token somebody shows us.
#[derive(Debug)]
pub(super) struct ShownClaims(Map<String, Value>);

impl ShownClaims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Whom the claims speak of, if they hold at `now` (seconds since 1970).
    pub(super) fn subject(&self, now: f64) -> Option<Subject<'_>> {
        let collection = self.text("collectionId")?;
        let id = self.text("id")?;
        let auth = self.text("type")? == "auth";
        (auth && self.holds_at(now)).then_some(Subject { collection, id })
    }

    /// Whether a newer token may be had for this one.
    pub(super) fn refreshable(&self) -> bool {
        self.0.get("refreshable") == Some(&Value::Bool(true))
    }

    /// When the claims end to hold.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        let exp = self.0.get("exp")?.as_f64()?;
        let since = Duration::try_from_secs_f64(exp).ok()?;
        UNIX_EPOCH.checked_add(since)
    }

    /// Without leeway; a time that is missing does not limit.
    fn holds_at(&self, now: f64) -> bool {
        self.time_is("exp", |exp| now < exp)
            && self.time_is("nbf", |nbf| now >= nbf)
            && self.time_is("iat", |iat| now >= iat)
    }

    fn time_is(&self, claim: &str, good: impl FnOnce(f64) -> bool) -> bool {
        match self.0.get(claim) {
            None => true,
            Some(time) => time.as_f64().is_some_and(good),
        }
    }

    fn text(&self, claim: &str) -> Option<&str> {
        let text = self.0.get(claim)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }
}

/// Whom claims speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject<'a> {
    /// An id or a name.
    pub(super) collection: &'a str,
    /// The record's id.
    pub(super) id: &'a str,
}

impl Subject<'_> {
    /// Whether it is said to be a superuser.
    pub(super) fn is_superuser(&self) -> bool {
        self.collection == SUPERUSERS_ID || self.collection.eq_ignore_ascii_case(SUPERUSERS_NAME)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(changes: Value) -> ShownClaims {
        let mut claims = json!({
            "collectionId": SUPERUSERS_ID, "exp": 1_000, "id": "abc", "refreshable": true, "type": "auth",
        });
        let claims = claims.as_object_mut().expect("an object");
        for (claim, value) in changes.as_object().expect("an object") {
            match value.as_str() {
                Some("absent") => claims.remove(claim),
                _ => claims.insert(claim.clone(), value.clone()),
            };
        }
        ShownClaims::new(claims.clone())
    }

    #[test]
    fn claims_hold_exactly_when_pocketbase_says_so() {
        for (changes, holds) in [
            (json!({}), true),
            (json!({"exp": 999}), false),
            (json!({"exp": 999.5}), false),
            (json!({"exp": 1_000.5}), true),
            (json!({"exp": "absent"}), true),
            (json!({"exp": "2000"}), false),
            (json!({"exp": null}), false),
            (json!({"nbf": 999}), true),
            (json!({"nbf": 1_001}), false),
            (json!({"iat": 1_001}), false),
            (json!({"iat": "x"}), false),
            (json!({"type": "file"}), false),
            (json!({"type": ""}), false),
            (json!({"type": "absent"}), false),
            (json!({"id": ""}), false),
            (json!({"id": 7}), false),
            (json!({"collectionId": "_SuperUsers"}), true),
            (json!({"collectionId": "PBC_3142635823"}), false),
            (json!({"collectionId": "members"}), false),
            (json!({"more": {"a": 1}}), true),
        ] {
            let claims = shown(changes.clone());
            let superuser = claims.subject(999.6).is_some_and(|who| who.is_superuser());
            assert_eq!(superuser, holds, "{changes}");
        }
    }

    #[test]
    fn a_token_ends_at_the_very_second_it_names() {
        let claims = shown(json!({}));
        assert!(claims.subject(999.999).is_some());
        assert!(claims.subject(1_000.0).is_none());
    }
}
