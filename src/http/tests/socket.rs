//! Bytes on a socket: what only the whole server shows.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::frame::Frame;
use crate::http::{ServerOptions, serve};
use crate::shutdown::Shutdown;

/// A server on a port of its own.
struct Running {
    edge: Edge,
    address: SocketAddr,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(options: ServerOptions) -> Self {
        let options = HttpOptions {
            reconnect_delay_min: Duration::ZERO,
            server: options,
            ..HttpOptions::default()
        };
        Self::start_with(options).await
    }

    async fn start_with(options: HttpOptions) -> Self {
        let edge = Edge::with(options.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = Shutdown::new();
        let server = serve(listener, edge.router.clone(), options, shutdown.clone());
        Self {
            edge,
            address,
            shutdown,
            server: tokio::spawn(server),
        }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await;
        Client {
            stream: stream.expect("a connection"),
            heard: String::new(),
        }
    }

    async fn ask(&self, request: &str) -> Client {
        let mut client = self.connect().await;
        client.say(request).await;
        client
    }

    async fn ended(self) {
        let ended = tokio::time::timeout(Duration::from_secs(10), self.server);
        ended
            .await
            .expect("the server ends")
            .expect("without panic");
    }
}

/// A peer that remembers all it has heard.
struct Client {
    stream: TcpStream,
    heard: String,
}

impl Client {
    async fn say(&mut self, text: &str) {
        let written = self.stream.write_all(text.as_bytes()).await;
        written.expect("the server listens");
    }

    /// Reads until `end` was heard; fails with what was heard instead.
    async fn hear(&mut self, end: &str) -> &str {
        while !self.heard.contains(end) {
            assert!(self.read().await, "closed after {:?}", self.heard);
        }
        &self.heard
    }

    /// Reads until the server closes.
    async fn hear_out(&mut self) -> &str {
        while self.read().await {}
        &self.heard
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), self.stream.read(&mut bytes));
        match read.await {
            Ok(Ok(count)) => {
                self.heard += std::str::from_utf8(&bytes[..count]).expect("ASCII");
                count > 0
            }
            Ok(Err(_)) => false,
            Err(_) => panic!("ten seconds of silence after {:?}", self.heard),
        }
    }
}

const OPEN: &str = "GET /api/realtime HTTP/1.1\r\nHost: x\r\n\r\n";

