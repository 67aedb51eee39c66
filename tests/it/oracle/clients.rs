//! Clients that live as clients do: they connect, are cut off anywhere, and connect again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Client as Http, Response};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::policy::{Wanted, Who};

/// A change as it stood on the wire.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The subscription it answers.
    pub name: String,
    pub action: String,
    pub record: Value,
}

impl Heard {
    pub fn collection(&self) -> &str {
        self.record["collectionName"].as_str().unwrap_or_default()
    }
}

/// What a client heard without interruption, within one phase.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    /// The database's snapshot after the subscriptions were answered; `None` where the stream goes on from
    /// the phase before, so that everything must come.
    pub since: Option<String>,
    pub heard: Vec<Heard>,
    /// Whether it ended with the phase's mark, not with a cut.
    pub is_whole: bool,
}

/// What a client knows at the end of a phase.
pub type Segments = Vec<Segment>;

enum Order {
    /// Other subscriptions on the same stream.
    Change(Vec<Wanted>, oneshot::Sender<()>),
    /// Other subscriptions on another stream.
    Reconnect(Vec<Wanted>, oneshot::Sender<()>),
}

/// The test's end of a client.
pub struct Subscriber {
    pub who: Who,
    pub wanted: Vec<Wanted>,
    orders: mpsc::Sender<Order>,
    phases: mpsc::UnboundedReceiver<(i64, Segments)>,
    /// How many more bytes it reads before it drops its connection; negative for no end.
    bytes_left: Arc<AtomicI64>,
    /// Which phase's mark it has seen.
    pub closed: watch::Receiver<i64>,
    task: JoinHandle<()>,
}

/// What all clients of a run share.
#[derive(Clone)]
pub struct Site {
    /// Where the server is.
    pub base: String,
    /// Where the database is, to ask for snapshots.
    pub url: String,
}

impl Subscriber {
    pub fn start(site: Site, who: Who, token: Option<String>, wanted: Vec<Wanted>) -> Self {
        let (orders, received) = mpsc::channel(1);
        let (finished, phases) = mpsc::unbounded_channel();
        let (closing, closed) = watch::channel(0);
        let bytes_left = Arc::new(AtomicI64::new(-1));
        let life = Life {
            site,
            token,
            topics: topics(&wanted),
            orders: received,
            finished,
            closing,
            bytes_left: Arc::clone(&bytes_left),
            segments: Vec::new(),
            phase: 0,
        };
        Self {
            who,
            wanted,
            orders,
            phases,
            bytes_left,
            closed,
            task: tokio::spawn(life.run()),
        }
    }

    /// Drops the connection after some more bytes.
    pub fn cut_after(&self, bytes: i64) {
        self.bytes_left.store(bytes, Ordering::Relaxed);
    }

    /// Gives it other subscriptions and waits until they hold.
    pub async fn change(&mut self, wanted: Vec<Wanted>, reconnect: bool) {
        let (done, answer) = oneshot::channel();
        self.wanted.clone_from(&wanted);
        let order = if reconnect {
            Order::Reconnect(wanted, done)
        } else {
            Order::Change(wanted, done)
        };
        self.orders.send(order).await.expect("the client lives");
        timeout(crate::support::DEADLINE, answer)
            .await
            .expect("other subscriptions in time")
            .expect("the client lives");
    }

