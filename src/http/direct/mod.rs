//! Streams over HTTP/1.1, written straight to their sockets.
//!
//! A stream's connection has nothing more to do than to write a body as it comes, for hours, and there
//! are many of them. For that hyper keeps buffers and a state machine made for what comes next; here
//! there is a socket and a body. What asks for a stream in the plainest way, which is how clients do, is
//! answered here; everything else, HTTP/2 among it, is hyper's, and so is a connection whose stream has
//! ended and that is asked for something else.
//!
//! Most chunks do not even go through the body: while it waits for the next, the hub writes them to the socket
//! ([`Shortcut`]), and the connection's task is left alone until the client does not take them at once.

mod chunk;
mod head;
mod request;
mod shortcut;
mod writing;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use http::Response;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

pub(super) use request::{Opening, opening};
pub(super) use shortcut::Shortcut;

use super::stall::Guarded;
use chunk::{Framed, framed};
use head::Framing;
use shortcut::Passage;
use writing::Writing;

/// Writes an answer; returns the connection when it has ended and can be asked for more.
///
/// # Errors
/// If the peer is gone, or takes nothing for longer than `write_stall_max`, or the body breaks.
pub(super) async fn answer(
    stream: TcpStream,
    write_stall_max: Duration,
    response: Response<Body>,
) -> io::Result<TcpStream> {
    let (mut parts, body) = response.into_parts();
    let framing = Framing::of(&body);
    let socket = Arc::new(stream);
    let mut writing = Guarded::greeted(Writing(Arc::clone(&socket)), write_stall_max);
    writing.write_all(&head::written(&parts, framing)).await?;
    let shortcut = parts.extensions.remove::<Shortcut>();
    let mut source = Source {
        body,
        passage: shortcut.map(|shortcut| shortcut.to(Arc::clone(&socket))),
    };
    loop {
        match source.next(&socket).await? {
            Next::End => break,
            Next::Rest(mut rest) => {
                writing.write_all_buf(&mut rest).await?;
                source.rest_is_written();
            }
            Next::Chunk(mut chunk) if framing != Framing::Chunked => {
                writing.write_all_buf(&mut chunk).await?;
            }
            // An empty chunk would be the last one.
            Next::Chunk(chunk) if chunk.is_empty() => {}
            Next::Chunk(chunk) => write_chunk(&mut writing, chunk).await?,
        }
    }
    if framing == Framing::Chunked {
        writing.write_all(b"0\r\n\r\n").await?;
    }
    drop((source, writing));
    // Nobody else has it once the body is gone.
    Arc::into_inner(socket).ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
}

async fn write_chunk(writing: &mut Guarded<Writing>, chunk: Bytes) -> io::Result<()> {
    let mut framed = framed(chunk);
    let written = poll_fn(|context| {
        let write = |bytes: &[u8]| Pin::new(&mut *writing).poll_write(context, bytes);
        match chunk::write_copied(&framed, write) {
            Some(Poll::Ready(written)) => Poll::Ready(written),
            // Where there is no room, whoever goes on waits for it.
            Some(Poll::Pending) | None => Poll::Ready(Ok(0)),
        }
    });
    let written = written.await?;
    framed.advance(written);
    writing.write_all_buf(&mut framed).await
}

/// What is to be written.
struct Source {
    body: Body,
    /// How chunks go meanwhile that do not come from the body.
    passage: Option<Passage>,
}

enum Next {
    /// What the passage could not write.
    Rest(Framed),
    Chunk(Bytes),
    End,
}

impl Source {
    async fn next(&mut self, socket: &TcpStream) -> io::Result<Next> {
        poll_fn(|context| {
            if let Poll::Ready(next) = self.poll_body(context)? {
                return Poll::Ready(Ok(next));
            }
            // As long as there is a rest, the body has nothing to say.
            match self.passage.as_ref().and_then(Passage::rest) {
                Some(rest) => Poll::Ready(Ok(Next::Rest(rest))),
                None => poll_gone(socket, context).map(Err),
            }
        })
        .await
    }

    fn rest_is_written(&self) {
        if let Some(passage) = &self.passage {
            passage.rest_is_written();
        }
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> io::Result<Poll<Next>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                return Ok(Poll::Pending);
            };
            match frame.transpose().map_err(io::Error::other)? {
                None => return Ok(Poll::Ready(Next::End)),
                Some(frame) => {
                    // Trailers are for those who asked for them, which nobody here did.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Poll::Ready(Next::Chunk(data)));
                    }
                }
            }
        }
    }
}

/// Ready once the peer has closed, with what to say of it. What it says meanwhile waits its turn.
fn poll_gone(socket: &TcpStream, context: &mut Context<'_>) -> Poll<io::Error> {
    let mut byte = [0];
    match socket.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
        Poll::Ready(Ok(0)) => Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
        Poll::Ready(Err(error)) => Poll::Ready(error),
        // Nobody is woken then when it closes; writing to it will tell.
        Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
    }
}
