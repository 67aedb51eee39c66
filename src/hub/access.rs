//! What subscribers may see: the policy's gates, asked on behalf of principals.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use tokio::time::Instant;

use crate::auth::{self, AuthRecord, Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
use crate::catalog::{Catalog, Collection};
use crate::policy::{Gate, GateCache, Member, Roles, RuleKind, RuleRow};
use crate::record::{Visibility, encode_record};
use crate::rules::{AuthValues, Predicate, RequestContext, Row, RuleError, RuleUse, Scope};
use crate::telemetry::Metrics;
use crate::topic::Guard;

/// How long a rule that cannot decide is silent after it was logged.
const SILENCE: Duration = Duration::from_secs(60);

/// The gates of the policy that the newest change was committed under.
#[derive(Default)]
pub(super) struct Access {
    gates: RefCell<GateCache<CompiledRule>>,
    /// The newest catalog: what rules reach beside their own collection.
    catalog: Arc<Catalog>,
}

impl Access {
    /// Takes note of a newer catalog.
    pub(super) fn set_catalog(&mut self, catalog: &Arc<Catalog>) {
        self.catalog = Arc::clone(catalog);
    }

    /// The newest catalog.
    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Whether somebody passes the rules that guard a topic, as far as they concern a row. What
    /// cannot be decided does not open, is counted, and logged now and then.
    pub(super) fn lets_pass(
        &self,
        member: &Member,
        guard: Guard,
        row: Row<'_>,
        request: &RequestContext<'_>,
        metrics: &Metrics,
    ) -> bool {
        self.ask(member, row.collection, kind_of(guard), |gate| {
            gate.opens(|rule| rule.holds(row, request, metrics))
        })
    }

    /// Whether somebody sees what the record keeps to itself.
    pub(super) fn manages(
        &self,
        member: &Member,
        row: Row<'_>,
        request: &RequestContext<'_>,
        metrics: &Metrics,
    ) -> bool {
        self.ask(member, row.collection, RuleKind::Manage, |gate| {
            gate.opens(|rule| rule.holds(row, request, metrics))
        })
    }

    /// Whether somebody passes for some row or other.
    pub(super) fn may_ever_pass(
        &self,
        member: &Member,
        collection: &Collection,
        guard: Guard,
    ) -> bool {
        self.ask(member, collection, kind_of(guard), |gate| {
            let (allow, _) = gate.rules();
            // A gate that opens sometimes and asks nobody for it is public but for what it denies.
            !gate.is_never() && (allow.is_empty() || allow.iter().any(CompiledRule::is_usable))
        })
    }

    fn ask<T>(
        &self,
        member: &Member,
        collection: &Collection,
        kind: RuleKind,
        ask: impl FnOnce(&Gate<CompiledRule>) -> T,
    ) -> T {
        let mut gates = self.gates.borrow_mut();
        ask(
            gates.gate(&collection.policy, member, &collection.name, kind, |row| {
                Some(CompiledRule::new(row, collection, &self.catalog))
            }),
        )
    }
}

/// A rule of the policy, compiled for one collection.
struct CompiledRule {
    collection: Arc<str>,
    predicate: Result<Box<Predicate>, RuleError>,
    logged: Cell<Option<Instant>>,
}

impl CompiledRule {
    fn new(row: &RuleRow, collection: &Collection, catalog: &Catalog) -> Self {
        let scope = Scope {
            collection,
            catalog,
            auth: None,
        };
        Self {
            collection: Arc::clone(&collection.name),
            predicate: Predicate::compile(&row.rule, scope, RuleUse::Rule).map(Box::new),
            logged: Cell::new(None),
        }
    }

    fn is_usable(&self) -> bool {
        self.predicate.is_ok()
    }

    /// Whether it holds; `None` if that cannot be said.
    fn holds(&self, row: Row<'_>, request: &RequestContext<'_>, metrics: &Metrics) -> Option<bool> {
        let reason = match &self.predicate {
            Ok(predicate) => match predicate.decide(row, request) {
                Ok(holds) => return Some(holds),
                Err(error) => {
                    self.log(&error);
                    error.as_str()
                }
            },
            Err(error) => {
                self.log(error);
                if error.needs_query() {
                    "needs_query"
                } else {
                    "invalid"
                }
            }
        };
        Metrics::count(&metrics.rule_errors, reason);
        None
    }

    /// Says why it denies, but not always.
    fn log(&self, error: &(dyn Error + 'static)) {
        let silent = |logged: Instant| logged.elapsed() < SILENCE;
        if self.logged.get().is_some_and(silent) {
            return;
        }
        self.logged.set(Some(Instant::now()));
        tracing::warn!(
            collection.name = %self.collection,
            error,
            "a rule cannot decide and denies"
        );
    }
}

/// A principal with its roles, as the policy is asked about it.
pub(super) fn member_of(principal: &Principal) -> Member {
    Member::new(match principal {
        Principal::Guest => Roles::guest(),
        Principal::Record(record) => {
            let claimed = record.roles.iter().map(|role| &**role);
            Roles::record(&record.collection_name, &record.id, claimed)
        }
        Principal::Superuser { id } => Roles::superuser(id),
    })
}

fn kind_of(guard: Guard) -> RuleKind {
    match guard {
        Guard::List => RuleKind::List,
        Guard::View => RuleKind::View,
    }
}

/// What rules know of a principal; nothing of guests.
pub(super) fn auth_values(principal: &Principal) -> Option<AuthValues> {
    match principal {
        Principal::Guest => None,
        Principal::Record(record) => Some(record_values(record)),
        Principal::Superuser { id } => Some(AuthValues {
            id: id.to_string(),
            collection_id: SUPERUSERS_ID.to_owned(),
            collection_name: SUPERUSERS_NAME.to_owned(),
            ..AuthValues::default()
        }),
    }
}

fn record_values(record: &AuthRecord) -> AuthValues {
    let (fields, collection) = match &record.values {
        auth::AuthValues::Claims(claims) => ((**claims).clone(), None),
        auth::AuthValues::Row { collection, image } => {
            let json = encode_record(collection, &record.id, image, Visibility::Full);
            // A record that cannot be read back has no values, and rules deny what they cannot see.
            let fields: Map<_, _> = serde_json::from_slice(&json).unwrap_or_default();
            (fields, Some(Arc::clone(collection)))
        }
    };
    let is = |names: &[&str]| {
        names
            .iter()
            .any(|name| fields.get(*name) == Some(&true.into()))
    };
    AuthValues {
        id: record.id.to_string(),
        collection_id: record.collection_id.to_string(),
        collection_name: record.collection_name.to_string(),
        email: fields
            .get("email")
            .and_then(|email| email.as_str())
            .unwrap_or_default()
            .to_owned(),
        email_visibility: is(&["emailVisibility", "email_visibility"]),
        verified: is(&["verified", "email_verified"]),
        fields,
        collection,
    }
}

#[cfg(test)]
mod tests;
