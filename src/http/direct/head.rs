//! The head of an answer, as it is written.

use std::time::SystemTime;

use axum::body::{Body, HttpBody};
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
