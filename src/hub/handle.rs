//! The side door: the only way from outside into the hub.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};

use super::client_store::StoreOwner;
use super::mailbox::{ClientId, Mailbox};
use super::points::keys_of;
use super::roster::{self, HubStopped};
use super::store::{StoreChange, StoreError};
use super::strict::Strict;
use super::unfit::Unfitting;
use crate::auth::{Principal, Proof};
use crate::catalog::Catalog;
use crate::event::Position;
use crate::points::{FindError, PointKey, Points};
use crate::topic::Subscription;

/// A cheap, cloneable way to ask the hub for things.
#[derive(Debug, Clone)]
pub struct HubHandle {
    commands: mpsc::Sender<Command>,
    /// Set where subscriptions are checked before they are taken.
    strict: Option<Strict>,
    /// Where subscriptions with keys were.
    points: Option<Points>,
    /// The newest catalog; `None` before the first.
    catalogs: watch::Receiver<Option<Arc<Catalog>>>,
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
    /// From where they go on.
    pub resume: Resume,
}

/// From where subscriptions go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resume {
    /// From now on.
    #[default]
    Live,
    /// The subscriber keeps the last id of its stream, and goes on from the one it gives.
    Stream(Option<Position>),
}

impl Resume {
    /// A stream whose client says this was the last id. What is no position was received before the
    /// first one, so that nothing can have been missed.
    pub fn stream(last_id: Option<&str>) -> Self {
        Self::Stream(last_id.and_then(|id| id.parse().ok()))
    }
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

/// Who asks for which stream.
#[derive(Debug)]
pub(super) struct Claim {
    pub client_id: String,
    pub address: IpAddr,
    pub principal: Principal,
}

#[derive(Debug)]
pub(super) enum Command {
    Join {
        id: ClientId,
        address: IpAddr,
        reply: oneshot::Sender<Result<Mailbox, JoinError>>,
    },
    /// What would be said to such a request; nothing changes.
    Check {
        request: Claim,
        reply: oneshot::Sender<Result<(), SetTopicsError>>,
    },
    SetTopics {
        request: SetTopics,
        /// Where its subscriptions with keys were, if the database could say.
        points: Result<HashMap<PointKey, Position>, FindError>,
        reply: oneshot::Sender<Result<(), SetTopicsError>>,
    },
    Confirm {
        client_id: String,
        claimed: Principal,
        proof: Proof,
    },
    /// Of those who manage the feed.
    Roster(roster::Request),
    ChangeStore {
        client_id: String,
        change: StoreChange,
        /// `None` if nobody has to be asked.
        owner: Option<StoreOwner>,
        reply: oneshot::Sender<Result<Map<String, Value>, StoreError>>,
    },
}

impl HubHandle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        strict: Option<Strict>,
        catalogs: watch::Receiver<Option<Arc<Catalog>>>,
    ) -> Self {
        Self {
            commands,
            strict,
            points: None,
            catalogs,
        }
    }

    pub(super) fn newest_catalog(&self) -> Option<Arc<Catalog>> {
        self.catalogs.borrow().clone()
    }

    /// Lets subscriptions with keys go on where these say.
    #[must_use]
    pub fn with_points(mut self, points: Points) -> Self {
        self.points = Some(points);
        self
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, HubStopped> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| HubStopped)?;
        answer.await.map_err(|_| HubStopped)
    }

    /// Opens a mailbox for a new subscriber without subscriptions. PB_CONNECT is for the caller to
    /// write.
    ///
    /// # Errors
    /// If a limit is reached or the hub has stopped.
    pub async fn join(&self, address: IpAddr) -> Result<Mailbox, JoinError> {
        self.join_as(ClientId::random(), address).await
    }

    /// The same for a name that was drawn before.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn join_as(&self, id: ClientId, address: IpAddr) -> Result<Mailbox, JoinError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Join { id, address, reply };
        if self.commands.send(command).await.is_err() {
            return Err(JoinError::Stopped);
        }
        answer.await.unwrap_or(Err(JoinError::Stopped))
    }

    /// Makes all checks of [`set_topics`](Self::set_topics) and changes nothing.
    ///
    /// # Errors
    /// As [`SetTopicsError`] says.
    pub async fn check_topics(&self, request: SetTopics) -> Result<SetTopics, SetTopicsError> {
        let request = match &self.strict {
            Some(strict) => strict.check(request).await?,
            None => request,
        };
        let (reply, answer) = oneshot::channel();
        let claim = Claim {
            client_id: request.client_id.clone(),
            address: request.address,
            principal: request.principal.clone(),
        };
        let command = Command::Check {
            request: claim,
            reply,
        };
        if self.commands.send(command).await.is_err() {
            return Err(SetTopicsError::Stopped);
        }
        let checked = answer.await.unwrap_or(Err(SetTopicsError::Stopped));
        checked.map(|()| request)
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
        let points = self.find_points(&request).await;
        let command = Command::SetTopics {
            request,
            points,
            reply,
        };
        if self.commands.send(command).await.is_err() {
            return Err(SetTopicsError::Stopped);
        }
        answer.await.unwrap_or(Err(SetTopicsError::Stopped))
    }

    async fn find_points(
        &self,
        request: &SetTopics,
    ) -> Result<HashMap<PointKey, Position>, FindError> {
        let keys = keys_of(&request.subscriptions, &request.principal);
        match &self.points {
            Some(points) if !keys.is_empty() => {
                points
                    .find(keys.into_iter().map(|(_, key)| key).collect())
                    .await
            }
            _ => Ok(HashMap::new()),
        }
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
