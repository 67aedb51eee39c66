//! Which roles bring which: casbin's `g`, walked to the end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::rows::GrantRow;

/// The `g` rows as a graph. Cycles are harmless, and chains may be of any length.
#[derive(Debug, Default)]
pub(super) struct RoleGraph(HashMap<Arc<str>, Vec<Arc<str>>>);

/// A role that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached<'g> {
    pub role: &'g str,
    /// Which of the roles found before brought it; `None` for one they started with.
    pub from: Option<usize>,
}

impl RoleGraph {
    pub(super) fn new(grants: &[GrantRow]) -> Self {
        let mut graph = Self::default();
        for GrantRow { member, role } in grants {
            let roles = graph.0.entry(Arc::clone(member)).or_default();
            roles.push(Arc::clone(role));
        }
        graph
    }

    /// These roles and all they bring, each once, near ones first.
    pub(super) fn closure<'g>(
        &'g self,
        roles: impl IntoIterator<Item = &'g str>,
    ) -> Vec<Reached<'g>> {
        let mut seen = HashSet::new();
        let mut found: Vec<_> = roles
            .into_iter()
            .filter(|role| seen.insert(*role))
            .map(|role| Reached { role, from: None })
            .collect();
        let mut at = 0;
        while let Some(member) = found.get(at) {
            for role in self.0.get(member.role).into_iter().flatten() {
                if seen.insert(role) {
                    let from = Some(at);
                    found.push(Reached { role, from });
                }
            }
            at += 1;
        }
        found
    }
}