/// The header lines of an answer without its date, sorted.
fn head_lines(answer: &str) -> Vec<&str> {
    let (head, _) = answer.split_once("\r\n\r\n").expect("a whole head");
    let mut lines: Vec<_> = head.split("\r\n").skip(1).collect();
    lines.retain(|line| !line.starts_with("date: "));
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn stream_is_chunked_and_carries_exactly_these_headers() {
    let running = Running::start(ServerOptions::default()).await;
    let mut client = running.ask(OPEN).await;
    let heard = client.hear("\n\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    assert_eq!(
        head_lines(heard),
        [
            "cache-control: no-store",
            "content-type: text/event-stream",
            "transfer-encoding: chunked",
            "vary: Origin",
            "x-accel-buffering: no",
            "x-content-type-options: nosniff",
            "x-frame-options: SAMEORIGIN",
            "x-xss-protection: 1; mode=block",
        ]
    );
    let subscriber = running.edge.hub.joined().expect("a subscriber");
    assert_eq!(subscriber.address.to_string(), "127.0.0.1");
    let connect = Frame::connect(&subscriber.id.0).into_bytes();
    let connect = std::str::from_utf8(&connect).expect("ASCII");
    let body = format!("{:X}\r\n{connect}\r\n", connect.len());
    assert!(heard.ends_with(&body), "{heard:?}");
    drop(subscriber);
    let heard = client.hear("0\r\n\r\n").await;
    assert!(heard.ends_with("\r\n0\r\n\r\n"), "{heard:?}");
}

#[tokio::test]
async fn connection_whose_stream_has_ended_can_be_asked_for_another_and_for_anything_else() {
    let running = Running::start(ServerOptions::default()).await;
    let mut client = running.connect().await;
    for _ in 0..2 {
        client.heard.clear();
        client.say(OPEN).await;
        client.hear("\n\n\r\n").await;
        drop(running.edge.hub.joined().expect("a subscriber"));
        client.hear("\r\n0\r\n\r\n").await;
    }
    client.heard.clear();
    client.say("GET /api/health HTTP/1.1\r\n\r\n").await;
    client.hear("API is healthy").await;
    client.heard.clear();
    client.say(OPEN).await;
    client.hear("PB_CONNECT").await;
}

#[tokio::test]
async fn what_is_said_while_a_stream_runs_waits_for_its_end() {
    let running = Running::start(ServerOptions::default()).await;
    let mut client = running.ask(OPEN).await;
    client.hear("PB_CONNECT").await;
    client.say("GET /api/health HTTP/1.1\r\n\r\n").await;
    let subscriber = running.edge.hub.joined().expect("a subscriber");
    let frame = Frame::event(None, "last", b"{}").expect("a clean name");
    subscriber.put(frame);
    let heard = client.hear("event:last").await;
    assert!(!heard.contains("API is healthy"), "{heard:?}");
    drop(subscriber);
    client.hear("API is healthy").await;
}

#[tokio::test]
async fn stream_refused_is_answered_whole_and_the_connection_goes_on() {
    let running = Running::start(ServerOptions::default()).await;
    let topic = "x".repeat(2_501);
    let line = format!("GET /api/realtime?subscriptions={topic} HTTP/1.1\r\nHost: x\r\n\r\n");
    for headers in ["", "Connection: close\r\n"] {
        let line = line.replace("Host: x\r\n", &format!("Host: x\r\n{headers}"));
        let mut client = running.ask(&line).await;
        let heard = client.hear("}\n").await;
        assert!(heard.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{heard}");
        let (head, body) = heard.split_once("\r\n\r\n").expect("a whole head");
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{heard}");
        if headers.is_empty() {
            client.heard.clear();
            client.say("GET /api/health HTTP/1.1\r\n\r\n").await;
            client.hear("API is healthy").await;
        }
    }
}

#[tokio::test]
async fn old_http_gets_a_body_that_ends_with_the_connection() {
    let running = Running::start(ServerOptions::default()).await;
    let mut client = running.ask("GET /api/realtime HTTP/1.0\r\n\r\n").await;
    client.hear("\n\n").await;
    drop(running.edge.hub.joined().expect("a subscriber"));
    let heard = client.hear_out().await;
    assert!(!heard.contains("transfer-encoding"), "{heard:?}");
    assert!(heard.ends_with("\"}\n\n"), "{heard:?}");
}

#[tokio::test]
async fn head_has_no_length_no_encoding_and_no_body() {
    let running = Running::start(ServerOptions::default()).await;
    let request = "HEAD /api/realtime HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut client = running.ask(request).await;
    let heard = client.hear_out().await;
    let names: Vec<_> = head_lines(heard)
        .iter()
        .map(|line| line.split(':').next().unwrap_or_default().to_owned())
        .collect();
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    assert!(!names.contains(&"content-length".to_owned()), "{heard}");
    assert!(!names.contains(&"transfer-encoding".to_owned()), "{heard}");
    assert!(heard.ends_with("\r\n\r\n"), "{heard:?}");
}

#[tokio::test]
async fn accepted_form_is_answered_with_an_empty_204() {
    let running = Running::start(ServerOptions::default()).await;
    let body = r#"{"clientId":"x"}"#;
    let request = format!(
        "POST /api/realtime HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = running.ask(&request).await;
    let heard = client.hear_out().await;
    assert!(heard.starts_with("HTTP/1.1 204 No Content\r\n"), "{heard}");
    assert_eq!(
        head_lines(heard),
        [
            "connection: close",
            "vary: Origin",
            "x-content-type-options: nosniff",
            "x-frame-options: SAMEORIGIN",
            "x-xss-protection: 1; mode=block",
        ]
    );
    assert!(heard.ends_with("\r\n\r\n"), "{heard:?}");
}

#[tokio::test]
async fn form_without_a_body_is_an_empty_form() {
    let running = Running::start(ServerOptions::default()).await;
    for length in ["", "Content-Length: 0\r\n"] {
        let request = format!("POST /api/realtime HTTP/1.1\r\nHost: x\r\n{length}\r\n");
        let mut client = running.ask(&request).await;
        client.hear("validation_required").await;
    }
}

#[tokio::test]
async fn preflight_carries_no_other_headers() {
    let running = Running::start(ServerOptions::default()).await;
    let mut client = running
        .ask("OPTIONS /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let heard = client.hear_out().await;
    assert!(heard.starts_with("HTTP/1.1 204"), "{heard}");
    assert_eq!(head_lines(heard), ["connection: close", "vary: Origin"]);
}

#[tokio::test]
async fn subscriber_leaves_when_its_peer_does() {
    let running = Running::start(ServerOptions::default()).await;
    let mut client = running.ask(OPEN).await;
    client.hear("PB_CONNECT").await;
    let mut subscriber = running.edge.hub.joined().expect("a subscriber");
    drop(client);
    let left = tokio::time::timeout(Duration::from_secs(10), subscriber.left());
    left.await.expect("the subscriber leaves");
}

#[tokio::test]
async fn soft_stop_waits_for_streams_and_takes_no_new_connections() {
    let running = Running::start(ServerOptions::default()).await;
    let mut client = running.ask(OPEN).await;
    let mut idle = running.connect().await;
    client.hear("PB_CONNECT").await;
    let subscriber = running.edge.hub.joined().expect("a subscriber");
    running.shutdown.soft.cancel();
    idle.hear_out().await;
    let address = running.address;
    let refused = async || TcpStream::connect(address).await.is_err();
    while !refused().await {
        tokio::task::yield_now().await;
    }
    let last = Frame::event(None, "last", b"{}").expect("a clean name");
    subscriber.put(last);
    drop(subscriber);
    let heard = client.hear_out().await;
    assert!(
        heard.ends_with("event:last\ndata:{}\n\n\r\n0\r\n\r\n"),
        "{heard:?}"
    );
    running.ended().await;
}

#[tokio::test]
async fn streams_that_do_not_end_are_cut_at_the_drain_deadline_or_a_hard_stop() {
    for (drain, hard) in [(Duration::from_millis(50), false), (Duration::MAX, true)] {
        let running = Running::start(ServerOptions {
            drain,
            ..ServerOptions::default()
        })
        .await;
        let mut client = running.ask(OPEN).await;
        client.hear("PB_CONNECT").await;
        let _subscriber = running.edge.hub.joined().expect("a subscriber");
        running.shutdown.soft.cancel();
        if hard {
            running.shutdown.hard.cancel();
        }
        running.ended().await;
        let heard = client.hear_out().await;
        assert!(!heard.ends_with("0\r\n\r\n"), "{heard:?}");
    }
}

#[tokio::test]
async fn peer_that_says_nothing_is_let_go() {
    let running = Running::start(ServerOptions {
        header_read_timeout: Duration::from_millis(50),
        ..ServerOptions::default()
    })
    .await;
    for words in ["", "P", "PRI * HTTP/2", "GET /api/realtime HTTP/1.1\r\nHos"] {
        let mut client = running.ask(words).await;
        client.hear_out().await;
    }
}

#[tokio::test]
async fn peer_that_takes_no_bytes_is_let_go() {
    let running = Running::start(ServerOptions {
        write_stall_max: Duration::from_millis(100),
        ..ServerOptions::default()
    })
    .await;
    let client = running.ask(OPEN).await;
    let mut subscriber = eventually("a subscriber", || running.edge.hub.joined()).await;
    let frame = Frame::event(None, "x", &vec![b'x'; 1 << 20]).expect("a clean frame");
    let flood = async {
        loop {
            subscriber.try_put(frame.clone());
            if subscriber.is_gone() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let flooded = tokio::time::timeout(Duration::from_secs(20), flood);
    flooded.await.expect("the stalled connection is closed");
    subscriber.left().await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_that_takes_few_bytes_at_a_time_receives_every_byte_in_order() {
    const BYTES: usize = 24 << 20;
    let running = Running::start(ServerOptions {
        header_read_timeout: Duration::from_millis(200),
        ..ServerOptions::default()
    })
    .await;
    let mut client = running.ask(OPEN).await;
    client.hear("PB_CONNECT\ndata").await;
    client.hear("\n\n\r\n").await;
    client.heard.clear();
    let subscriber = running.edge.hub.joined().expect("a subscriber");
    // More than the sockets hold, in pieces of many sizes.
    let put = tokio::spawn(async move {
        let mut expected = String::new();
        for number in 0.. {
            if expected.len() > BYTES {
                break;
            }
            let data = format!("{number}").repeat(1 + number * 7919 % 3000);
            let frame = Frame::event(None, "n", data.as_bytes()).expect("a clean frame");
            while !subscriber.try_put(frame.clone()) {
                tokio::task::yield_now().await;
            }
            expected += &format!("event:n\ndata:{data}\n\n");
        }
        expected
    });
    let heard = client.hear_out().await;
    let expected = put.await.expect("all is put in");
    let body = unchunked(heard);
    assert!(body == expected, "{} of {}", body.len(), expected.len());
}

/// The body of an answer in chunks, without its end.
fn unchunked(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        let (chunk, rest) = rest.split_at(size);
        body += chunk;
        chunks = rest.strip_prefix("\r\n").expect("the end of a chunk");
    }
    body
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let running = Running::start(ServerOptions {
        connections_max: 1,
        ..ServerOptions::default()
    })
    .await;
    let mut first = running.ask(OPEN).await;
    first.hear("PB_CONNECT").await;
    let mut second = running.ask(OPEN).await;
    assert!(running.edge.hub.joined().is_some());
    assert!(running.edge.hub.joined().is_none());
    drop(first);
    second.hear("PB_CONNECT").await;
}

#[tokio::test]
async fn http2_is_spoken_to_who_knows_it() {
    let running = Running::start(ServerOptions::default()).await;
    let stream = TcpStream::connect(running.address)
        .await
        .expect("a connection");
    let (mut client, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .expect("HTTP/2");
    tokio::spawn(connection);
    let mut bodies = Vec::new();
    for _ in 0..10 {
        let request = get("http://x/api/realtime");
        let response = client.send_request(request).await.expect("an answer");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let first = body.frame().await.expect("a frame").expect("no error");
        let first = first.into_data().expect("data");
        assert!(first.starts_with(b"id:"), "{first:?}");
        bodies.push(body);
    }
    let subscribers = std::iter::from_fn(|| running.edge.hub.joined()).count();
    assert_eq!(subscribers, 10);
}

#[tokio::test]
async fn http2_stream_that_is_granted_no_room_is_let_go_and_its_neighbour_stays() {
    let running = Running::start_with(HttpOptions {
        heartbeat: Some(Duration::from_millis(50)),
        request_timeout: Duration::from_millis(50),
        server: ServerOptions {
            write_stall_max: Duration::from_millis(100),
            ..ServerOptions::default()
        },
        ..HttpOptions::default()
    })
    .await;
    let stream = TcpStream::connect(running.address)
        .await
        .expect("a connection");
    let (mut client, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(1_024)
            .handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let mut open = async || {
        let answer = client.send_request(get("http://x/api/realtime")).await;
        answer.expect("an answer").into_body()
    };
    let stalled = open().await;
    let mut neighbour = open().await;
    let mut subscriber = running.edge.hub.joined().expect("a subscriber");
    let frame = Frame::event(None, "x", &vec![b'x'; 4_096]).expect("a clean frame");
    subscriber.put(frame);
    let left = async {
        tokio::select! {
            () = subscriber.left() => {}
            () = async { while neighbour.frame().await.is_some() {} } => panic!("both ended"),
        }
    };
    let left = tokio::time::timeout(Duration::from_secs(10), left);
    left.await.expect("the stalled stream is dropped");
    drop(stalled);
}
