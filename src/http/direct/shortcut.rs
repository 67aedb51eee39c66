//! The way of frames past their stream's task: from the mailbox to the socket.

use std::fmt;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::chunk::{Framed, PIECES, framed, write_copied};
use crate::hub::{Forwarding, Outlet, Written};
use crate::telemetry::Metrics;

/// What a response carries whose body may be written past it.
#[derive(Clone)]
pub(in crate::http) struct Shortcut {
    forwarding: Forwarding,
    metrics: Metrics,
}

impl Shortcut {
    pub(in crate::http) fn new(forwarding: Forwarding, metrics: Metrics) -> Self {
        Self {
            forwarding,
            metrics,
        }
    }

    /// Lets frames go to a socket, while the body that this came with waits for any.
    pub(super) fn to(self, socket: Arc<TcpStream>) -> Passage {
        let outlet = Arc::new(SocketOutlet {
            socket,
            rest: Mutex::default(),
            metrics: self.metrics,
        });
        self.forwarding.to(Arc::<SocketOutlet>::clone(&outlet));
        Passage {
            forwarding: self.forwarding,
            outlet,
        }
    }
}

/// A shortcut in use, as the connection's task knows it.
pub(super) struct Passage {
    forwarding: Forwarding,
    outlet: Arc<SocketOutlet>,
}

impl Passage {
    /// What the socket did not take, and is to be written before anything else.
    pub(super) fn rest(&self) -> Option<Framed> {
        let has_rest = self.forwarding.has_rest();
        has_rest.then(|| self.outlet.rest().take()).flatten()
    }

    /// The rest was written.
    pub(super) fn rest_is_written(&self) {
        self.forwarding.rest_is_written();
    }
}

/// A socket that is written to in chunks, without waiting.
struct SocketOutlet {
    socket: Arc<TcpStream>,
    rest: Mutex<Option<Framed>>,
    metrics: Metrics,
}

impl SocketOutlet {
    fn rest(&self) -> MutexGuard<'_, Option<Framed>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for SocketOutlet {
    fn write(&self, chunk: Bytes) -> Written {
        self.metrics.stream_bytes.inc_by(chunk.len() as u64);
        let mut framed = framed(chunk);
        // Not tokio's `try_write`, which looks first whether the socket was full before: that is somewhere else in
        // memory. If it was, the stream's task has this mailbox.
        let socket = SockRef::from(&*self.socket);
        let written = write_copied(&framed, |bytes| socket.send(bytes));
        let written = written.unwrap_or_else(|| {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let count = framed.chunks_vectored(&mut slices);
            socket.send_vectored(&slices[..count])
        });
        // Whoever sees to the rest finds an error again.
        framed.advance(written.unwrap_or(0));
        if !framed.has_remaining() {
            return Written::Whole;
        }
        *self.rest() = Some(framed);
        Written::InPart
    }
}

impl fmt::Debug for Shortcut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shortcut").finish_non_exhaustive()
    }
}
