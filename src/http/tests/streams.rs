//! Sections 1.3 to 1.5 of the contract: what a stream says, and when it ends. The clock stands
//! still here and jumps from timer to timer.

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::frame::Frame;
use crate::hub::fake::Subscriber;
use crate::hub::{JoinError, Outlet, Written};

/// One open stream, seen from both ends.
struct Stream {
    edge: Edge,
    body: Body,
    subscriber: Subscriber,
    opened: Instant,
}

impl Stream {
    /// Opens a stream of exact lifetime.
    async fn open(adjust: impl FnOnce(&mut HttpOptions)) -> Self {
        let mut options = HttpOptions {
            lifetime_jitter: 0.0,
            ..HttpOptions::default()
        };
        adjust(&mut options);
        let edge = Edge::with(options);
        let opened = Instant::now();
        let body = edge.open(get("/api/realtime")).await.into_body();
        let subscriber = edge.hub.joined().expect("a subscriber");
        let mut stream = Self {
            edge,
            body,
            subscriber,
            opened,
        };
        let id = stream.subscriber.id.to_string();
        let connect = format!("id:{id}\nevent:PB_CONNECT\ndata:{{\"clientId\":\"{id}\"}}\n\n");
        assert_eq!(stream.next().await.as_deref(), Some(connect.as_bytes()));
        stream
    }

    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let frame = self.body.frame().await?.expect("streams do not fail");
        Some(frame.into_data().expect("streams have no trailers"))
    }

    fn put(&self, name: &str) {
        let frame = Frame::event(None, name, b"{}").expect("a clean name");
        self.subscriber.put(frame);
    }

    fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Reads to the end, counting heartbeats.
    async fn heartbeats_until_end(&mut self) -> usize {
        let mut heartbeats = 0;
        while let Some(chunk) = self.next().await {
            assert_eq!(chunk, ":\n\n");
            heartbeats += 1;
        }
        heartbeats
    }

    fn count(&self, line: &str) -> bool {
        self.edge.metrics.encode().lines().any(|l| l == line)
    }
}