    /// What it heard in a phase that it has closed.
    pub async fn heard(&mut self, phase: i64) -> Segments {
        let (number, segments) = self.phases.recv().await.expect("the client lives");
        assert_eq!(number, phase);
        segments
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn topics(wanted: &[Wanted]) -> Vec<String> {
    let names = wanted.iter().map(|wanted| wanted.name.clone());
    names.chain(["mark/*".to_owned()]).collect()
}

struct Life {
    site: Site,
    token: Option<String>,
    topics: Vec<String>,
    orders: mpsc::Receiver<Order>,
    finished: mpsc::UnboundedSender<(i64, Segments)>,
    closing: watch::Sender<i64>,
    bytes_left: Arc<AtomicI64>,
    segments: Segments,
    /// The last phase whose mark was seen.
    phase: i64,
}

/// An open stream with the subscriptions set.
struct Stream {
    response: Response,
    client_id: String,
    http: Http,
    unread: Vec<u8>,
}

impl Life {
    async fn run(mut self) {
        // Who waits for the next stream to be subscribed.
        let mut waiting: Option<oneshot::Sender<()>> = None;
        loop {
            let Some(mut stream) = self.connect().await else {
                sleep(Duration::from_millis(15)).await;
                continue;
            };
            let since = self.snapshot().await;
            self.segments.push(Segment {
                since: Some(since),
                ..Segment::default()
            });
            if let Some(waiting) = waiting.take() {
                let _ = waiting.send(());
            }
            waiting = self.listen(&mut stream).await;
        }
    }

    async fn connect(&self) -> Option<Stream> {
        let http = Http::new();
        let url = format!("{}/api/realtime", self.site.base);
        let response = http.get(&url).send().await.ok()?;
        let mut stream = Stream {
            response,
            client_id: String::new(),
            http,
            unread: Vec::new(),
        };
        let hello = loop {
            if let Some(frame) = stream.frame() {
                break frame;
            }
            let chunk = timeout(crate::support::DEADLINE, stream.response.chunk())
                .await
                .ok()?;
            stream.unread.extend_from_slice(&chunk.ok()??);
        };
        stream.client_id = data_of(&hello)?["clientId"].as_str()?.to_owned();
        self.post(&stream).await.then_some(stream)
    }

    async fn post(&self, stream: &Stream) -> bool {
        let mut request = stream
            .http
            .post(format!("{}/api/realtime", self.site.base))
            .json(&json!({ "clientId": stream.client_id, "subscriptions": self.topics }));
        if let Some(token) = &self.token {
            request = request.header("Authorization", token);
        }
        request
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 204)
    }

    /// The database's present snapshot; asked for until there is an answer.
    async fn snapshot(&self) -> String {
        loop {
            if let Ok((client, connection)) =
                tokio_postgres::connect(&self.site.url, tokio_postgres::NoTls).await
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
    async fn listen(&mut self, stream: &mut Stream) -> Option<oneshot::Sender<()>> {
        loop {
            while let Some(frame) = stream.frame() {
                self.take(&frame);
            }
            tokio::select! {
                chunk = stream.response.chunk() => {
                    let Ok(Some(chunk)) = chunk else { return None };
                    let left = self.bytes_left.load(Ordering::Relaxed);
                    let length = i64::try_from(chunk.len()).unwrap();
                    if left >= 0 && length > left {
                        let kept = usize::try_from(left).unwrap();
                        stream.unread.extend_from_slice(&chunk[..kept]);
                        while let Some(frame) = stream.frame() {
                            self.take(&frame);
                        }
                        self.bytes_left.store(-1, Ordering::Relaxed);
                        return None;
                    }
                    if left >= 0 {
                        self.bytes_left.store(left - length, Ordering::Relaxed);
                    }
                    stream.unread.extend_from_slice(&chunk);
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Change(wanted, done) => {
                        self.topics = topics(&wanted);
                        if !self.post(stream).await {
                            return Some(done);
                        }
                        let _ = done.send(());
                    }
                    Order::Reconnect(wanted, done) => {
                        self.topics = topics(&wanted);
                        // What was heard since the mark was heard by the old subscriptions, and is nothing.
                        self.segments.clear();
                        return Some(done);
                    }
                },
            }
        }
    }

    fn take(&mut self, frame: &str) {
        let Some(mut data) = data_of(frame) else {
            return;
        };
        let field = |name: &str| {
            let line = frame.split('\n').find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().to_owned()
        };
        let heard = Heard {
            name: field("event:"),
            action: data["action"].as_str().unwrap_or_default().to_owned(),
            record: data["record"].take(),
        };
        match heard.collection() {
            "mark" if heard.name == "mark/*" && heard.action == "create" => {
                let phase = heard.record["phase"].as_i64().expect("a number");
                if phase > self.phase {
                    self.close(phase);
                }
            }
            "mark" if heard.action == "create" => {}
            _ => self
                .segments
                .last_mut()
                .expect("a segment per stream")
                .heard
                .push(heard),
        }
    }

    fn close(&mut self, phase: i64) {
        self.phase = phase;
        self.segments
            .last_mut()
            .expect("a segment per stream")
            .is_whole = true;
        let segments = std::mem::replace(&mut self.segments, vec![Segment::default()]);
        let _ = self.finished.send((phase, segments));
        let _ = self.closing.send(phase);
    }
}

impl Stream {
    /// Takes the next whole frame that is an event.
    fn frame(&mut self) -> Option<String> {
        loop {
            let end = self.unread.windows(2).position(|two| two == b"\n\n")?;
            let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
            let frame = String::from_utf8(frame).expect("frames are UTF-8");
            if frame.contains("data:") {
                return Some(frame);
            }
        }
    }
}

fn data_of(frame: &str) -> Option<Value> {
    let line = frame
        .split('\n')
        .find_map(|line| line.strip_prefix("data:"))?;
    serde_json::from_str(line).ok()
}
