//! A hub for the tests of other rooms: it answers as it is told and remembers what it was asked.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::handle::{Command, HubHandle, JoinError, SetTopics, SetTopicsError};
use super::line::Line;
use super::mailbox::{ClientId, Forwarding, Mailbox, Slot};
use crate::frame::Frame;
use crate::hooks::DisconnectReason;

/// The test's side of a fake hub.
#[derive(Clone)]
pub(crate) struct FakeHub {
    pub(crate) handle: HubHandle,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    refuse_join: Option<JoinError>,
    refuse_topics: Option<SetTopicsError>,
    asked: Vec<SetTopics>,
    joined: VecDeque<Subscriber>,
}

/// The hub's side of one subscriber.
pub(crate) struct Subscriber {
    pub(crate) id: ClientId,
    pub(crate) address: IpAddr,
    slot: Option<Slot>,
    departures: mpsc::UnboundedReceiver<ClientId>,
    line: Arc<Line>,
    /// Lets frames go past the mailbox.
    pub(crate) forwarding: Forwarding,
}

impl Subscriber {
    /// Puts a frame into the mailbox, and sees to it if nobody else does.
    pub(crate) fn put(&self, frame: Frame) {
        assert!(self.try_put(frame), "no room");
    }

    /// The same if there is room.
    pub(crate) fn try_put(&self, frame: Frame) -> bool {
        let slot = self.slot.as_ref().expect("it was not let go");
        let put = slot.put(frame);
        let has_room = put.is_ok();
        if let Ok(Some(errand)) = put {
            errand.run(Instant::now());
        }
        has_room
    }

    /// Whether the mailbox was dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.slot.as_ref().is_some_and(Slot::is_closed)
    }

    /// Lets the stream end after what was put in.
    pub(crate) fn let_go(&mut self) {
        self.slot = None;
    }

    /// Ends the stream as the hub would.
    pub(crate) fn end(self, reason: DisconnectReason) {
        self.line.end(reason);
    }

    /// Waits until the mailbox is dropped.
    pub(crate) async fn left(&mut self) {
        assert_eq!(self.departures.recv().await.as_ref(), Some(&self.id));
    }
}

/// A mailbox and the hub's side of it.
pub(crate) fn mailbox(id: ClientId, address: IpAddr) -> (Mailbox, Subscriber) {
    let (sender, departures) = mpsc::unbounded_channel();
    let (mailbox, slot) = Mailbox::new(id.clone(), 256, sender);
    let subscriber = Subscriber {
        id,
        address,
        slot: Some(slot),
        departures,
        line: Arc::clone(mailbox.line()),
        forwarding: mailbox.forwarding(),
    };
    (mailbox, subscriber)
}

impl FakeHub {
    /// Starts answering.
    pub(crate) fn start() -> Self {
        let (commands, mut received) = mpsc::channel(8);
        let hub = Self {
            handle: HubHandle::new(commands, None, watch::channel(None).1),
            state: Arc::default(),
        };
        let own = hub.state.clone();
        tokio::spawn(async move {
            while let Some(command) = received.recv().await {
                lock(&own).answer(command);
            }
        });
        hub
    }

    pub(crate) fn refuse_joins(&self, error: JoinError) {
        lock(&self.state).refuse_join = Some(error);
    }

    pub(crate) fn refuse_topics(&self, error: SetTopicsError) {
        lock(&self.state).refuse_topics = Some(error);
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<SetTopics> {
        std::mem::take(&mut lock(&self.state).asked)
    }

    /// The subscriber that joined first of those not yet taken.
    pub(crate) fn joined(&self) -> Option<Subscriber> {
        lock(&self.state).joined.pop_front()
    }
}

impl State {
    fn answer(&mut self, command: Command) {
        match command {
            Command::Join { id, address, reply } => {
                let answer = self.join(id, address);
                let _ = reply.send(answer);
            }
            Command::SetTopics { request, reply, .. } => {
                self.asked.push(request);
                let _ = reply.send(self.refuse_topics.clone().map_or(Ok(()), Err));
            }
            Command::Check { reply, .. } => {
                let _ = reply.send(self.refuse_topics.clone().map_or(Ok(()), Err));
            }
            // What is dropped here is answered like by a hub that has stopped.
            Command::Confirm { .. } | Command::Roster(_) | Command::ChangeStore { .. } => {}
        }
    }

    fn join(&mut self, id: ClientId, address: IpAddr) -> Result<Mailbox, JoinError> {
        if let Some(error) = self.refuse_join {
            return Err(error);
        }
        let (mailbox, subscriber) = mailbox(id, address);
        self.joined.push_back(subscriber);
        Ok(mailbox)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state
        .lock()
        .expect("no test panics while it holds the lock")
}