/// Timers count whole milliseconds and may ring one late.
fn assert_about(age: Duration, seconds: f64) {
    let off = (age.as_secs_f64() - seconds).abs();
    assert!(off < 0.01, "{age:?} instead of {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn frames_are_passed_on_in_order_and_together_when_ready_together() {
    let mut stream = Stream::open(|_| {}).await;
    stream.put("a");
    assert_eq!(
        stream.next().await.expect("a chunk"),
        "event:a\ndata:{}\n\n"
    );
    stream.put("b");
    stream.put("c");
    assert_eq!(
        stream.next().await.expect("a chunk"),
        "event:b\ndata:{}\n\nevent:c\ndata:{}\n\n"
    );
    assert_about(stream.age(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn bursts_are_cut_into_chunks_of_bounded_size() {
    let mut stream = Stream::open(|_| {}).await;
    let name = "x".repeat(1_000);
    (0..100).for_each(|_| stream.put(&name));
    let whole = 100 * (name.len() + "event:\ndata:{}\n\n".len());
    let mut seen = 0;
    while seen < whole {
        let chunk = stream.next().await.expect("a chunk");
        assert!(chunk.len() < 18 * 1024, "{}", chunk.len());
        seen += chunk.len();
    }
    assert_eq!(seen, whole);
}

#[tokio::test(start_paused = true)]
async fn idle_stream_beats_and_ends_after_five_minutes() {
    let mut stream = Stream::open(|_| {}).await;
    assert_eq!(stream.heartbeats_until_end().await, 11);
    assert_about(stream.age(), 300.0);
    stream.subscriber.left().await;
    assert!(stream.count("rowcast_disconnects_total{reason=\"idle\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_can_be_switched_off() {
    let mut stream = Stream::open(|options| options.heartbeat = None).await;
    assert_eq!(stream.heartbeats_until_end().await, 0);
    assert_about(stream.age(), 300.0);
}

#[tokio::test(start_paused = true)]
async fn event_puts_off_idle_end_and_heartbeat() {
    let mut stream = Stream::open(|_| {}).await;
    tokio::time::advance(Duration::from_secs(20)).await;
    stream.put("a");
    stream.next().await.expect("the event");
    assert_eq!(stream.next().await.expect("a heartbeat"), ":\n\n");
    assert_about(stream.age(), 45.0);
    assert_eq!(stream.heartbeats_until_end().await, 10);
    assert_about(stream.age(), 320.0);
}

#[tokio::test(start_paused = true)]
async fn event_that_waited_past_the_idle_time_is_still_delivered() {
    let mut stream = Stream::open(|_| {}).await;
    stream.put("a");
    tokio::time::advance(Duration::from_secs(400)).await;
    assert_eq!(
        stream.next().await.expect("a chunk"),
        "event:a\ndata:{}\n\n"
    );
    assert_eq!(stream.heartbeats_until_end().await, 11);
    assert_about(stream.age(), 700.0);
}

#[tokio::test(start_paused = true)]
async fn busy_stream_ends_at_its_lifetime() {
    let mut stream = Stream::open(|_| {}).await;
    loop {
        stream.put("a");
        tokio::time::advance(Duration::from_secs(20)).await;
        if stream.next().await.is_none() {
            break;
        }
    }
    assert_about(stream.age(), 1_800.0);
    stream.subscriber.left().await;
    assert!(stream.count("rowcast_disconnects_total{reason=\"lifetime\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn lifetime_is_shortened_by_up_to_its_jitter() {
    let mut ages = Vec::new();
    for _ in 0..20 {
        let mut stream = Stream::open(|options| {
            options.lifetime_jitter = 0.5;
            options.lifetime_max = Duration::from_secs(100);
            options.heartbeat = None;
        })
        .await;
        stream.heartbeats_until_end().await;
        let age = stream.age().as_secs_f64();
        assert!((49.9..100.1).contains(&age), "{age}");
        ages.push(age);
    }
    let spread = ages
        .iter()
        .fold(0.0, |spread: f64, age| spread.max((age - ages[0]).abs()));
    assert!(spread > 1.0, "{ages:?}");
}

/// Takes everything.
struct Open;

impl Outlet for Open {
    fn write(&self, _: Bytes) -> Written {
        Written::Whole
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_past_a_stream_counts_for_its_clocks() {
    let mut stream = Stream::open(|options| {
        options.idle_timeout = Duration::from_secs(60);
        options.heartbeat = Some(Duration::from_secs(25));
    })
    .await;
    stream.subscriber.forwarding.to(Arc::new(Open));
    let mark = Frame::mark("7").expect("a clean mark");
    // Nothing but the clocks gives the body anything to say.
    for _ in 0..10 {
        let silent = tokio::time::timeout(Duration::from_secs(20), stream.next());
        silent.await.expect_err("neither a heartbeat nor the end");
        stream.put("a");
    }
    let last = Instant::now();
    for _ in 0..2 {
        let silent = tokio::time::timeout(Duration::from_secs(20), stream.next());
        silent.await.expect_err("no heartbeat so soon");
        // It keeps the connection from being silent, but nothing has happened.
        stream.subscriber.put(mark.clone());
    }
    assert_eq!(stream.next().await, None);
    let idle = last.elapsed().as_secs_f64();
    assert!((59.9..60.2).contains(&idle), "{idle}");
}

#[tokio::test(start_paused = true)]
async fn stream_let_go_by_the_hub_gives_its_last_frames_and_ends() {
    let mut stream = Stream::open(|_| {}).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    stream.put("a");
    stream.subscriber.let_go();
    assert_eq!(
        stream.next().await.expect("a chunk"),
        "event:a\ndata:{}\n\n"
    );
    assert_eq!(stream.next().await, None);
    assert_about(stream.age(), 10.0);
    stream.subscriber.left().await;
}

#[tokio::test(start_paused = true)]
async fn young_stream_ends_only_after_a_second() {
    let mut stream = Stream::open(|_| {}).await;
    stream.subscriber.let_go();
    assert_eq!(stream.next().await, None);
    assert_about(stream.age(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn subscriber_leaves_when_its_connection_drops_the_body() {
    let stream = Stream::open(|_| {}).await;
    let Stream {
        body,
        mut subscriber,
        ..
    } = stream;
    drop(body);
    subscriber.left().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_of_streams_are_counted() {
    let mut stream = Stream::open(|_| {}).await;
    stream.put("a");
    stream.next().await.expect("the event");
    let connect = Frame::connect(&stream.subscriber.id.0).into_bytes().len();
    let line = format!("rowcast_stream_bytes_total {}", connect + 17);
    assert!(stream.count(&line), "{}", stream.edge.metrics.encode());
}

#[tokio::test(start_paused = true)]
async fn refused_stream_waits_a_second_for_its_answer() {
    for (error, status, message, reason) in [
        (
            JoinError::TooMany,
            503,
            "Too many subscribers. Try again later.",
            "too_many",
        ),
        (
            JoinError::TooManyFromAddress,
            429,
            "Too Many Requests.",
            "too_many_from_address",
        ),
        (
            JoinError::Stopped,
            503,
            "The server is stopping. Try again later.",
            "stopping",
        ),
    ] {
        let edge = Edge::new();
        edge.hub.refuse_joins(error);
        let asked = Instant::now();
        let answer = edge.send(get("/api/realtime")).await;
        assert!(asked.elapsed() >= Duration::from_secs(1), "{error:?}");
        assert_eq!(answer.status, status);
        let body = format!("{{\"data\":{{}},\"message\":\"{message}\",\"status\":{status}}}\n");
        assert_eq!(answer.body, body);
        assert_eq!(answer.lines("content-type"), ["application/json"]);
        assert_eq!(answer.lines("retry-after"), ["5"]);
        let line = format!("rowcast_rejections_total{{reason=\"{reason}\"}} 1");
        assert!(edge.metrics.encode().contains(&line), "{line}");
    }
}
