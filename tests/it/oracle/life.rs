//! How a client lives: it connects, is cut off anywhere, connects again in its manner, and notes what it hears.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::clients::{Heard, Order, Segment, Segments};
use super::stream::{Door, Frame, Stream};
use super::wanted::{Manner, Wanted};
use crate::support::DEADLINE;

pub struct Life {
    /// Where the database is.
    url: String,
    door: Door,
    manner: Manner,
    topics: Vec<String>,
    orders: mpsc::Receiver<Order>,
    closing: watch::Sender<i64>,
    notes: Arc<Mutex<Segments>>,
    /// The last id received, as a browser keeps it.
    last_id: Option<String>,
    /// Whether it was ever told a position of its stream: from then on it is owed what it misses.
    is_owed: bool,
    /// Whether the next request names the last id in its query: it is another EventSource.
    is_moved: bool,
    client_id: String,
    /// The last phase whose mark was seen.
    phase: i64,
}

/// Why a stream is not listened to any more.
enum End {
    Cut,
    /// Somebody waits for the next one to be subscribed.
    Ordered(oneshot::Sender<()>),
}

impl Life {
    pub fn new(
        url: String,
        door: Door,
        manner: Manner,
        wanted: &[Wanted],
        orders: mpsc::Receiver<Order>,
        closing: watch::Sender<i64>,
        notes: Arc<Mutex<Segments>>,
    ) -> Self {
        Self {
            url,
            door,
            manner,
            topics: topics(wanted),
            orders,
            closing,
            notes,
            last_id: None,
            is_owed: false,
            is_moved: false,
            client_id: String::new(),
            phase: 0,
        }
    }

    pub async fn run(mut self) {
        let mut waiting: Option<oneshot::Sender<()>> = None;
        loop {
            let Some((stream, segment)) = self.connect().await else {
                sleep(Duration::from_millis(15)).await;
                continue;
            };
            self.note(|notes| notes.push(segment));
            if let Some(waiting) = waiting.take() {
                let _ = waiting.send(());
            }
            if let End::Ordered(done) = self.listen(stream).await {
                waiting = Some(done);
            }
        }
    }

    fn note<T>(&self, write: impl FnOnce(&mut Segments) -> T) -> T {
        write(&mut self.notes.lock().unwrap())
    }

    /// Opens a stream and gets its subscriptions answered.
    async fn connect(&mut self) -> Option<(Stream, Segment)> {
        if self.manner == Manner::EventSource {
            return self.connect_plain().await;
        }
        let mut stream = Stream::open(&self.door).await?;
        self.hello(&mut stream).await?;
        if !stream.post(&self.client_id, &self.topics).await {
            return None;
        }
        let since = match self.manner == Manner::Keyed && self.is_owed {
            true => None,
            false => Some(self.snapshot().await),
        };
        self.is_owed = true;
        let segment = Segment {
            begins: true,
            since,
            ..Segment::default()
        };
        Some((stream, segment))
    }

    async fn connect_plain(&mut self) -> Option<(Stream, Segment)> {
        let came_with = self.last_id.clone();
        let (id, is_owed) = (came_with.as_deref(), self.is_owed);
        let mut stream = Stream::open_plain(&self.door, &self.topics, id, self.is_moved).await?;
        self.hello(&mut stream).await?;
        self.is_moved = false;
        let since = match is_owed {
            true => None,
            false => Some(self.snapshot().await),
        };
        let segment = Segment {
            begins: true,
            since,
            came_with,
            ..Segment::default()
        };
        Some((stream, segment))
    }

    /// Waits for PB_CONNECT.
    async fn hello(&mut self, stream: &mut Stream) -> Option<()> {
        let hello = timeout(DEADLINE, stream.next()).await.ok()??;
        self.keep_id(&hello);
        hello.data?["clientId"]
            .as_str()?
            .clone_into(&mut self.client_id);
        Some(())
    }

    fn keep_id(&mut self, frame: &Frame) {
        if let Some(id) = &frame.id {
            self.is_owed |= self.manner == Manner::EventSource && id.contains(':');
            self.last_id = Some(id.clone());
        }
    }

    /// The database's present snapshot; asked for until there is an answer.
    async fn snapshot(&self) -> String {
        loop {
            if let Ok((client, connection)) =
                tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await
            {
                let driver = tokio::spawn(connection);
                let row = client
                    .query_one("select pg_current_snapshot()::text", &[])
                    .await;
                drop(client);
                let _ = driver.await;
                if let Ok(row) = row {
                    return row.get(0);
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads until the stream ends or is to be another one.
    async fn listen(&mut self, mut stream: Stream) -> End {
        loop {
            tokio::select! {
                frame = stream.next() => match frame {
                    Some(frame) => self.take(frame).await,
                    None => return End::Cut,
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Change(wanted, done) => {
                        self.topics = topics(&wanted);
                        if self.manner == Manner::EventSource {
                            self.is_moved = true;
                            self.note(Segments::clear);
                            return End::Ordered(done);
                        }
                        self.is_owed = false;
                        if !stream.post(&self.client_id, &self.topics).await {
                            return End::Ordered(done);
                        }
                        self.is_owed = true;
                        let _ = done.send(());
                    }
                    Order::Reconnect(wanted, done) => {
                        self.topics = topics(&wanted);
                        self.last_id = None;
                        self.is_owed = false;
                        // What was heard since the mark was heard by the old subscriptions, and is nothing.
                        self.note(Segments::clear);
                        return End::Ordered(done);
                    }
                    Order::Leave(done) => {
                        // What it has not read yet is lost to it.
                        drop(stream);
                        return self.stay_away(done).await;
                    }
                    Order::Return(done) => drop(done.send(())),
                },
            }
        }
    }

    async fn stay_away(&mut self, done: oneshot::Sender<String>) -> End {
        let _ = done.send(self.snapshot().await);
        loop {
            match self.orders.recv().await {
                Some(Order::Return(done)) => return End::Ordered(done),
                Some(_) => unreachable!("nobody changes what those want who are away"),
                None => std::future::pending::<()>().await,
            }
        }
    }

    async fn take(&mut self, frame: Frame) {
        self.keep_id(&frame);
        let Some(mut data) = frame.data else { return };
        let mut heard = Heard {
            name: frame.name,
            action: data["action"].as_str().unwrap_or_default().to_owned(),
            record: data["record"].take(),
            count: data["count"]
                .as_u64()
                .map(|count| usize::try_from(count).unwrap()),
            reason: data["reason"].as_str().map(str::to_owned),
            as_of: None,
        };
        if heard.action == "resync" {
            heard.as_of = Some(self.snapshot().await);
        }
        if heard.collection() == "mark" {
            let phase = heard.record["phase"].as_i64().unwrap_or_default();
            if heard.name == "mark/*" && heard.action == "create" && phase > self.phase {
                self.phase = phase;
                self.note(|notes| notes.last_mut().expect("one per stream").closed = phase);
                let _ = self.closing.send(phase);
            }
            return;
        }
        self.note(|notes| {
            let last = notes.last_mut().expect("one per stream");
            last.heard.push(heard);
        });
    }
}

fn topics(wanted: &[Wanted]) -> Vec<String> {
    let names = wanted.iter().map(|wanted| wanted.name.clone());
    names.chain(["mark/*".to_owned()]).collect()
}
