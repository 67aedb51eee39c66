//! Which rules of the policy are broken or doubtful: each is compiled for each collection that it is
//! about, as soon as either changes, and not when somebody is first denied.
//!
//! SQL stores a rule without reading it, and a column may go at any time.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Collection};
use crate::policy::{Effect, Policy, Roles, RuleRow};
use crate::rules::{Advice, Predicate, RuleError, RuleUse, Scope, advise};
use crate::telemetry::{BrokenRule, Metrics, RuleReporter};

/// Texts that are compiled in one audit. More would take seconds for what nobody reads.
const TEXTS_MAX: usize = 100_000;
/// Findings that are logged at once.
const LOGGED_MAX: usize = 20;

/// What an audit found, by collection.
#[derive(Debug, Default)]
pub struct Audit {
    /// Rules that cannot be used: they never allow and always deny.
    pub broken: Vec<Finding<RuleError>>,
    /// Rules that are probably not what was meant.
    pub doubtful: Vec<Finding<Advice>>,
    /// Whether there were more texts than are looked at.
    pub incomplete: bool,
}

/// Something about one rule and one collection.
#[derive(Debug, Clone)]
pub struct Finding<T> {
    /// The collection.
    pub collection: Arc<str>,
    /// The rule.
    pub row: Arc<RuleRow>,
    /// What is to be said about it.
    pub what: T,
}

/// Looks at every rule of every collection.
pub fn audit(catalog: &Catalog) -> Audit {
    let mut collections: Vec<_> = catalog.iter().collect();
    collections.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let mut audit = Audit::default();
    let mut left = TEXTS_MAX;
    for collection in collections {
        audit.look_at(collection, catalog, &mut left);
    }
    audit
}

/// Looks at every rule of one collection.
pub fn audit_collection(collection: &Collection, catalog: &Catalog) -> Audit {
    let mut audit = Audit::default();
    audit.look_at(collection, catalog, &mut TEXTS_MAX.clone());
    audit
}

/// Compiles a text as a rule of a collection, for everybody who may ask.
///
/// # Errors
/// What is wrong with it.
pub fn check(
    text: &str,
    collection: &Collection,
    catalog: &Catalog,
) -> Result<Vec<Advice>, RuleError> {
    let askers = catalog
        .iter()
        .filter(|asker| asker.auth.is_some())
        .map(|asker| Some(&**asker));
    // What @request.auth is made of depends on who asks.
    let askers = askers.filter(|_| text.contains("@request.auth."));
    for auth in std::iter::once(None).chain(askers) {
        let scope = Scope {
            collection,
            catalog,
            auth,
        };
        Predicate::compile(text, scope, RuleUse::Rule)?;
    }
    Ok(advise(text, collection))
}

impl Audit {
    fn look_at(&mut self, collection: &Collection, catalog: &Catalog, left: &mut usize) {
        let policy = &collection.policy;
        let guest = Roles::guest();
        let guests: HashSet<&str> = policy.all_roles(&guest).collect();
        let mut checked: HashMap<&str, Result<Vec<Advice>, RuleError>> = HashMap::new();
        for row in written_rules(policy, &collection.name) {
            if !checked.contains_key(&*row.rule) {
                if *left == 0 {
                    self.incomplete = true;
                    return;
                }
                *left -= 1;
                checked.insert(&row.rule, check(&row.rule, collection, catalog));
            }
            let guests_may_pass = row.effect == Effect::Allow && guests.contains(&*row.subject);
            match &checked[&*row.rule] {
                Err(error) => self.broken.push(finding(collection, row, error.clone())),
                Ok(advice) => {
                    let matters = |one: &&Advice| guests_may_pass || !one.is_about_guests();
                    let advice = advice.iter().filter(matters);
                    let doubts = advice.map(|one| finding(collection, row, one.clone()));
                    self.doubtful.extend(doubts);
                }
            }
        }
    }
}

