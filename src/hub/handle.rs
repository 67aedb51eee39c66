//! The side door: the only way from outside into the hub.

use std::net::IpAddr;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::mailbox::Mailbox;
use super::strict::Strict;
use super::unfit::Unfitting;
use crate::auth::{Principal, Proof};
use crate::topic::Subscription;

/// A cheap, cloneable way to ask the hub for things.
#[derive(Debug, Clone)]
pub struct HubHandle {
    commands: mpsc::Sender<Command>,
    /// Set where subscriptions are checked before they are taken.
    strict: Option<Strict>,
}

/// A subscriber's complete new list of subscriptions, and who asks for it.
#[derive(Debug)]
pub struct SetTopics {
    /// The client id the request names; any text.
    pub client_id: String,
    /// Where the request came from; must be where the stream came from.
    pub address: IpAddr,
    /// Who the request proved to be.
    pub principal: Principal,
    /// When that proof ends, if it does.
    pub expires_at: Option<SystemTime>,
    /// What replaces the subscriptions so far.
    pub subscriptions: Vec<Subscription>,
}

/// Why a stream may not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The limit of all subscribers is reached.
    #[error("too many subscribers")]
    TooMany,
    /// The limit of one address is reached.
    #[error("too many subscribers from this address")]
    TooManyFromAddress,
    /// The process is ending.
    #[error("the hub has stopped")]
    Stopped,
}

/// Why subscriptions were not replaced (section 2.4); in this order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetTopicsError {
    /// Some could never fire; only said where subscriptions are checked.
    #[error("some subscriptions could never fire")]
    Unfit(Vec<Unfitting>),
    /// No stream has this client id.
    #[error("missing or invalid client id")]
    UnknownClient,
    /// The stream was opened from another address.
    #[error("invalid realtime client")]
    ForeignAddress,
    /// The stream belongs to another principal.
    #[error("the current and the previous request authorization don't match")]
    OtherPrincipal,
    /// The process is ending.
    #[error("the hub has stopped")]
    Stopped,
}

#[derive(Debug)]
pub(super) enum Command {
    Join {
        address: IpAddr,
        reply: oneshot::Sender<Result<Mailbox, JoinError>>,
    },
    SetTopics {
        request: SetTopics,
        reply: oneshot::Sender<Result<(), SetTopicsError>>,
    },
    Confirm {
        client_id: String,
        claimed: Principal,
        proof: Proof,
    },
}

impl HubHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>, strict: Option<Strict>) -> Self {
        Self { commands, strict }
    }

    /// Opens a mailbox for a new subscriber without subscriptions. PB_CONNECT is for the caller to
    /// write.
    ///
    /// # Errors
    /// If a limit is reached or the hub has stopped.
    pub async fn join(&self, address: IpAddr) -> Result<Mailbox, JoinError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Join { address, reply };
        if self.commands.send(command).await.is_err() {
            return Err(JoinError::Stopped);
        }
        answer.await.unwrap_or(Err(JoinError::Stopped))
    }

    /// Replaces a subscriber's subscriptions and principal, all at once or not at all.
    ///
    /// # Errors
    /// As [`SetTopicsError`] says; nothing has changed then.
    pub async fn set_topics(&self, mut request: SetTopics) -> Result<(), SetTopicsError> {
        if let Some(strict) = &self.strict {
            request = strict.check(request).await?;
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::SetTopics { request, reply };
        if self.commands.send(command).await.is_err() {
            return Err(SetTopicsError::Stopped);
        }
        answer.await.unwrap_or(Err(SetTopicsError::Stopped))
    }

    /// Says who a subscriber, which was taken for `claimed`, has proved to be once more, after the
    /// hub had begun to watch for changes of it. Nothing happens if it is somebody else by now.
    pub async fn confirm(&self, client_id: String, claimed: Principal, proof: Proof) {
        let command = Command::Confirm {
            client_id,
            claimed,
            proof,
        };
        // A hub that has stopped has nobody to confirm.
        let _ = self.commands.send(command).await;
    }
}
