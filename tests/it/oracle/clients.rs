//! The test's end of the clients: what they are told to do, and what they have heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::life::Life;
use super::order::Lives;
use super::policy::Who;
use super::settle::PATIENCE;
use super::stream::{Cuts, Door};
use super::verdict::Debt;
use super::view::View;
use super::wanted::{Manner, Wanted};

/// An event as it stood on the wire.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The subscription it answers.
    pub name: String,
    pub action: String,
    pub record: Value,
    /// Of the marker that ends a snapshot: how many records it has.
    pub count: Option<usize>,
    /// Of a `resync` in place of a snapshot: why.
    pub reason: Option<String>,
    /// Of a `resync`: the database's snapshot afterwards. What it does not contain must come.
    pub as_of: Option<String>,
}

impl Heard {
    pub fn collection(&self) -> &str {
        self.record["collectionName"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.record["id"].as_str().unwrap_or_default()
    }
}

/// What a client heard without interruption, within one phase.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    /// Whether a stream begins here; else it goes on from the phase before.
    pub begins: bool,
    /// The database's snapshot after the subscriptions were answered; `None` where the client goes on from where it
    /// was, so that everything must come.
    pub since: Option<String>,
    /// The id with which it came back.
    pub came_with: Option<String>,
    pub heard: Vec<Heard>,
    /// The phase whose mark it reached last; who comes back hears the marks of those it was away for, too.
    pub closed: i64,
}

/// What a client knows at the end of a phase.
pub type Segments = Vec<Segment>;

pub enum Order {
    /// Other subscriptions on the same stream, where there is a way.
    Change(Vec<Wanted>, oneshot::Sender<()>),
    /// Other subscriptions on another stream.
    Reconnect(Vec<Wanted>, oneshot::Sender<()>),
    /// Drop the connection and stay away. The answer is the database's snapshot after that.
    Leave(oneshot::Sender<String>),
    /// Come back.
    Return(oneshot::Sender<()>),
}

pub struct Subscriber {
    pub who: Who,
    pub manner: Manner,
    pub wanted: Vec<Wanted>,
    /// What it wanted before.
    pub former: Vec<Wanted>,
    /// The ledger's last row when it began to want this.
    pub wants_since: i64,
    /// Which life of Postgres it was then.
    pub wants_life: i32,
    /// It came back in the phase before, and may still be told of the past: no mark waits for that.
    pub trails: bool,
    /// What was heard and is not judged yet.
    pub segments: Segments,
    /// What is still owed to it from phases during which it was away.
    pub debt: Option<Debt>,
    /// What its snapshots have become.
    pub views: HashMap<String, View>,
    /// Since when it is away: the database's snapshot of then.
    pub away: Option<String>,
    pub cuts: Cuts,
    /// Which phase's mark it has seen.
    pub closed: watch::Receiver<i64>,
    orders: mpsc::Sender<Order>,
    notes: Arc<Mutex<Segments>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Lets a client live: `url` is the database, to ask for snapshots.
    pub fn start(url: String, door: Door, who: Who, manner: Manner, wanted: Vec<Wanted>) -> Self {
        let (orders, received) = mpsc::channel(1);
        let (closing, closed) = watch::channel(0);
        let notes = Arc::new(Mutex::new(Segments::new()));
        let cuts = door.cuts.clone();
        let life = Life::new(
            url,
            door,
            manner,
            &wanted,
            received,
            closing,
            Arc::clone(&notes),
        );
        Self {
            who,
            manner,
            wanted,
            former: Vec::new(),
            wants_since: 0,
            wants_life: 0,
            trails: false,
            segments: Segments::new(),
            debt: None,
            views: HashMap::new(),
            away: None,
            cuts,
            closed,
            orders,
            notes,
            task: tokio::spawn(life.run()),
        }
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (done, answer) = oneshot::channel();
        let sent = self.orders.send(order(done)).await;
        sent.unwrap_or_else(|_| panic!("the client is gone"));
        let answer = timeout(PATIENCE, answer).await;
        answer
            .expect("the client obeys in time")
            .expect("the client lives")
    }

    /// Waits until its first subscriptions hold.
    pub async fn subscribed(&self) {
        self.order(Order::Return).await;
    }

    /// Gives it other subscriptions and waits until they hold.
    pub async fn change(&mut self, wanted: Vec<Wanted>, reconnect: bool, since: (i64, i32)) {
        self.former = std::mem::replace(&mut self.wanted, wanted.clone());
        (self.wants_since, self.wants_life) = since;
        self.trails = false;
        self.order(|done| match reconnect {
            true => Order::Reconnect(wanted, done),
            false => Order::Change(wanted, done),
        })
        .await;
    }

    pub async fn leave(&mut self) {
        self.away = Some(self.order(Order::Leave).await);
    }

    pub async fn come_back(&mut self) {
        if self.away.take().is_some() {
            self.order(Order::Return).await;
        }
    }

    /// Whether it may still be told something under a subscription of before: such was under way.
    pub fn may_trail(&self, name: &str) -> bool {
        let is_slow = |wanted: &Wanted| wanted.snapshot || wanted.is_keyed;
        let mut former = self.former.iter();
        former.any(|wanted| wanted.name == name && is_slow(wanted))
    }

    /// Whether the mark of a phase says that everything before it was heard: what is told of the past under some
    /// subscriptions only, and snapshots, hold no mark up.
    pub fn is_barred_by_marks(&self) -> bool {
        self.manner != Manner::Keyed && self.wanted.iter().all(|wanted| !wanted.snapshot)
    }

    /// From which transaction on the server did not believe, at the beginning of a segment, that this client had been
    /// told anything, nor that it had not been there yet: what it came back with is from before a crash of Postgres.
    pub fn doubts(&self, lives: &Lives, segment: &Segment) -> Option<u64> {
        let comes_back = segment.begins && segment.since.is_none();
        match self.manner {
            Manner::Anew => None,
            Manner::EventSource => {
                let id = segment.came_with.as_deref().filter(|_| comes_back);
                id.and_then(|id| lives.doubted_of(id))
            }
            // Where it was is noted when it begins, and half a minute later at the earliest.
            Manner::Keyed => {
                let may_be_told = comes_back || !segment.begins && self.trails;
                let since = lives.doubted_since(self.wants_life);
                since.filter(|_| may_be_told)
            }
        }
    }

    /// Takes what was heard since it was taken last, to be judged.
    pub fn take(&mut self) {
        let mut notes = self.notes.lock().unwrap();
        let go_on = notes.last().map(|_| Segment::default());
        let taken = std::mem::replace(&mut *notes, go_on.into_iter().collect());
        drop(notes);
        for segment in taken {
            match self.segments.last_mut() {
                Some(last) if !segment.begins => {
                    last.heard.extend(segment.heard);
                    last.closed = last.closed.max(segment.closed);
                }
                _ => self.segments.push(segment),
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}
