//! Fan-out: one task that owns every subscriber and hands each change to those who asked for it.
//!
//! *Owns* the subscribers, their topics and principals.
//! *Takes* feed items by one bounded channel, commands by another ([`HubHandle`]).
//! *Gives* frames, each into its receiver's bounded mailbox, and has couriers write them where that needs nobody else.
//! *Never* waits for a subscriber, and knows neither HTTP nor SQL. For rows of other collections it waits, a while.

mod access;
mod client_store;
mod cohort;
mod direct;
mod encoded;
mod expand;
mod extent;
#[cfg(test)]
pub(crate) mod fake;
mod filter;
mod fragments;
mod frames;
mod groups;
mod handle;
mod history;
mod index;
mod leave;
mod line;
mod login_judge;
mod lookups;
mod mailbox;
mod marks;
mod messages;
mod personal;
mod points;
mod principals;
mod publish;
mod recall;
mod registry;
mod replay;
mod resume;
mod resync;
mod roster;
mod snapshot;
mod store;
mod strict;
mod subscribe;
mod tally;
mod task;
mod unfit;
mod verdict;

pub use client_store::StoreOwner;
pub use direct::{DirectError, DirectMessage, UnfitMessage};
pub use handle::{HubHandle, JoinError, Resume, SetTopics, SetTopicsError};
pub use line::Line;
pub use login_judge::LoginJudge;
pub use mailbox::{ClientId, Forwarding, Mailbox, Outlet, Told, Written};
pub use recall::Recent;
pub use replay::Past;
pub use roster::{HubStopped, RosterPage, SubscriberInfo, Which};
pub use store::{BadKey, StoreChange, StoreError};
pub use task::Hub;
pub use unfit::{Unfit, Unfitting};

/// Limits of the hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Frames that may wait for one subscriber before it is let go. A transaction's changes come in
    /// one go, faster than any network, so this is also about the largest transaction that a reader
    /// of good health receives whole. Room is taken only as it fills.
    pub mailbox_frames: usize,
    /// Events that are remembered for those who were away for a short while; what happened before
    /// is read again from the log.
    pub history_frames: usize,
    /// Bytes of their rows.
    pub history_bytes: u64,
    /// Records that a snapshot may hold; who may see more is told to load them otherwise.
    pub snapshot_rows_max: usize,
    /// Subscribers in all.
    pub subscribers_max: usize,
    /// Subscribers from one address.
    pub subscribers_per_address_max: usize,
    /// Whether the topic `*` delivers every collection the subscriber may list.
    pub wildcard: bool,
    /// Whether subscriptions that could never fire are refused; PocketBase accepts them.
    pub strict_subscriptions: bool,
    /// What becomes of a stream when the token that opened it ends.
    pub token_expiry: TokenExpiry,
}

/// What becomes of a stream when its token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenExpiry {
    /// Its rights end with the token, and itself a moment later; the client comes back with another.
    #[default]
    End,
    /// It goes on with all rights, as PocketBase's do.
    Ignore,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            mailbox_frames: 4096,
            history_frames: 65_536,
            history_bytes: 64 * 1024 * 1024,
            snapshot_rows_max: 10_000,
            subscribers_max: 100_000,
            subscribers_per_address_max: 1_000,
            wildcard: true,
            strict_subscriptions: false,
            token_expiry: TokenExpiry::default(),
        }
    }
}
