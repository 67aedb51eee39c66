//! The principal: a guest, or a superuser.

use std::sync::Arc;

/// The collection id PocketBase gives to superusers everywhere.
pub const SUPERUSERS_ID: &str = "pbc_3142635823";

/// The collection name PocketBase gives to superusers everywhere.
pub const SUPERUSERS_NAME: &str = "_superusers";

/// Who is behind a request or a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Principal {
    /// Nobody has proved anything.
    #[default]
    Guest,
    /// Passes every rule and sees hidden fields.
    Superuser {
        /// The superuser's record id.
        id: Arc<str>,
    },
}

impl Principal {
    /// Whether rules do not apply.
    pub fn is_superuser(&self) -> bool {
        matches!(self, Self::Superuser { .. })
    }

    /// Whether nothing was proved.
    pub fn is_guest(&self) -> bool {
        matches!(self, Self::Guest)
    }
}
