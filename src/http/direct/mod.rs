//! Streams over HTTP/1.1, written straight to their sockets.
//!
//! A stream's connection has nothing more to do than to write a body as it comes, for hours, and there
//! are many of them. For that hyper keeps buffers and a state machine made for what comes next; here
//! there is a socket and a body. What asks for a stream in the plainest way, which is how clients do, is
//! answered here; everything else, HTTP/2 among it, is hyper's, and so is a connection whose stream has
//! ended and that is asked for something else.

mod head;
mod request;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use http::Response;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

pub(super) use request::{Opening, opening};

use super::stall::Guarded;
use head::Framing;

/// Chunks up to this size are put together with what frames them: that costs less than to tell the kernel of three
/// pieces.
const COPIED_MAX: usize = 1024;

/// Writes an answer; returns when it has ended and the connection can be asked for more.
///
/// # Errors
/// If the peer is gone or stalls, or the body breaks; the connection is of no more use then.
pub(super) async fn answer(
    stream: &mut Guarded<TcpStream>,
    response: Response<Body>,
) -> io::Result<()> {
    let (parts, mut body) = response.into_parts();
    let framing = Framing::of(&body);
    stream.write_all(&head::written(&parts, framing)).await?;
    while let Some(mut chunk) = next_chunk(stream.get_ref(), &mut body).await? {
        match framing {
            Framing::Length(_) => stream.write_all_buf(&mut chunk).await?,
            // An empty chunk would be the last one.
            Framing::Chunked if chunk.is_empty() => {}
            Framing::Chunked => write_chunk(stream, chunk).await?,
        }
    }
    if framing == Framing::Chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

async fn write_chunk(stream: &mut Guarded<TcpStream>, chunk: Bytes) -> io::Result<()> {
    let length = chunk.len();
    let size = head::chunk_size(length);
    let mut framed = size.chain(chunk).chain(&b"\r\n"[..]);
    if length <= COPIED_MAX {
        let written = write_copied(stream, &framed).await?;
        framed.advance(written);
    }
    stream.write_all_buf(&mut framed).await
}

/// Writes as much of a few pieces as there is room for at once, as one.
async fn write_copied(stream: &mut Guarded<TcpStream>, pieces: &impl Buf) -> io::Result<usize> {
    poll_fn(|context| {
        let mut bytes = [0; COPIED_MAX + head::SIZE_BYTES_MAX + 2];
        let mut slices = [IoSlice::new(&[]); 3];
        let count = pieces.chunks_vectored(&mut slices);
        let mut length = 0;
        for slice in &slices[..count] {
            bytes[length..length + slice.len()].copy_from_slice(slice);
            length += slice.len();
        }
        let written = Pin::new(&mut *stream).poll_write(context, &bytes[..length]);
        // Where there is no room, whoever goes on waits for it.
        Poll::Ready(match written {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(0),
        })
    })
    .await
}

/// The next bytes of a body; `None` at its end.
async fn next_chunk(socket: &TcpStream, body: &mut Body) -> io::Result<Option<Bytes>> {
    poll_fn(|context| {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) else {
                return poll_gone(socket, context).map(Err);
            };
            match frame.transpose().map_err(io::Error::other)? {
                None => return Poll::Ready(Ok(None)),
                Some(frame) => {
                    // Trailers are for those who asked for them, which nobody here did.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
            }
        }
    })
    .await
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
