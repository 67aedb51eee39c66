//! Who may see what: which rules stand between somebody's roles and a collection.
//!
//! *Owns* the meaning of `rowcast.casbin_rule`: the model, the roles, the gates made of both.
//! *Takes* rows in casbin's usual layout, and roles somebody has proved.
//! *Gives* a [`Policy`] that never changes, and from it a [`Gate`] per set of roles, collection and kind of rule.
//! *Never* reads a rule's text or a record: a gate holds whatever the rules were compiled to.
//!
//! Casbin says what a policy means ([`Reference`]), but answers in microseconds per row of the policy;
//! a [`Gate`] is what its answer comes to for everything but the record, worked out once. A test holds
//! gates against casbin for random policies.

mod adapter;
mod cache;
mod explain;
mod gate;
mod graph;
mod objects;
mod reference;
mod roles;
mod rows;
mod snapshot;

#[cfg(test)]
mod tests;

/// The version whose API [`enforcer`] speaks.
pub use casbin;

pub use adapter::{PolicyAdapter, enforcer};
pub use cache::{GateCache, Member, Standing};
pub use explain::{AppliedRow, Explanation, Verdict};
pub use gate::{Applicable, Gate};
pub use objects::{store_object, topic_object};
pub use reference::{Reference, ReferenceError};
pub use roles::{RoleSet, Roles};
pub use rows::{Effect, Misread, POLICY_ROWS_MAX, PolicyRows, RuleKind, RuleRow};
pub use snapshot::{LoadError, Policy};
