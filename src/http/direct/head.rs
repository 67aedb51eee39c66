//! The head of an answer, and of a chunk, as they are written.

use std::io::Cursor;
use std::time::SystemTime;

use axum::body::{Body, HttpBody};
use bytes::Buf;
use http::header::{CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::response::Parts;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Its length is told before it.
    Length(u64),
    /// It comes in chunks, and an empty one is the last.
    Chunked,
}

impl Framing {
    pub(super) fn of(body: &Body) -> Self {
        let length = HttpBody::size_hint(body).exact();
        length.map_or(Self::Chunked, Self::Length)
    }
}

/// The head as it is written.
pub(super) fn written(parts: &Parts, framing: Framing) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let reason = parts.status.canonical_reason().unwrap_or_default();
    put(
        &mut head,
        &[b"HTTP/1.1 ", parts.status.as_str().as_bytes(), b" "],
    );
    put(&mut head, &[reason.as_bytes(), b"\r\n"]);
    for (name, value) in &parts.headers {
        // Both are for us to say.
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            put_line(&mut head, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::Length(length) => {
            put_line(
                &mut head,
                CONTENT_LENGTH.as_str(),
                length.to_string().as_bytes(),
            );
        }
        Framing::Chunked => put_line(&mut head, TRANSFER_ENCODING.as_str(), b"chunked"),
    }
    if !parts.headers.contains_key(DATE) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        put_line(&mut head, DATE.as_str(), now.as_bytes());
    }
    put(&mut head, &[b"\r\n"]);
    head
}

fn put_line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(head, &[name.as_bytes(), b": ", value, b"\r\n"]);
}

fn put(head: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| head.extend_from_slice(part));
}

/// Sixteen digits and the line's end.
pub(super) const SIZE_BYTES_MAX: usize = 18;

/// The line before a chunk of so many bytes.
pub(super) fn chunk_size(bytes: usize) -> impl Buf {
    let mut line = [0; SIZE_BYTES_MAX];
    let digits = (usize::BITS - (bytes | 1).leading_zeros()).div_ceil(4) as usize;
    let mut rest = bytes;
    for place in line[..digits].iter_mut().rev() {
        *place = b"0123456789ABCDEF"[rest & 15];
        rest >>= 4;
    }
    line[digits..digits + 2].copy_from_slice(b"\r\n");
    Cursor::new(line).take(digits + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_chunk_is_a_line_of_hexadecimal_digits() {
        for (bytes, line) in [
            (0, "0\r\n"),
            (1, "1\r\n"),
            (16, "10\r\n"),
            (255, "FF\r\n"),
            (usize::MAX, "FFFFFFFFFFFFFFFF\r\n"),
        ] {
            let mut size = chunk_size(bytes);
            assert_eq!(size.copy_to_bytes(size.remaining()), line);
        }
    }
}
