//! What subscribers may see: the policy's gates, asked on behalf of principals.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::registry::Subscriber;
use super::tally::Tally;
use crate::auth::{self, AuthRecord, Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
use crate::catalog::{Catalog, Collection};
use crate::policy::{Gate, GateCache, Member, Roles, RuleKind, RuleRow, Standing};
use crate::rules::{
    AuthValues, Predicate, RelatedGates, RequestContext, Row, RuleError, RuleUse, Scope,
    Undecidable,
};
use crate::topic::Guard;

/// How long a rule that cannot decide is silent after it was logged.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// Auth collections, as described at one time or another, for which a rule is kept compiled.
const SCOPES_MAX: usize = 64;

/// The gates of the policy that the newest change was committed under.
#[derive(Default)]
pub(super) struct Access {
    gates: RefCell<GateCache<CompiledRule>>,
    /// The newest catalog: what rules reach beside their own collection.
    catalog: Arc<Catalog>,
    /// Whether rows were missing that the current question is about.
    missing: Cell<bool>,
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
    ///
    /// # Errors
    /// If it cannot be said before more rows are fetched.
    pub(super) fn lets_pass(
        &self,
        member: &Member,
        guard: Guard,
        row: Row<'_>,
        request: &RequestContext<'_>,
        tally: &Tally,
    ) -> Result<bool, Undecidable> {
        self.judge(member, kind_of(guard), row, request, tally)
    }

    /// As [`lets_pass`](Self::lets_pass), telling a no from what cannot be said before more rows were
    /// fetched.
    fn judge(
        &self,
        member: &Member,
        kind: RuleKind,
        row: Row<'_>,
        request: &RequestContext<'_>,
        tally: &Tally,
    ) -> Result<bool, Undecidable> {
        self.missing.set(false);
        let mark = request.shelf.mark();
        let opens = self.ask(member, row.collection, kind, |gate| {
            gate.opens(|rule| rule.holds(row, request, tally, &self.missing))
        });
        match opens {
            false if self.missing.get() => Err(Undecidable::NotLoaded),
            opens => {
                // Some rule missed rows, and another decided.
                request.shelf.forget_since(mark);
                Ok(opens)
            }
        }
    }

    /// Whether somebody sees what the record keeps to itself.
    pub(super) fn manages(
        &self,
        member: &Member,
        row: Row<'_>,
        request: &RequestContext<'_>,
        tally: &Tally,
    ) -> bool {
        self.judge(member, RuleKind::Manage, row, request, tally) == Ok(true)
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

    /// Whether somebody passes for every row, without a look at it.
    pub(super) fn is_open(&self, member: &Member, collection: &Collection, guard: Guard) -> bool {
        self.ask(member, collection, kind_of(guard), Gate::is_always)
    }

    /// Calls `visit` with every rule that may open to somebody, and with nothing if something else does,
    /// or if a rule cannot be used. A gate that never opens has none.
    pub(super) fn openings(
        &self,
        subscriber: &Subscriber,
        collection: &Collection,
        guard: Guard,
        mut visit: impl FnMut(Option<&Arc<Predicate>>),
    ) {
        let auth = subscriber.auth.as_ref();
        let auth = auth.and_then(|auth| auth.collection.as_ref());
        self.ask(&subscriber.member, collection, kind_of(guard), |gate| {
            let (allow, _) = gate.rules();
            if allow.is_empty() && !gate.is_never() {
                visit(None);
            }
            for rule in allow {
                visit(rule.predicate(auth).ok().as_ref());
            }
        });
    }

    /// What those have in common for whom the gate decides alike, whoever they are; `None` if they may differ.
    pub(super) fn alike(
        &self,
        member: &Member,
        collection: &Collection,
        guard: Guard,
    ) -> Option<Standing> {
        let is_alike = self.ask(member, collection, kind_of(guard), |gate| {
            let (allow, deny) = gate.rules();
            allow.iter().chain(deny).all(CompiledRule::is_alike)
        });
        is_alike.then(|| member.standing())
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

/// What a subscriber's filter may look at: what the subscriber may list.
pub(super) struct ListGates<'a> {
    pub access: &'a Access,
    pub member: &'a Member,
    /// What the rules of those collections see of the subscriber.
    pub request: &'a RequestContext<'a>,
    pub tally: &'a Tally,
}

impl fmt::Debug for ListGates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListGates").finish_non_exhaustive()
    }
}

impl RelatedGates for ListGates<'_> {
    fn may_ever_list(&self, collection: &Collection) -> bool {
        self.access
            .may_ever_pass(self.member, collection, Guard::List)
    }

    fn may_list(&self, row: Row<'_>) -> Result<bool, Undecidable> {
        let Self {
            access,
            member,
            request,
            tally,
        } = self;
        access.judge(member, RuleKind::List, row, request, tally)
    }
}

/// A rule of the policy, compiled for one collection.
struct CompiledRule {
    collection: Arc<str>,
    predicate: Compiled,
    /// How to compile it for the auth collections that its paths may start from.
    scopes: Option<AuthScopes>,
    logged: Cell<Option<Instant>>,
}

