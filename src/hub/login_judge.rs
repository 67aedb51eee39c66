//! Decides about auth rules, with the same language and the same doubts as about changes.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::access::{SILENCE, auth_values};
use crate::auth::{Candidate, JudgeLogin, LoginRequest};
use crate::catalog::CollectionKey;
use crate::event::RecordId;
use crate::related::Shelf;
use crate::rules::{Predicate, RequestContext, Row, RuleUse, Scope};
use crate::telemetry::Metrics;

/// Decides who may log in where the auth rule is an expression; cloning shares what was said already.
#[derive(Debug, Clone)]
pub struct LoginJudge {
    metrics: Metrics,
    /// When an undecidable rule was logged last, by collection.
    logged: Arc<Mutex<HashMap<CollectionKey, Instant>>>,
}

impl LoginJudge {
    /// Counts what it cannot decide.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            logged: Arc::default(),
        }
    }

    /// Denies, and says so now and then.
    fn in_doubt(&self, record: Candidate<'_>, reason: &'static str, error: &dyn Error) -> bool {
        Metrics::count(&self.metrics.rule_errors, reason);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let key = record.collection.key;
        if logged.get(&key).is_none_or(|at| at.elapsed() >= SILENCE) {
            logged.insert(key, Instant::now());
            tracing::warn!(
                collection.name = %record.collection.name,
                error = %error,
                "the auth rule cannot decide and lets nobody in"
            );
        }
        false
    }
}

impl JudgeLogin for LoginJudge {
    fn admits(&self, rule: &str, record: Candidate<'_>, request: &LoginRequest) -> bool {
        // Logins are few, and each costs a password's hash: compiling the rule anew is nothing beside it.
        let auth = auth_values(record.asker);
        let scope = Scope {
            collection: record.collection,
            catalog: record.catalog,
            auth: auth.as_ref().and_then(|auth| auth.collection.as_deref()),
        };
        let predicate = match Predicate::compile(rule, scope, RuleUse::Rule) {
            Ok(predicate) => predicate,
            Err(error) => return self.in_doubt(record, "invalid", &error),
        };
        let context = RequestContext {
            auth: auth.as_ref(),
            query: &request.query,
            headers: &request.headers,
            method: "POST",
            context: match record.asker.is_guest() {
                true => "password",
                false => "default",
            },
            now: Timestamp::now(),
            // Nobody fetches other records for a login, so a rule that asks for them denies.
            shelf: &Shelf::default(),
            gates: None,
        };
        let row = Row {
            collection: record.collection,
            id: &RecordId(Arc::clone(record.id)),
            image: record.image,
            deleted_by: None,
        };
        match predicate.decide(row, &context) {
            Ok(holds) => holds,
            Err(error) => self.in_doubt(record, error.as_str(), &error),
        }
    }
}
