//! The policy: an immutable snapshot of all rows, ready to say which of them apply.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::timeout;
use tokio_postgres::GenericClient;

use super::explain::Explanation;
use super::gate::Applicable;
use super::graph::{Reached, RoleGraph};
use super::objects::{self, Closed};
use super::rows::{ANY, GrantRow, Misread, PolicyRows, RuleRow};
use super::{POLICY_ROWS_MAX, RoleSet, Roles, RuleKind};
use crate::db::{Database, PoolError};

/// Why a policy could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The pool had no connection to give.
    #[error("no connection")]
    Pool(#[from] PoolError),
    /// The query failed.
    #[error("could not read the policy")]
    Query(#[from] tokio_postgres::Error),
    /// The database took longer than a statement may.
    #[error("the database took too long")]
    Deadline,
    /// The table is too large to be read after every change.
    #[error(
        "rowcast.casbin_rule has more than {POLICY_ROWS_MAX} rows; give rights to roles, and roles by token claims \
         instead of one row per user"
    )]
    TooManyRows,
}

/// All that is written about who may see what, as of one moment.
pub struct Policy {
    /// Unlike that of any other snapshot in this process.
    version: u64,
    rows: PolicyRows,
    graph: RoleGraph,
    /// The numbers of the subjects that rules are about.
    subjects: HashMap<Arc<str>, u32>,
    /// The rules about each collection, and under `*` those about all, in the table's order.
    by_collection: HashMap<Arc<str>, Vec<Numbered>>,
    /// The rules about what is no collection, and those about everything, in the table's order.
    objects: Vec<Numbered>,
}

/// A rule and its place in the table's order.
#[derive(Clone)]
struct Numbered {
    place: usize,
    subject: u32,
    row: Arc<RuleRow>,
}

impl Policy {
    /// Loads the policy.
    ///
    /// # Errors
    /// If the database does not answer, or the policy has more rows than it may.
    pub async fn load(database: &Database) -> Result<Self, LoadError> {
        let loading = async {
            let client = database.pool().get().await?;
            Self::read(&**client).await
        };
        let loaded = timeout(database.statement_deadline(), loading).await;
        loaded.map_err(|_| LoadError::Deadline)?
    }

