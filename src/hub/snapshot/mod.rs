//! Snapshots: what there is, for those who ask for it, and then what happens.
//!
//! A subscription that asks for a snapshot is held back. A task reads the collection as of one moment and
//! hands page after page to the hub, which decides about the rows as it does about changes. Then the
//! subscription is told what that moment does not contain, as if it had been away since.

mod pump;
mod steps;

pub(super) use steps::is_asked;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::mailbox::ClientId;
use super::registry::{Registry, SubscriberKey};
use crate::catalog::{Collection, CollectionKey};
use crate::event::Position;
use crate::frame::Frame;
use crate::related::Tables;
use crate::topic::{Guard, Subscription};

/// Snapshots that are read at a time; the others wait. Each takes a pooled connection.
const RUNNING_MAX: usize = 2;
/// Snapshots that wait.
const WAITING_MAX: usize = 10_000;
/// Rows that are looked at for each one that may be sent. There is no more patience with a principal who may see
/// few rows of a large collection.
const LOOKED_AT_FACTOR: usize = 20;

/// The number of a snapshot.
pub(super) type Ticket = u64;

/// All snapshots that are asked for, and the way in for the tasks that read them.
pub(super) struct Snapshots {
    tables: Option<Arc<dyn Tables>>,
    waiting: VecDeque<Snapshot>,
    running: Vec<Running>,
    tickets: Ticket,
    steps: mpsc::Receiver<Step>,
    /// When full, the tasks wait: they wait for an answer in any case.
    hub: mpsc::Sender<Step>,
}

/// A snapshot for one subscription of one subscriber.
struct Snapshot {
    key: SubscriberKey,
    id: ClientId,
    subscription: Subscription,
    /// What had been told when it was asked for.
    from: Option<Position>,
}

struct Running {
    ticket: Ticket,
    snapshot: Snapshot,
    /// What it is about, as of when its task asked last.
    about: Option<(CollectionKey, Guard)>,
    looked_at: usize,
    sent: usize,
    /// Ends with the snapshot.
    _task: AbortOnDropHandle<()>,
}

/// What a task that reads a collection has to say. Whose snapshot is not wanted any more hears nothing.
pub(super) enum Step {
    /// It asks how far the hub has come, and what there is to be read then.
    Ask {
        ticket: Ticket,
        reply: oneshot::Sender<Known>,
    },
    /// Some rows, for which it gets the frames.
    Rows {
        ticket: Ticket,
        rows: Vec<Box<str>>,
        reply: oneshot::Sender<Result<Vec<Frame>, Refusal>>,
    },
    /// The end: which moment it was about, unless it failed.
    End {
        ticket: Ticket,
        outcome: Result<Position, Refusal>,
    },
}

/// What the hub knows.
pub(super) struct Known {
    /// Everything in here has been told.
    position: Option<Position>,
    /// What is to be read; `None` if there is nothing that the subscriber could ever see.
    listed: Option<Listed>,
}

struct Listed {
    collection: Arc<Collection>,
    /// The record that is asked for, if it is one.
    record: Option<Arc<str>>,
}

/// Why there is no snapshot, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More rows than may be sent or looked at.
    TooManyRows,
    /// The database cannot be asked, or not in time.
    Unavailable,
    /// The client takes too long to read it.
    TooSlow,
    /// The table was changed while it was read.
    Changed,
    /// Too many wait for theirs.
    Busy,
}

impl Refusal {
    /// The word on the wire and in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::TooManyRows => "too_many_rows",
            Self::Unavailable => "unavailable",
            Self::TooSlow => "too_slow",
            Self::Changed => "changed",
            Self::Busy => "busy",
        }
    }
}

impl Snapshots {
    pub(super) fn new() -> Self {
        let (hub, steps) = mpsc::channel(16);
        Self {
            tables: None,
            waiting: VecDeque::new(),
            running: Vec::new(),
            tickets: 0,
            steps,
            hub,
        }
    }

    /// The next thing a task has to say. Safe to drop half-way.
    pub(super) async fn next(&mut self) -> Option<Step> {
        self.steps.recv().await
    }

    fn all(&self) -> impl Iterator<Item = &Snapshot> {
        let running = self.running.iter().map(|running| &running.snapshot);
        running.chain(&self.waiting)
    }

    /// Whether a snapshot is under way for this text.
    fn has(&self, key: SubscriberKey, text: &str) -> bool {
        self.all()
            .any(|snapshot| snapshot.key == key && **snapshot.subscription.text() == *text)
    }

    /// Forgets the snapshots of those who left or do not want them any more.
    fn forget_gone(&mut self, registry: &Registry) {
        self.running
            .retain(|running| running.snapshot.is_wanted(registry));
        self.waiting.retain(|snapshot| snapshot.is_wanted(registry));
    }

    fn forget(&mut self, key: SubscriberKey) {
        self.running.retain(|running| running.snapshot.key != key);
        self.waiting.retain(|snapshot| snapshot.key != key);
    }

    fn running(&mut self, ticket: Ticket) -> Option<&mut Running> {
        let mut running = self.running.iter_mut();
        running.find(|running| running.ticket == ticket)
    }
}

impl Snapshot {
    fn is_wanted(&self, registry: &Registry) -> bool {
        registry.get(self.key).is_some_and(|subscriber| {
            let mut texts = subscriber.subscriptions().iter().map(Subscription::text);
            subscriber.id == self.id && texts.any(|text| text == self.subscription.text())
        })
    }
}
