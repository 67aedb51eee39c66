//! Decides about auth rules, with the same language and the same doubts as about changes.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

use super::access::{SILENCE, auth_values};
use crate::auth::{Candidate, JudgeLogin, LoginRequest};
use crate::catalog::CollectionKey;
use crate::event::RecordId;
use crate::related::{Library, ROUNDS_MAX, Shelf};
use crate::rules::{
    AuthValues, Predicate, RequestContext, Row, RuleError, RuleUse, Scope, Undecidable,
};
use crate::telemetry::Metrics;

/// Decides who may log in where the auth rule is an expression; cloning shares what was said already.
#[derive(Clone)]
pub struct LoginJudge {
    library: Arc<dyn Library>,
    metrics: Metrics,
    /// When an undecidable rule was logged last, by collection.
    logged: Arc<Mutex<HashMap<CollectionKey, Instant>>>,
}

impl LoginJudge {
    /// Looks up other records here, and counts what it cannot decide.
    pub fn new(library: Arc<dyn Library>, metrics: Metrics) -> Self {
        Self {
            library,
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
    fn admits<'a>(
        &'a self,
        rule: &'a str,
        record: Candidate<'a>,
        request: &'a LoginRequest,
    ) -> BoxFuture<'a, bool> {
        let question = Question {
            record,
            request,
            auth: auth_values(record.asker),
            now: Timestamp::now(),
        };
        async move {
            // Logins are few, and each costs a password's hash: compiling the rule anew is nothing beside it.
            match question.compile(rule) {
                Ok(predicate) => self.decide(&predicate, &question).await,
                Err(error) => self.in_doubt(record, "invalid", &error),
            }
        }
        .boxed()
    }
}

impl LoginJudge {
    async fn decide(&self, predicate: &Predicate, question: &Question<'_>) -> bool {
        let (mut shelf, mut reading) = (Shelf::default(), None);
        for _ in 0..ROUNDS_MAX {
            match question.decide(predicate, &shelf) {
                Ok(holds) => return holds,
                Err(Undecidable::NotLoaded) => {}
                Err(error) => return self.in_doubt(question.record, error.as_str(), &error),
            }
            let reading = reading.get_or_insert_with(|| self.library.open());
            match shelf.fetch_wanted(&mut **reading).await {
                Ok(true) => {}
                Ok(false) => {
                    let error = Undecidable::NotLoaded;
                    return self.in_doubt(question.record, "held_back", &error);
                }
                Err(error) => return self.in_doubt(question.record, "not_fetched", &error),
            }
        }
        let error = Undecidable::TooMuchWork;
        self.in_doubt(question.record, error.as_str(), &error)
    }
}

/// Whether a record may log in, as its auth rule is asked.
struct Question<'q> {
    record: Candidate<'q>,
    request: &'q LoginRequest,
    auth: Option<AuthValues>,
    now: Timestamp,
}

impl Question<'_> {
    fn compile(&self, rule: &str) -> Result<Predicate, RuleError> {
        let asker = self.auth.as_ref();
        let scope = Scope {
            collection: self.record.collection,
            catalog: self.record.catalog,
            auth: asker.and_then(|auth| auth.collection.as_deref()),
        };
        Predicate::compile(rule, scope, RuleUse::Rule)
    }

    fn decide(&self, predicate: &Predicate, shelf: &Shelf) -> Result<bool, Undecidable> {
        let context = RequestContext {
            auth: self.auth.as_ref(),
            query: &self.request.query,
            headers: &self.request.headers,
            method: "POST",
            context: match self.record.asker.is_guest() {
                true => "password",
                false => "default",
            },
            now: self.now,
            shelf,
            gates: None,
        };
        let id = RecordId(Arc::clone(self.record.id));
        let row = Row::now(self.record.collection, &id, self.record.image);
        predicate.decide(row, &context)
    }
}
