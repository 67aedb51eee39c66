//! A connection whose peer must not keep us waiting: it says its first words in time, and takes
//! what is written for it.
//!
//! hyper bounds the time a request's head may take, but neither what comes before it knows the
//! protocol nor how long a write may be stuck; and while one is, no stream's own timer runs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What HTTP/2 starts with; anything else is HTTP/1, whose head hyper itself waits for.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails when its peer stalls.
pub(super) struct Guarded<S> {
    stream: S,
    greeting: Option<Greeting>,
    write_stall_max: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Runs until it is known which protocol the peer speaks.
struct Greeting {
    deadline: Pin<Box<Sleep>>,
    heard: usize,
}

impl Greeting {
    /// Whether more is needed to know the protocol.
    fn continues(&mut self, words: &[u8]) -> bool {
        let rest = &PREFACE[self.heard..];
        self.heard += words.len().min(rest.len());
        words.len() < rest.len() && rest.starts_with(words)
    }
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, greeting_max: Duration, write_stall_max: Duration) -> Self {
        Self {
            greeting: Some(Greeting {
                deadline: Box::pin(sleep(greeting_max)),
                heard: 0,
            }),
            ..Self::greeted(stream, write_stall_max)
        }
    }

    /// A stream whose first words were heard.
    pub(super) fn greeted(stream: S, write_stall_max: Duration) -> Self {
        Self {
            stream,
            greeting: None,
            write_stall_max,
            stalled: None,
        }
    }

    /// Passes a write's outcome on, unless it has been waiting for too long.
    fn watch<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let limit = self.write_stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled
            .as_mut()
            .poll(context)
            .map(|()| Err(timed_out("the client takes no bytes")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(greeting) = &mut self.greeting else {
            return outcome;
        };
        if outcome.is_pending() {
            let deadline = greeting.deadline.as_mut().poll(context);
            return deadline.map(|()| Err(timed_out("the client says nothing")));
        }
        if !greeting.continues(&buffer.filled()[before..]) {
            self.greeting = None;
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
