//! The roster: who is connected, for those who manage the feed. It is read piece by piece, so that events
//! never wait for a long list.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::direct::{DirectError, DirectMessage};
use super::handle::{Command, HubHandle};
use super::mailbox::ClientId;
use super::registry::{Subscriber, SubscriberKey};
use super::task::Hub;
use crate::auth::{Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
use crate::hooks::DisconnectReason;

/// What one command may cost. A subscriber costs one, and one more for each of its subscriptions where these
/// are gone through.
const CHUNK_COST: usize = 2_000;

/// Which subscribers are meant: those for whom all that is set is true. With nothing set, everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// Only those who have proved nothing, or only those who have.
    pub guests: Option<bool>,
    /// Only records of this auth collection, by name or id; superusers are in `_superusers`.
    pub collection: Option<String>,
    /// Only records of this id.
    pub record: Option<String>,
    /// Where their streams come from.
    pub address: Option<IpAddr>,
    /// A topic one of their subscriptions is about, such as `posts/*`; options do not matter.
    pub topic: Option<String>,
}

/// A subscriber as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberInfo {
    /// Its public name.
    pub id: ClientId,
    /// Where its stream comes from.
    pub address: IpAddr,
    /// Who it is.
    pub principal: Principal,
    /// When its stream was opened.
    pub since: SystemTime,
    /// How many subscriptions it has.
    pub subscription_count: usize,
    /// Their texts, if asked for.
    pub subscriptions: Option<Vec<Arc<str>>>,
    /// Frames that wait for it.
    pub waiting: usize,
    /// Frames its stream has taken.
    pub delivered: u64,
}

/// A part of the roster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RosterPage {
    /// The subscribers, in an order that stays the same while they are connected. Their subscriptions are counted
    /// and not listed.
    pub subscribers: Vec<SubscriberInfo>,
    /// How many there are in all; `None` if not asked for.
    pub total: Option<usize>,
}

/// The hub answers no more, because the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub has stopped")]
pub struct HubStopped;

/// What is asked about subscribers.
#[derive(Debug)]
pub(super) enum Request {
    Walk {
        walk: Walk,
        reply: oneshot::Sender<Chunk>,
    },
    Show {
        client_id: String,
        reply: oneshot::Sender<Option<SubscriberInfo>>,
    },
    Disconnect {
        client_id: String,
        reply: oneshot::Sender<bool>,
    },
    Send {
        client_id: String,
        message: DirectMessage,
        reply: oneshot::Sender<Result<(), DirectError>>,
    },
}

/// A way through the subscribers.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    which: Arc<Which>,
    from: SubscriberKey,
    task: Task,
}

#[derive(Debug, Clone, Copy)]
enum Task {
    List {
        /// So many are passed over,
        skip: usize,
        /// and so many then described.
        take: usize,
    },
    Disconnect,
}

/// What one command came to.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// How many were meant.
    met: usize,
    listed: Vec<SubscriberInfo>,
    /// Where to go on; `None` at the end.
    next: Option<SubscriberKey>,
}

impl Which {
    /// Whether everybody is meant.
    pub fn is_everybody(&self) -> bool {
        *self == Self::default()
    }

    fn means(&self, subscriber: &Subscriber) -> bool {
        let (names, id) = match subscriber.principal() {
            Principal::Guest => (["", ""], ""),
            Principal::Superuser { id } => ([SUPERUSERS_ID, SUPERUSERS_NAME], &**id),
            Principal::Record(one) => ([&*one.collection_id, &*one.collection_name], &*one.id),
        };
        let is_guest = subscriber.principal().is_guest();
        let among = |wanted: &String| !is_guest && names.contains(&&**wanted);
        let subscribed = |wanted: &String| {
            let mut own = subscriber.subscriptions().iter();
            own.any(|subscription| subscription.topic() == wanted)
        };
        self.guests.is_none_or(|guests| guests == is_guest)
            && self.collection.as_ref().is_none_or(among)
            && (self.record.as_ref()).is_none_or(|wanted| !is_guest && wanted == id)
            && self.address.is_none_or(|it| it == subscriber.address)
            && self.topic.as_ref().is_none_or(subscribed)
    }
}

impl HubHandle {
    /// Lists subscribers: passes over `skip` of those meant and describes the next `take`. `counts` says whether
    /// to go on to the end and count them all. Those who come and go meanwhile may be in it or not.
    ///
    /// # Errors
    /// If the hub has stopped.
    pub async fn roster(
        &self,
        which: Which,
        skip: usize,
        take: usize,
        counts: bool,
    ) -> Result<RosterPage, HubStopped> {
        let which = Arc::new(which);
        let (mut met, mut listed, mut from) = (0_usize, Vec::new(), Some(0));
        while let Some(place) = from {
            let task = Task::List {
                skip: skip.saturating_sub(met),
                take: take - listed.len(),
            };
            let chunk = self.walk(&which, place, task).await?;
            met += chunk.met;
            listed.extend(chunk.listed);
            from = chunk.next.filter(|_| counts || listed.len() < take);
        }
        Ok(RosterPage {
            subscribers: listed,
            total: counts.then_some(met),
        })
    }

