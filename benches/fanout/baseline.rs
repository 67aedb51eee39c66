//! What the server is compared with: processes that send the same bytes to as many sockets and do
//! nothing else. A line on their standard input is the number of the next event.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, thread};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use clap::ValueEnum;
use futures_util::stream::{self, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::Error;
use crate::process::Process;

const GREETING: &str = "id:none\nevent:PB_CONNECT\ndata:{\"clientId\":\"0000000000000000000000000000000000000000\"}\n\n";
const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
/// Events that may wait for one socket of axum's.
const CAPACITY: usize = 8192;

/// Which baseline a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One thread that writes to one socket after the other.
    Bare,
    /// An axum handler whose stream hands on shared bytes.
    Axum,
}

/// One running; it ends when this is dropped.
#[derive(Debug)]
pub struct Baseline {
    child: Child,
    numbers: ChildStdin,
    address: SocketAddr,
    next: u32,
}

impl Baseline {
    /// Starts this program again in another role.
    pub fn start(kind: Kind) -> Result<Self, Error> {
        let role = kind.to_possible_value().ok_or("a hidden role")?;
        let mut child = Command::new(env::current_exe()?)
            .args(["--role", role.get_name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let numbers = child.stdin.take().ok_or("no standard input")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self {
            child,
            numbers,
            address,
            next: 1,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// The number of the next event.
    pub fn take_number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Sends an event to everybody.
    pub fn publish(&mut self, n: u32) -> Result<(), Error> {
        Ok(self.numbers.write_all(format!("{n}\n").as_bytes())?)
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is a baseline, until standard input ends.
#[allow(clippy::print_stdout, reason = "says its address to its parent")]
pub fn be(kind: Kind) -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    match kind {
        Kind::Bare => be_bare(&listener),
        Kind::Axum => be_axum(listener),
    }
}

/// The event that `rowcast serve` sends for a row of the bench, byte for byte but for ids and times.
fn event(n: u32) -> String {
    format!(
        "id:02158e6f00000001:{n:04}:{n:04}:\nevent:items/*\ndata:{{\"record\":{{\"body\":\"{}\",\
         \"collectionId\":\"rwc_949eaa02eaf\",\"collectionName\":\"items\",\
         \"created\":\"2026-11-21 06:09:41.058Z\",\"id\":\"{n}\",\"n\":{n},\"owner\":\"nobody\",\"slot\":0,\
         \"status\":\"public\",\"title\":\"What a row costs when many are told of it\"}},\
         \"action\":\"create\"}}\n\n",
        "x".repeat(100)
    )
}

/// The numbers on standard input.
fn numbers() -> impl Iterator<Item = u32> {
    let lines = std::io::stdin().lines();
    lines.map_while(|line| line.ok()?.trim().parse().ok())
}

fn be_bare(listener: &TcpListener) -> Result<(), Error> {
    let sockets = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
    let entered = Arc::clone(&sockets);
    let listener = listener.try_clone()?;
    thread::spawn(move || {
        let mut request = [0; 1024];
        for mut socket in listener.incoming().flatten() {
            let _ = socket.set_nodelay(true);
            let answered = socket.read(&mut request).is_ok()
                && socket
                    .write_all(format!("{HEAD}{GREETING}").as_bytes())
                    .is_ok();
            if answered {
                let mut sockets = entered.lock().unwrap_or_else(PoisonError::into_inner);
                sockets.push(socket);
            }
        }
    });
    for n in numbers() {
        let event = event(n);
        let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain_mut(|socket| socket.write_all(event.as_bytes()).is_ok());
    }
    Ok(())
}

fn be_axum(listener: TcpListener) -> Result<(), Error> {
    let (sender, _) = broadcast::channel(CAPACITY);
    let router = Router::new()
        .route("/api/realtime", get(open))
        .with_state(sender.clone());
    thread::spawn(move || {
        for n in numbers() {
            // Nobody may be listening.
            let _ = sender.send(Bytes::from(event(n)));
        }
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        Ok(axum::serve(listener, router).await?)
    })
}

async fn open(State(sender): State<broadcast::Sender<Bytes>>) -> Response {
    let events = stream::unfold(sender.subscribe(), |mut receiver| async {
        match receiver.recv().await {
            Ok(event) => Some((Ok(event), receiver)),
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    });
    let greeting = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(GREETING))]);
    let head = [("content-type", "text/event-stream")];
    (head, Body::from_stream(greeting.chain(events))).into_response()
}
