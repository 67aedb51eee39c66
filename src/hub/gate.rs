//! Who passes: rules and filters, compiled when first asked and kept while the collection is the same.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::{Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
use crate::catalog::{Collection, CollectionKey, Rule};
use crate::rules::{AuthValues, Predicate, RequestContext, Row, RuleError, RuleUse};
use crate::telemetry::Metrics;
use crate::topic::{Guard, Options};

/// How long a rule that cannot decide is silent after it was logged.
const SILENCE: Duration = Duration::from_secs(60);

/// The gates of all collections that had an event.
#[derive(Default)]
pub(super) struct Gates(HashMap<CollectionKey, Gate>);

impl Gates {
    /// Compiles the rules of a collection as an event understands it, if that is not what is known.
    pub(super) fn prepare(&mut self, collection: &Arc<Collection>) {
        let known = self.0.get(&collection.key);
        if !known.is_some_and(|gate| Arc::ptr_eq(&gate.collection, collection)) {
            self.0.insert(collection.key, Gate::new(collection));
        }
    }

    /// The gate of a collection that was prepared.
    pub(super) fn of(&self, collection: &Collection) -> &Gate {
        let gate = self.0.get(&collection.key);
        gate.expect("a collection is prepared before its events are delivered")
    }
}

/// The rules of one collection, as of one moment.
pub(super) struct Gate {
    collection: Arc<Collection>,
    list: CompiledRule,
    view: CompiledRule,
}

impl Gate {
    fn new(collection: &Arc<Collection>) -> Self {
        let compiled = |name, rule| CompiledRule {
            name,
            test: Test::of(rule, collection),
            logged: Cell::new(None),
        };
        Self {
            list: compiled("list", &collection.rules.list),
            view: compiled("view", &collection.rules.view),
            collection: Arc::clone(collection),
        }
    }

    fn rule(&self, guard: Guard) -> &CompiledRule {
        match guard {
            Guard::List => &self.list,
            Guard::View => &self.view,
        }
    }

    /// Whether the rule lets pass some rows, for whoever is no superuser.
    pub(super) fn is_ever_open(&self, guard: Guard) -> bool {
        match self.rule(guard).test {
            Test::Always | Test::Sometimes(_) => true,
            Test::Never | Test::Broken(_) => false,
        }
    }

    /// Whether the outcome is the same whatever a subscription's options are.
    pub(super) fn ignores_options(&self, guard: Guard) -> bool {
        match &self.rule(guard).test {
            Test::Sometimes(predicate) => !(predicate.needs().query || predicate.needs().headers),
            Test::Always | Test::Never | Test::Broken(_) => true,
        }
    }

    /// Whether a row passes. What cannot be decided does not, is counted, and logged now and then.
    pub(super) fn lets_pass(
        &self,
        guard: Guard,
        row: Row<'_>,
        request: &RequestContext<'_>,
        metrics: &Metrics,
    ) -> bool {
        let rule = self.rule(guard);
        let reason = match &rule.test {
            Test::Always => return true,
            Test::Never => return false,
            Test::Sometimes(predicate) => match predicate.decide(row, request) {
                Ok(passes) => return passes,
                Err(error) => {
                    rule.log(&self.collection, &error);
                    error.as_str()
                }
            },
            Test::Broken(error) => {
                rule.log(&self.collection, error);
                if error.needs_query() {
                    "needs_query"
                } else {
                    "invalid"
                }
            }
        };
        Metrics::count(&metrics.rule_errors, reason);
        false
    }
}

struct CompiledRule {
    /// `list` or `view`, for the log.
    name: &'static str,
    test: Test,
    logged: Cell<Option<Instant>>,
}

enum Test {
    Always,
    Never,
    Sometimes(Box<Predicate>),
    /// The rule cannot be used.
    Broken(RuleError),
}

impl Test {
    fn of(rule: &Rule, collection: &Collection) -> Self {
        let text = match rule {
            Rule::Locked => return Self::Never,
            Rule::Public => return Self::Always,
            Rule::Expression(text) => text,
        };
        match Predicate::compile(text, collection, RuleUse::Rule) {
            Ok(predicate) => Self::Sometimes(Box::new(predicate)),
            Err(error) => Self::Broken(error),
        }
    }
}

impl CompiledRule {
    /// Says why it denies, but not always.
    fn log(&self, collection: &Collection, error: &(dyn Error + 'static)) {
        let silent = |logged: Instant| logged.elapsed() < SILENCE;
        if self.logged.get().is_some_and(silent) {
            return;
        }
        self.logged.set(Some(Instant::now()));
        tracing::warn!(
            collection.name = %collection.name,
            rule = self.name,
            error,
            "a rule cannot decide and denies"
        );
    }
}

/// A subscription's filter, compiled for the collections it meets: those who wrote the same text
/// share it.
#[derive(Default)]
pub(super) struct Filter(RefCell<HashMap<CollectionKey, CompiledFilter>>);

struct CompiledFilter {
    collection: Arc<Collection>,
    plain: OnceCell<Option<Box<Predicate>>>,
    superuser: OnceCell<Option<Box<Predicate>>>,
}

impl Filter {
    /// Whether a row passes. A filter that PocketBase could not read lets nothing pass.
    pub(super) fn lets_pass(
        &self,
        collection: &Arc<Collection>,
        row: Row<'_>,
        options: &Options,
        request: &RequestContext<'_>,
        superuser: bool,
    ) -> bool {
        if options.query.get("filter").is_none_or(String::is_empty) {
            return true;
        }
        let mut compiled = self.0.borrow_mut();
        let new = || CompiledFilter {
            collection: Arc::clone(collection),
            plain: OnceCell::new(),
            superuser: OnceCell::new(),
        };
        let filter = compiled.entry(collection.key).or_insert_with(new);
        if !Arc::ptr_eq(&filter.collection, collection) {
            *filter = new();
        }
        let predicate = match superuser {
            true => &filter.superuser,
            false => &filter.plain,
        };
        let predicate = predicate.get_or_init(|| compiled_filter(collection, options, superuser));
        predicate
            .as_ref()
            .is_some_and(|predicate| predicate.decide(row, request) == Ok(true))
    }
}

fn compiled_filter(
    collection: &Collection,
    options: &Options,
    superuser: bool,
) -> Option<Box<Predicate>> {
    match Predicate::of_options(&options.query, collection, superuser) {
        Ok(predicate) => predicate.map(Box::new),
        Err(error) => {
            tracing::debug!(
                collection.name = %collection.name,
                error = error.summary(),
                "a subscription's filter cannot be used, so it never fires"
            );
            None
        }
    }
}

/// What rules know of a principal; nothing of guests.
pub(super) fn auth_values(principal: &Principal) -> Option<AuthValues> {
    match principal {
        Principal::Guest => None,
        Principal::Superuser { id } => Some(AuthValues {
            id: id.to_string(),
            collection_id: SUPERUSERS_ID.to_owned(),
            collection_name: SUPERUSERS_NAME.to_owned(),
            ..AuthValues::default()
        }),
    }
}

#[cfg(test)]
mod tests;