/// The rules with a text, those about every collection included.
fn written_rules<'p>(policy: &'p Policy, name: &str) -> impl Iterator<Item = &'p Arc<RuleRow>> {
    let rules = policy.rules_about(name).into_iter();
    rules.filter(|row| !row.always_holds() && row.is_known())
}

fn finding<T>(collection: &Collection, row: &Arc<RuleRow>, what: T) -> Finding<T> {
    Finding {
        collection: Arc::clone(&collection.name),
        row: Arc::clone(row),
        what,
    }
}

/// The task that audits each new catalog and says what is new.
pub struct Auditor {
    catalogs: watch::Receiver<Option<Arc<Catalog>>>,
    reporter: RuleReporter,
    metrics: Metrics,
    /// What the last audit found, so that nothing is said twice.
    said: HashSet<String>,
}

impl Auditor {
    /// Builds the task; nothing happens before [`run`](Self::run).
    pub fn new(
        catalogs: watch::Receiver<Option<Arc<Catalog>>>,
        reporter: RuleReporter,
        metrics: Metrics,
    ) -> Self {
        Self {
            catalogs,
            reporter,
            metrics,
            said: HashSet::new(),
        }
    }

    /// Audits until told to stop, or until nobody loads catalogs any more.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                changed = self.catalogs.changed() => changed,
            };
            if changed.is_err() {
                // The hub has ended, and with it the service; there is nothing left to say.
                stop.cancelled().await;
                return;
            }
            let Some(catalog) = self.catalogs.borrow_and_update().clone() else {
                continue;
            };
            // Compiling many rules takes a while, and others want to run.
            let Ok(found) = spawn_blocking(move || audit(&catalog)).await else {
                tracing::error!("the rules could not be looked at; this is a defect in rowcast");
                continue;
            };
            self.report(&found);
        }
    }

    fn report(&mut self, audit: &Audit) {
        let broken = audit.broken.iter().map(|finding| BrokenRule {
            collection: Arc::clone(&finding.collection),
            kind: Arc::clone(&finding.row.kind),
            error: finding.what.reason(),
        });
        let broken: Arc<[BrokenRule]> = broken.collect();
        let count = i64::try_from(broken.len()).unwrap_or(i64::MAX);
        self.metrics.broken_rules.set(count);
        self.reporter.set(broken);
        self.say(audit);
    }

    /// Logs what the last audit did not find.
    fn say(&mut self, audit: &Audit) {
        let mut said = HashSet::new();
        let mut room = LOGGED_MAX;
        for finding in &audit.broken {
            self.say_once(&mut said, &mut room, finding, |finding| {
                tracing::error!(
                    collection.name = %finding.collection,
                    rule.kind = %finding.row.kind,
                    rule.row = finding.row.id,
                    error = &finding.what as &dyn Error,
                    "a rule cannot be used: it never allows and always denies"
                );
            });
        }
        for finding in &audit.doubtful {
            self.say_once(&mut said, &mut room, finding, |finding| {
                tracing::warn!(
                    collection.name = %finding.collection,
                    rule.kind = %finding.row.kind,
                    rule.row = finding.row.id,
                    advice = %finding.what,
                    "a rule is probably not what was meant"
                );
            });
        }
        if room == 0 || audit.incomplete {
            tracing::warn!(
                broken = audit.broken.len(),
                doubtful = audit.doubtful.len(),
                "there is more to say about rules; see: rowcast doctor"
            );
        }
        self.said = said;
    }

    fn say_once<T: std::fmt::Display>(
        &self,
        said: &mut HashSet<String>,
        room: &mut usize,
        finding: &Finding<T>,
        say: impl FnOnce(&Finding<T>),
    ) {
        let Finding {
            collection,
            row,
            what,
        } = finding;
        let key = format!("{:?} {collection} {} {what}", row.id, row.kind);
        if *room > 0 && !self.said.contains(&key) {
            *room -= 1;
            say(finding);
        }
        said.insert(key);
    }
}
