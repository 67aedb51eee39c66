//! Why somebody may or may not see something: the rows that decide, and how they apply.

use std::sync::Arc;

use super::rows::{RuleKind, RuleRow};
use super::{Applicable, Policy, Roles};

/// What a policy says about somebody, one collection and one kind of rule.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Which kind of rule.
    pub kind: RuleKind,
    /// The rows that apply, in the table's order.
    pub rows: Vec<AppliedRow>,
    /// What they come to.
    pub verdict: Verdict,
}

/// A row that applies to somebody.
#[derive(Debug, Clone)]
pub struct AppliedRow {
    /// The row.
    pub row: Arc<RuleRow>,
    /// How they come to its subject: from a role they proved, role by role.
    pub path: Vec<String>,
}

/// What the rows come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No row allows.
    Locked,
    /// A row denies every record.
    Denied,
    /// Every record may be seen.
    Open,
    /// It depends on the record: the rules of the rows are asked.
    AsksRules,
}

impl Explanation {
    pub(super) fn new(policy: &Policy, roles: &Roles, collection: &str, kind: RuleKind) -> Self {
        let applicable = policy.applicable(&policy.role_set(roles), collection, kind);
        let reached = policy.reached(roles);
        let path_to = |subject: &str| {
            let end = reached.iter().find(|reached| reached.role == subject);
            let steps = std::iter::successors(end, |step| step.from.map(|from| &reached[from]));
            let mut path: Vec<_> = steps.map(|step| step.role.to_owned()).collect();
            path.reverse();
            path
        };
        let verdict = Verdict::of(&applicable);
        let mut rows: Vec<_> = [applicable.allow, applicable.deny].concat();
        rows.sort_by_key(|row| row.id);
        let rows = rows.into_iter().map(|row| AppliedRow {
            path: path_to(&row.subject),
            row,
        });
        Self {
            kind,
            rows: rows.collect(),
            verdict,
        }
    }
}

impl Verdict {
    fn of(applicable: &Applicable) -> Self {
        let gate = applicable.compile(|row| Some(Arc::clone(&row.rule)));
        if applicable.allow.is_empty() {
            Self::Locked
        } else if gate.is_never() {
            Self::Denied
        } else if gate.is_always() {
            Self::Open
        } else {
            Self::AsksRules
        }
    }
}
