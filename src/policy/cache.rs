//! Gates that were worked out before.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::gate::Gate;
use super::roles::{RoleSet, Roles};
use super::rows::{RuleKind, RuleRow};
use super::snapshot::{Policy, next_version};

/// Different sets of roles that are remembered; beyond that the cache starts anew.
const ROLE_SETS_MAX: usize = 65_536;

/// Gates that are remembered; beyond that the cache starts anew.
const GATES_MAX: usize = 262_144;

/// Somebody with roles, and what they came to when last asked.
#[derive(Debug, Clone)]
pub struct Member {
    roles: Roles,
    standing: Cell<Standing>,
}

/// A set of roles as numbered by one generation of one cache; generation 0 is none. Under one policy, all of the
/// same standing have the same gates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Standing {
    generation: u64,
    set: u32,
}

impl Member {
    /// Somebody with these roles.
    pub fn new(roles: Roles) -> Self {
        Self {
            roles,
            standing: Cell::default(),
        }
    }

    /// What its roles came to when a gate was last asked for it.
    pub fn standing(&self) -> Standing {
        self.standing.get()
    }
}

/// The gates of one policy at a time, each made when first asked for. Bounded; starts anew when
/// asked about another policy.
#[derive(Debug)]
pub struct GateCache<P> {
    /// The policy's version; 0 before the first.
    policy: u64,
    /// Changes whenever what is remembered is thrown away.
    generation: u64,
    role_sets: HashMap<RoleSet, u32>,
    by_collection: HashMap<Arc<str>, Gates<P>>,
    gates: usize,
}

/// The gates of one collection, by the number of a set of roles.
type Gates<P> = HashMap<(u32, RuleKind), Gate<P>>;

impl<P> Default for GateCache<P> {
    fn default() -> Self {
        Self {
            policy: 0,
            generation: next_version(),
            role_sets: HashMap::new(),
            by_collection: HashMap::new(),
            gates: 0,
        }
    }
}

impl<P> GateCache<P> {
    /// The gate between somebody and a collection.
    ///
    /// `compile` is as for [`Applicable::compile`](super::Applicable::compile); as gates are kept for
    /// as long as the policy, it must come to the same under one policy.
    pub fn gate(
        &mut self,
        policy: &Policy,
        member: &Member,
        collection: &Arc<str>,
        kind: RuleKind,
        compile: impl FnMut(&RuleRow) -> Option<P>,
    ) -> &Gate<P> {
        let is_full = self.role_sets.len() >= ROLE_SETS_MAX || self.gates >= GATES_MAX;
        if self.policy != policy.version() || is_full {
            self.start_anew(policy);
        }
        let set = self.set_of(policy, member);
        // Looked up twice, because a name is copied only when it is new.
        if !self.by_collection.contains_key(collection) {
            self.by_collection
                .insert(Arc::clone(collection), HashMap::new());
        }
        let gates = self
            .by_collection
            .get_mut(collection)
            .expect("inserted above");
        gates.entry((set, kind)).or_insert_with(|| {
            self.gates += 1;
            let roles = policy.role_set(&member.roles);
            policy.applicable(&roles, collection, kind).compile(compile)
        })
    }

    fn start_anew(&mut self, policy: &Policy) {
        *self = Self {
            policy: policy.version(),
            ..Self::default()
        };
    }

    fn set_of(&mut self, policy: &Policy, member: &Member) -> u32 {
        let known = member.standing.get();
        if known.generation == self.generation {
            return known.set;
        }
        let next = u32::try_from(self.role_sets.len()).expect("sets are limited");
        let roles = policy.role_set(&member.roles);
        let set = *self.role_sets.entry(roles).or_insert(next);
        member.standing.set(Standing {
            generation: self.generation,
            set,
        });
        set
    }
}
