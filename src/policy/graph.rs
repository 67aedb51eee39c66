//! Which roles bring which: casbin's `g`, walked to the end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::rows::GrantRow;

/// The `g` rows as a graph. Cycles are harmless, and chains may be of any length.
#[derive(Debug, Default)]
pub(super) struct RoleGraph(HashMap<Arc<str>, Vec<Arc<str>>>);

impl RoleGraph {
    pub(super) fn new(grants: impl IntoIterator<Item = GrantRow>) -> Self {
        let mut graph = Self::default();
        for GrantRow { member, role } in grants {
            graph.0.entry(member).or_default().push(role);
        }
        graph
    }

    /// These roles and all they bring, each once, near ones first.
    pub(super) fn closure<'g>(&'g self, roles: impl IntoIterator<Item = &'g str>) -> Vec<&'g str> {
        let mut seen = HashSet::new();
        let mut found: Vec<&str> = roles
            .into_iter()
            .filter(|role| seen.insert(*role))
            .collect();
        let mut at = 0;
        while let Some(&member) = found.get(at) {
            at += 1;
            for role in self.0.get(member).into_iter().flatten() {
                if seen.insert(role) {
                    found.push(role);
                }
            }
        }
        found
    }
}
