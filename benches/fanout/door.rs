//! How a client comes in: a request for a stream, and one that says what it wants.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::Error;

/// What a client that does not read has room for.
const SLOW_BUFFER_BYTES: usize = 4096;

/// Who comes in.
#[derive(Debug, Clone)]
pub struct Member {
    /// Path and query of the stream.
    pub target: String,
    /// Subscriptions that are set by a second request, as the SDKs do; none if the target says all.
    pub topics: Vec<String>,
    /// A principal's token.
    pub token: Option<Arc<str>>,
    /// Where it was, if it comes back.
    pub last_id: Option<String>,
    /// Whether it will want to come back.
    pub keeps_id: bool,
    /// The address it comes from.
    pub address: Ipv4Addr,
    /// Whether it reads nothing once it has its subscriptions.
    pub is_slow: bool,
}

impl Member {
    /// How many addresses clients come from, so that ports suffice.
    const ADDRESSES: usize = 8;

    /// A guest who subscribes to this as the SDKs do.
    pub fn new(number: usize, topics: Vec<String>) -> Self {
        let last = 2 + u8::try_from(number % Self::ADDRESSES).unwrap_or_default();
        Self {
            target: "/api/realtime".to_owned(),
            topics,
            token: None,
            last_id: None,
            keeps_id: false,
            address: Ipv4Addr::new(127, 0, 0, last),
            is_slow: false,
        }
    }

    fn head_lines(&self) -> String {
        let mut lines = "Host: localhost\r\n".to_owned();
        if let Some(token) = &self.token {
            lines += &format!("Authorization: {token}\r\n");
        }
        if let Some(id) = &self.last_id {
            lines += &format!("Last-Event-ID: {id}\r\n");
        }
        lines
    }
}

/// The way to one server.
#[derive(Debug)]
pub struct Door {
    server: SocketAddr,
    /// For second requests, one for each address.
    kept: HashMap<Ipv4Addr, TcpStream>,
}

impl Door {
    /// Connects to nobody yet.
    pub fn new(server: SocketAddr) -> Self {
        Self {
            server,
            kept: HashMap::new(),
        }
    }

    /// Connects and asks for the member's stream.
    pub fn knock(&self, member: &Member) -> Result<TcpStream, Error> {
        let mut stream = self.connect(member.address, member.is_slow)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nAccept: text/event-stream\r\n{}\r\n",
            member.target,
            member.head_lines()
        );
        stream.write_all(request.as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Says what the member's stream is to carry.
    pub fn subscribe(&mut self, member: &Member, client_id: &str) -> Result<(), Error> {
        if member.topics.is_empty() {
            return Ok(());
        }
        let body = json!({ "clientId": client_id, "subscriptions": member.topics }).to_string();
        let request = format!(
            "POST /api/realtime HTTP/1.1\r\n{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            member.head_lines(),
            body.len()
        );
        let stream = match self.kept.remove(&member.address) {
            Some(stream) => stream,
            None => self.connect(member.address, false)?,
        };
        let answer = ask(&stream, &request)?;
        if !answer.starts_with("HTTP/1.1 204") {
            return Err(format!("the server refused {:?}: {answer}", member.topics).into());
        }
        self.kept.insert(member.address, stream);
        Ok(())
    }

    fn connect(&self, from: Ipv4Addr, is_slow: bool) -> Result<TcpStream, Error> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Closed at once: a hundred thousand that linger in TIME-WAIT make the kernel search for seconds for a free port.
        socket.set_linger(Some(Duration::ZERO))?;
        if self.server.ip().is_loopback() {
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        if is_slow {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        socket.connect(&self.server.into())?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }
}

/// Sends a request and reads the answer's head, which has no body where all is well.
fn ask(mut stream: &TcpStream, request: &str) -> Result<String, Error> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Err("the server closed a connection instead of answering".into()),
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
