//! What subscribers may see: the policy's gates, asked on behalf of principals.

use std::cell::RefCell;
use std::convert::Infallible;

use crate::auth::Principal;
use crate::catalog::Collection;
use crate::policy::{GateCache, Member, Roles, RuleKind, RuleRow};
use crate::topic::Guard;

/// What a rule is compiled to. Nothing reads expressions here: they never allow and always deny.
type Compiled = Infallible;

/// The gates of the policy that the newest change was committed under.
#[derive(Default)]
pub(super) struct Access(RefCell<GateCache<Compiled>>);

impl Access {
    /// Whether somebody passes the rule that guards a topic.
    pub(super) fn may_see(&self, member: &Member, collection: &Collection, guard: Guard) -> bool {
        let mut gates = self.0.borrow_mut();
        let gate = gates.gate(
            &collection.policy,
            member,
            &collection.name,
            kind_of(guard),
            compile,
        );
        gate.opens(|compiled| match *compiled {})
    }
}

/// A principal with its roles, as the policy is asked about it.
pub(super) fn member_of(principal: &Principal) -> Member {
    Member::new(match principal {
        Principal::Guest => Roles::guest(),
        Principal::Superuser { id } => Roles::superuser(id),
    })
}

fn kind_of(guard: Guard) -> RuleKind {
    match guard {
        Guard::List => RuleKind::List,
        Guard::View => RuleKind::View,
    }
}

fn compile(_: &RuleRow) -> Option<Compiled> {
    None
}