    /// How many subscribers are meant.
    ///
    /// # Errors
    /// If the hub has stopped.
    pub async fn count_subscribers(&self, which: Which) -> Result<usize, HubStopped> {
        let page = self.roster(which, usize::MAX, 0, true).await?;
        Ok(page.total.unwrap_or_default())
    }

    /// One subscriber with its subscriptions; `None` if there is none of this client id.
    ///
    /// # Errors
    /// If the hub has stopped.
    pub async fn subscriber(&self, client_id: &str) -> Result<Option<SubscriberInfo>, HubStopped> {
        let client_id = client_id.to_owned();
        self.ask(|reply| Command::Roster(Request::Show { client_id, reply }))
            .await
    }

    /// Ends one stream, cleanly, after what waits for it; says whether there was one.
    ///
    /// # Errors
    /// If the hub has stopped.
    pub async fn disconnect(&self, client_id: &str) -> Result<bool, HubStopped> {
        let client_id = client_id.to_owned();
        self.ask(|reply| Command::Roster(Request::Disconnect { client_id, reply }))
            .await
    }

    /// Ends the streams of all that are meant, and says how many. Those who come back meanwhile may be met again.
    ///
    /// # Errors
    /// If the hub has stopped; some may have been ended by then.
    pub async fn disconnect_all(&self, which: Which) -> Result<usize, HubStopped> {
        let which = Arc::new(which);
        let (mut met, mut from) = (0, Some(0));
        while let Some(place) = from {
            let chunk = self.walk(&which, place, Task::Disconnect).await?;
            met += chunk.met;
            from = chunk.next;
        }
        Ok(met)
    }

    /// Sends a message to one subscriber, now. It is in no log: who is away misses it.
    ///
    /// # Errors
    /// As [`DirectError`] says.
    pub async fn send_to(
        &self,
        client_id: &str,
        message: DirectMessage,
    ) -> Result<(), DirectError> {
        let client_id = client_id.to_owned();
        let request = |reply| Request::Send {
            client_id,
            message,
            reply,
        };
        let sent = self.ask(|reply| Command::Roster(request(reply))).await;
        sent.unwrap_or(Err(DirectError::Stopped))
    }

    async fn walk(
        &self,
        which: &Arc<Which>,
        from: SubscriberKey,
        task: Task,
    ) -> Result<Chunk, HubStopped> {
        let walk = Walk {
            which: Arc::clone(which),
            from,
            task,
        };
        self.ask(|reply| Command::Roster(Request::Walk { walk, reply }))
            .await
    }
}

impl Hub {
    /// Answers what is asked about subscribers. Whoever asked may have left meanwhile.
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Walk { walk, reply } => drop(reply.send(self.walk(walk))),
            Request::Show { client_id, reply } => drop(reply.send(self.show(&client_id))),
            Request::Disconnect { client_id, reply } => {
                let key = self.registry.find(&client_id);
                if let Some(key) = key {
                    self.end_stream(key, DisconnectReason::Managed);
                }
                let _ = reply.send(key.is_some());
            }
            Request::Send {
                client_id,
                message,
                reply,
            } => drop(reply.send(self.send_direct(&client_id, message))),
        }
    }

    fn show(&self, client_id: &str) -> Option<SubscriberInfo> {
        let subscriber = self.registry.get(self.registry.find(client_id)?)?;
        let texts = subscriber.subscriptions().iter();
        let texts = texts.map(|one| Arc::clone(one.text())).collect();
        Some(SubscriberInfo {
            subscriptions: Some(texts),
            ..SubscriberInfo::of(subscriber)
        })
    }

    /// Goes one piece of the way.
    fn walk(&mut self, walk: Walk) -> Chunk {
        let Walk { which, from, task } = walk;
        let mut chunk = Chunk::default();
        let mut cost = 0;
        for key in from..self.registry.places() {
            if cost >= CHUNK_COST {
                chunk.next = Some(key);
                break;
            }
            cost += 1;
            let Some(subscriber) = self.registry.get(key) else {
                continue;
            };
            if which.topic.is_some() {
                cost += subscriber.subscriptions().len();
            }
            if !which.means(subscriber) {
                continue;
            }
            match task {
                Task::List { skip, take } => {
                    if chunk.met >= skip && chunk.listed.len() < take {
                        chunk.listed.push(SubscriberInfo::of(subscriber));
                    }
                }
                Task::Disconnect => {
                    cost += subscriber.subscriptions().len();
                    self.end_stream(key, DisconnectReason::Managed);
                }
            }
            chunk.met += 1;
        }
        chunk
    }
}

impl SubscriberInfo {
    fn of(subscriber: &Subscriber) -> Self {
        let mailbox = &subscriber.mailbox;
        Self {
            id: subscriber.id.clone(),
            address: subscriber.address,
            principal: subscriber.principal().clone(),
            since: subscriber.since,
            subscription_count: subscriber.subscriptions().len(),
            subscriptions: None,
            waiting: mailbox.waiting(),
            delivered: mailbox.sent_and_taken().1,
        }
    }
}

#[cfg(test)]
mod tests;