    /// Reads the policy as a connection or a transaction sees it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn read(client: &impl GenericClient) -> Result<Self, LoadError> {
        let policy = Self::new(PolicyRows::read(client).await?);
        if let Some(first) = policy.misread().first() {
            tracing::warn!(
                rows = policy.misread().len(),
                first.id,
                first.why,
                "the policy has rows that are not understood; \
                 see them with: rowcast policy explain"
            );
        }
        Ok(policy)
    }

    /// The policy that these rows and the built-in ones make.
    pub fn new(written: PolicyRows) -> Self {
        let mut rows = PolicyRows::built_in();
        rows.rules.extend(written.rules);
        rows.grants.extend(written.grants);
        rows.misread = written.misread;
        rows.closed = written.closed;
        let mut policy = Self {
            version: next_version(),
            graph: RoleGraph::new(&rows.grants),
            subjects: HashMap::new(),
            by_collection: HashMap::new(),
            objects: Vec::new(),
            rows,
        };
        for (place, row) in policy.rows.rules.iter().enumerate() {
            let next = u32::try_from(policy.subjects.len()).expect("rows are limited");
            let subject = *policy
                .subjects
                .entry(Arc::clone(&row.subject))
                .or_insert(next);
            let about = policy
                .by_collection
                .entry(Arc::clone(&row.collection))
                .or_default();
            let numbered = Numbered {
                place,
                subject,
                row: Arc::clone(row),
            };
            if *row.collection == *ANY || objects::is_object(&row.collection) {
                policy.objects.push(numbered.clone());
            }
            about.push(numbered);
        }
        policy
    }

    /// A number that no other snapshot in this process has.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Rows of the table that do not say what rows there say, and what they count as.
    pub fn misread(&self) -> &[Misread] {
        &self.rows.misread
    }

    /// All roles that these roles come to, near ones first.
    pub fn all_roles<'p>(&'p self, roles: &'p Roles) -> impl Iterator<Item = &'p str> {
        self.reached(roles).into_iter().map(|reached| reached.role)
    }

    pub(super) fn reached<'p>(&'p self, roles: &'p Roles) -> Vec<Reached<'p>> {
        self.graph.closure(roles.names())
    }

    /// What roles come to: those that some rule is about.
    pub fn role_set(&self, roles: &Roles) -> RoleSet {
        let mut numbers: Vec<u32> = self
            .all_roles(roles)
            .filter_map(|role| self.subjects.get(role).copied())
            .collect();
        numbers.sort_unstable();
        RoleSet(numbers.into())
    }

    /// The rules that stand between a set of roles, of this very policy, and a collection, or an object
    /// such as [`topic_object`](super::topic_object) makes.
    pub fn applicable(&self, roles: &RoleSet, collection: &str, kind: RuleKind) -> Applicable {
        if objects::is_object(collection) {
            return self.applicable_to_object(roles, collection, kind);
        }
        let about = |name: &str| self.by_collection.get(name).map_or(&[][..], Vec::as_slice);
        // A collection cannot be called `*`, but whoever asks for one must not count its rules twice.
        let own = if collection == ANY {
            &[][..]
        } else {
            about(collection)
        };
        let mut found: Vec<&Numbered> = own
            .iter()
            .chain(about(ANY))
            .filter(|rule| rule.row.is_about(kind) && roles.contains(rule.subject))
            .collect();
        found.sort_unstable_by_key(|rule| rule.place);
        let mut applicable = Applicable::default();
        for rule in found {
            applicable.push(&rule.row);
        }
        applicable
    }

    fn applicable_to_object(&self, roles: &RoleSet, object: &str, kind: RuleKind) -> Applicable {
        let rules = self.objects.iter().map(|rule| (rule.subject, &rule.row));
        let closed = self.closes(object);
        let mut applicable = Applicable::default();
        for row in objects::applicable(rules, roles, object, kind, closed) {
            applicable.push(row);
        }
        applicable
    }

    /// Whether some row closes an object to whoever is not allowed.
    pub(super) fn closes(&self, object: &str) -> bool {
        self.rows.closed.closes(object)
    }

    /// Whether some row is about a topic of the application's own.
    pub fn names_topic(&self, topic: &str) -> bool {
        let object = super::topic_object(topic);
        self.objects.iter().any(|rule| {
            let RuleRow {
                subject,
                collection,
                effect,
                id,
                ..
            } = &*rule.row;
            id.is_some()
                && **collection != *ANY
                && objects::is_about(subject, collection, *effect, &object, true)
        })
    }

    /// The rules about a collection, those about all included, in the table's order.
    pub fn rules_about(&self, collection: &str) -> Vec<&Arc<RuleRow>> {
        let about = |name: &str| self.by_collection.get(name).into_iter().flatten();
        let mut found: Vec<&Numbered> = about(collection).chain(about(ANY)).collect();
        found.sort_unstable_by_key(|rule| rule.place);
        found.into_iter().map(|rule| &rule.row).collect()
    }

    /// Why somebody with these roles may or may not see records of a collection.
    pub fn explain(&self, roles: &Roles, collection: &str, kind: RuleKind) -> Explanation {
        Explanation::new(self, roles, collection, kind)
    }

    pub(super) fn rules(&self) -> &[Arc<RuleRow>] {
        &self.rows.rules
    }

    pub(super) fn closed(&self) -> &Closed {
        &self.rows.closed
    }

    pub(super) fn grants(&self) -> &[GrantRow] {
        &self.rows.grants
    }
}

/// No rows but the built-in ones: everything is locked to all but superusers.
impl Default for Policy {
    fn default() -> Self {
        Self::new(PolicyRows::default())
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("version", &self.version)
            .field("rules", &self.rows.rules.len())
            .field("grants", &self.rows.grants.len())
            .finish_non_exhaustive()
    }
}

pub(super) fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
