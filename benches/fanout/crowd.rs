//! The clients: one thread, one poll, one buffer for all of them, and hardly any reading of what they
//! receive, so that they cost much less than the server they load.

use std::io::{ErrorKind, Read};
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Error;
use crate::door::{Door, Member};
use crate::frames::Frames;
use crate::process::own_thread_cpu;

const BUFFER_BYTES: usize = 256 * 1024;
/// How long nothing may happen before a wait is given up.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A change's number and when a client had it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The change.
    pub n: u32,
    /// Microseconds since the crowd's [`began`](Crowd::began).
    pub micros: u32,
}

/// What the clients have seen since they were asked last.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Every delivery.
    pub arrivals: Vec<Arrival>,
    /// Deliveries whose number was not above the one before, repeated ones included.
    pub out_of_order: u64,
    /// Bytes received, heads and chunk sizes included.
    pub bytes: u64,
    /// The thread's processor time since it began.
    pub cpu: Duration,
    /// The last id that each client has received; empty before the first.
    pub ids: Vec<String>,
}

#[derive(Debug, Default)]
struct Counters {
    open: AtomicU64,
    received: AtomicU64,
    ended: AtomicU64,
    stop: AtomicBool,
}

/// Open streams; they close when this is dropped.
#[derive(Debug)]
pub struct Crowd {
    /// When its clock stood at zero.
    pub began: Instant,
    counters: Arc<Counters>,
    requests: Sender<Sender<Harvest>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Crowd {
    /// Begins to open a stream for each member, `at_once` of them at a time.
    pub fn enter(server: SocketAddr, members: Vec<Member>, at_once: usize) -> Self {
        let began = Instant::now();
        let counters = Arc::new(Counters::default());
        let (requests, inbox) = channel();
        let shared = Arc::clone(&counters);
        let thread = thread::spawn(move || {
            let run = Run::new(server, members, at_once, began, shared, inbox);
            run.and_then(Run::run).map_err(|error| error.to_string())
        });
        Self {
            began,
            counters,
            requests,
            thread: Some(thread),
        }
    }

    /// Opens a stream for each member and waits until all have their subscriptions.
    pub fn open(server: SocketAddr, members: Vec<Member>) -> Result<Self, Error> {
        const AT_ONCE: usize = 64;
        let count = members.len() as u64;
        let mut crowd = Self::enter(server, members, AT_ONCE);
        crowd.await_open(count)?;
        Ok(crowd)
    }

    /// Waits until so many have their subscriptions.
    pub fn await_open(&mut self, count: u64) -> Result<(), Error> {
        let open = self.wait(count, |counters| &counters.open)?;
        match open < count {
            true => Err(format!("{open} of {count} streams could be opened").into()),
            false => Ok(()),
        }
    }

    /// Waits for so many deliveries in all, and gives how many there are, which may be fewer where no
    /// more came for a long time.
    pub fn await_received(&mut self, count: u64) -> Result<u64, Error> {
        self.wait(count, |counters| &counters.received)
    }

    /// Deliveries so far.
    pub fn received(&self) -> u64 {
        self.counters.received.load(Ordering::Relaxed)
    }

    /// Streams that the server has ended.
    pub fn ended(&self) -> u64 {
        self.counters.ended.load(Ordering::Relaxed)
    }

    /// What has been seen since the last time.
    pub fn harvest(&mut self) -> Result<Harvest, Error> {
        let (sender, receiver) = channel();
        let asked = self.requests.send(sender).is_ok();
        let harvest = asked.then(|| receiver.recv().ok()).flatten();
        harvest.ok_or_else(|| self.why_over())
    }

    fn wait(
        &mut self,
        count: u64,
        counter: impl Fn(&Counters) -> &AtomicU64,
    ) -> Result<u64, Error> {
        let mut last = (Instant::now(), 0);
        loop {
            let now = counter(&self.counters).load(Ordering::Relaxed);
            if now >= count {
                return Ok(now);
            }
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(self.why_over());
            }
            if now > last.1 {
                last = (Instant::now(), now);
            } else if last.0.elapsed() > PATIENCE {
                return Ok(now);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn why_over(&mut self) -> Error {
        let outcome = self.thread.take().map(JoinHandle::join);
        match outcome {
            Some(Ok(Err(error))) => error.into(),
            _ => "the clients' thread is gone".into(),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.counters.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Client {
    stream: TcpStream,
    member: Member,
    is_open: bool,
    frames: Frames,
}

struct Run {
    poll: Poll,
    door: Door,
    waiting: std::vec::IntoIter<Member>,
    at_once: usize,
    entering: usize,
    clients: Vec<Option<Client>>,
    buffer: Vec<u8>,
    harvest: Harvest,
    began: Instant,
    counters: Arc<Counters>,
    inbox: Receiver<Sender<Harvest>>,
}

impl Run {
    fn new(
        server: SocketAddr,
        members: Vec<Member>,
        at_once: usize,
        began: Instant,
        counters: Arc<Counters>,
        inbox: Receiver<Sender<Harvest>>,
    ) -> Result<Self, Error> {
        Ok(Self {
            poll: Poll::new()?,
            door: Door::new(server),
            clients: Vec::with_capacity(members.len()),
            waiting: members.into_iter(),
            at_once,
            entering: 0,
            buffer: vec![0; BUFFER_BYTES],
            harvest: Harvest::default(),
            began,
            counters,
            inbox,
        })
    }

    fn run(mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(4096);
        while !self.counters.stop.load(Ordering::Relaxed) {
            self.let_in()?;
            match self.poll.poll(&mut events, Some(LOOK_AGAIN * 5)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => outcome?,
            }
            for event in &events {
                self.read(event.token().0)?;
            }
            while let Ok(answer) = self.inbox.try_recv() {
                let _ = answer.send(self.report());
            }
        }
        Ok(())
    }

    fn let_in(&mut self) -> Result<(), Error> {
        while self.entering < self.at_once {
            let Some(member) = self.waiting.next() else {
                break;
            };
            let mut stream = TcpStream::from_std(self.door.knock(&member)?);
            let token = Token(self.clients.len());
            let registry = self.poll.registry();
            registry.register(&mut stream, token, Interest::READABLE)?;
            self.entering += 1;
            self.clients.push(Some(Client {
                stream,
                is_open: false,
                frames: Frames::new(member.keeps_id),
                member,
            }));
        }
        Ok(())
    }

    /// Reads what there is for one client.
    fn read(&mut self, index: usize) -> Result<(), Error> {
        while let Some(client) = &mut self.clients[index] {
            let kept = client.frames.restore(&mut self.buffer);
            let end = match client.stream.read(&mut self.buffer[kept..]) {
                Ok(0) => return self.part(index),
                Ok(read) => kept + read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return self.part(index);
                }
                Err(error) => {
                    client.frames.keep(&self.buffer[..kept]);
                    match error.kind() {
                        ErrorKind::WouldBlock => return Ok(()),
                        ErrorKind::Interrupted => continue,
                        _ => return Err(error.into()),
                    }
                }
            };
            self.harvest.bytes += (end - kept) as u64;
            let micros = self.began.elapsed().as_micros() as u32;
            let Harvest {
                arrivals,
                out_of_order,
                ..
            } = &mut self.harvest;
            let before = arrivals.len();
            let seen = client.frames.read(&self.buffer[..end], |n, is_next| {
                arrivals.push(Arrival { n, micros });
                *out_of_order += u64::from(!is_next);
            });
            seen.map_err(|answer| format!("{}: {answer}", client.member.target))?;
            let received = (arrivals.len() - before) as u64;
            self.counters
                .received
                .fetch_add(received, Ordering::Relaxed);
            if !client.is_open && !client.frames.client_id.is_empty() {
                self.open(index)?;
            }
            // Less than there was room for: nothing is left, and the next bytes wake us.
            if end < self.buffer.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A stream has said its name.
    fn open(&mut self, index: usize) -> Result<(), Error> {
        let Some(client) = &mut self.clients[index] else {
            return Ok(());
        };
        client.is_open = true;
        self.entering -= 1;
        self.door
            .subscribe(&client.member, &client.frames.client_id)?;
        if client.member.is_slow {
            self.poll.registry().deregister(&mut client.stream)?;
        }
        self.counters.open.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn part(&mut self, index: usize) -> Result<(), Error> {
        let Some(client) = self.clients[index].take() else {
            return Ok(());
        };
        if !client.is_open {
            return Err(format!("{} was answered with nothing", client.member.target).into());
        }
        self.counters.ended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn report(&mut self) -> Harvest {
        let ids = self.clients.iter().map(|client| {
            let id = client
                .as_ref()
                .map(|client| client.frames.last_id.as_slice());
            String::from_utf8_lossy(id.unwrap_or_default()).into_owned()
        });
        self.harvest.ids = ids.collect();
        self.harvest.cpu = own_thread_cpu();
        mem::take(&mut self.harvest)
    }
}