impl CompiledRule {
    fn new(row: &RuleRow, collection: &Collection, catalog: &Arc<Catalog>) -> Self {
        let scope = Scope {
            collection,
            catalog,
            auth: None,
        };
        let predicate = compile(&row.rule, scope);
        let follows_auth = predicate
            .as_ref()
            .is_ok_and(|rule| rule.needs().auth_collection);
        Self {
            collection: Arc::clone(&collection.name),
            predicate,
            scopes: catalog
                .get(collection.key)
                .filter(|_| follows_auth)
                .map(|collection| AuthScopes::new(collection, catalog)),
            logged: Cell::new(None),
        }
    }

    fn is_usable(&self) -> bool {
        self.predicate.is_ok()
    }

    /// Whether it is the same for everybody.
    fn is_alike(&self) -> bool {
        match &self.predicate {
            Ok(rule) => !rule.needs().auth && !rule.needs().auth_collection,
            // It denies everybody.
            Err(_) => true,
        }
    }

    /// What it means for principals of this collection.
    fn predicate(&self, auth: Option<&Arc<Collection>>) -> Compiled {
        let predicate = self.predicate.clone()?;
        match (&self.scopes, auth) {
            (Some(scopes), Some(auth)) => scopes.predicate(predicate.text(), auth),
            _ => Ok(predicate),
        }
    }

    /// Whether it holds; `None` if that cannot be said.
    fn holds(
        &self,
        row: Row<'_>,
        request: &RequestContext<'_>,
        tally: &Tally,
        missing: &Cell<bool>,
    ) -> Option<bool> {
        let reason = match self.decide(row, request) {
            Ok(Ok(holds)) => return Some(holds),
            // It will be asked again, when they are.
            Ok(Err(Undecidable::NotLoaded)) => {
                missing.set(true);
                return None;
            }
            Ok(Err(error)) => {
                self.log(&error);
                error.as_str()
            }
            Err(error) => {
                self.log(&*error);
                "invalid"
            }
        };
        tally.rule_error(reason);
        None
    }

    /// What the rule comes to, or why it cannot be used at all.
    fn decide(
        &self,
        row: Row<'_>,
        request: &RequestContext<'_>,
    ) -> Result<Result<bool, Undecidable>, Arc<RuleError>> {
        let predicate = self.predicate.as_ref().map_err(Arc::clone)?;
        let auth = request.auth.and_then(|auth| auth.collection.as_ref());
        if let (Some(scopes), Some(auth)) = (&self.scopes, auth) {
            let predicate = scopes.predicate(predicate.text(), auth)?;
            return Ok(predicate.decide(row, request));
        }
        Ok(predicate.decide(row, request))
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

/// A rule as compiled, or what is wrong with it.
type Compiled = Result<Arc<Predicate>, Arc<RuleError>>;

fn compile(text: &str, scope: Scope<'_>) -> Compiled {
    let compiled = Predicate::compile(text, scope, RuleUse::Rule);
    compiled.map(Arc::new).map_err(Arc::new)
}

/// What a rule means for the principals of one auth collection or another.
struct AuthScopes {
    collection: Arc<Collection>,
    catalog: Arc<Catalog>,
    /// By what the principals knew of their collection when they came; those of before a change may be many.
    compiled: RefCell<Vec<(Arc<Collection>, Compiled)>>,
}

impl AuthScopes {
    fn new(collection: &Arc<Collection>, catalog: &Arc<Catalog>) -> Self {
        Self {
            collection: Arc::clone(collection),
            catalog: Arc::clone(catalog),
            compiled: RefCell::default(),
        }
    }

    /// The rule for principals of this collection.
    fn predicate(&self, text: &str, auth: &Arc<Collection>) -> Compiled {
        let mut compiled = self.compiled.borrow_mut();
        let known = compiled.iter().find(|(known, _)| Arc::ptr_eq(known, auth));
        if let Some((_, predicate)) = known {
            return predicate.clone();
        }
        if compiled.len() >= SCOPES_MAX {
            compiled.clear();
        }
        let scope = Scope {
            collection: &self.collection,
            catalog: &self.catalog,
            auth: Some(auth),
        };
        let predicate = compile(text, scope);
        compiled.push((Arc::clone(auth), predicate.clone()));
        predicate
    }
}

/// A superuser as its own filter is judged: without a superuser's rights (contract, section 4.6).
pub(super) fn filter_member_of(superuser: &str) -> Member {
    Member::new(Roles::record(SUPERUSERS_NAME, superuser, []))
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
    let values = match &record.values {
        auth::AuthValues::Claims(claims) => AuthValues::of_claims(&record.id, (**claims).clone()),
        auth::AuthValues::Row { collection, image } => {
            AuthValues::of_row(collection, &record.id, image)
        }
    };
    AuthValues {
        collection_id: record.collection_id.to_string(),
        collection_name: record.collection_name.to_string(),
        ..values
    }
}

#[cfg(test)]
mod tests;
