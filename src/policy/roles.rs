//! Roles: what somebody has proved to be, and what that comes to under a policy.

use std::sync::Arc;

/// What somebody has proved to be; the policy says what more that brings.
///
/// Never empty, and never a name of the policy's own that was not earned: roles out of a token stand
/// under `role:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Roles(Arc<[Arc<str>]>);

impl Roles {
    /// Nobody in particular: `guest`.
    pub fn guest() -> Self {
        Self(["guest".into()].into())
    }

    /// A superuser: `superuser`, and itself by id.
    pub fn superuser(id: &str) -> Self {
        Self(["superuser".into(), format!("_superusers/{id}").into()].into())
    }

    /// A superuser, whichever.
    pub fn any_superuser() -> Self {
        Self(["superuser".into()].into())
    }

    /// A record of an auth collection: `authenticated`, itself as `<collection>/<id>`, and the roles
    /// its token claims, each as `role:<name>`.
    pub fn record<'r>(
        collection: &str,
        id: &str,
        claimed: impl IntoIterator<Item = &'r str>,
    ) -> Self {
        let own = ["authenticated".into(), format!("{collection}/{id}").into()];
        let claimed = claimed
            .into_iter()
            .map(|name| format!("role:{name}").into());
        Self(own.into_iter().chain(claimed).collect())
    }

    /// Some record or other that has this role, as the policy names it.
    pub fn holder_of(role: &str) -> Self {
        Self(["authenticated".into(), role.into()].into())
    }

    /// The roles as the policy names them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

/// The roles of somebody that make a difference under one policy, as numbers of that policy.
///
/// Most users come to the same set, so what is worked out for a set serves them all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RoleSet(pub(super) Box<[u32]>);

impl RoleSet {
    pub(super) fn contains(&self, subject: u32) -> bool {
        self.0.binary_search(&subject).is_ok()
    }
}
