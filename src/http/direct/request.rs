//! Whether a connection asks for a stream in the plainest way.

use std::io;

use axum::body::Body;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What the plainest way to ask begins with; a query or a space follows.
const LINE: &[u8] = b"GET /api/realtime";

/// Longer heads are hyper's.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// What a connection begins with.
pub(in crate::http) enum Opening {
    /// A request for a stream, taken from the connection.
    Stream(Box<Request<Body>>),
    /// Anything else, or too little to know. Nothing was taken.
    Other,
}

/// Waits for what a connection says first, and takes it if it asks for a stream.
///
/// Only what comes in one piece is looked at, as requests without a body do: so nothing is ever to be
/// put back.
///
/// # Errors
/// If the connection breaks.
pub(in crate::http) async fn opening(stream: &mut TcpStream) -> io::Result<Opening> {
    // Most connections say nothing for a while: the room is made when they do.
    stream.readable().await?;
    let mut bytes = vec![0; HEAD_BYTES_MAX];
    let heard = stream.peek(&mut bytes).await?;
    let Some((length, request)) = parsed(&bytes[..heard]) else {
        return Ok(Opening::Other);
    };
    stream.read_exact(&mut bytes[..length]).await?;
    Ok(Opening::Stream(Box::new(request)))
}

/// The request and how long its head is, if it is one that can be answered here.
fn parsed(bytes: &[u8]) -> Option<(usize, Request<Body>)> {
    if !bytes.starts_with(LINE) || !matches!(bytes.get(LINE.len()), Some(b' ' | b'?')) {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    // Of what is wrong with a head hyper has more to say.
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) | Err(_) => return None,
    };
    // Old clients want a body that ends with the connection.
    if head.version != Some(1) {
        return None;
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = head.path?.parse::<Uri>().ok()?;
    *request.version_mut() = Version::HTTP_11;
    for header in head.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        if changes_the_connection(&name, header.value) {
            return None;
        }
        let value = HeaderValue::from_bytes(header.value).ok()?;
        request.headers_mut().append(name, value);
    }
    Some((length, request))
}

/// Whether a header says that a body follows, or that the connection is to become or do something else.
fn changes_the_connection(name: &HeaderName, value: &[u8]) -> bool {
    if name == CONNECTION {
        return !value.eq_ignore_ascii_case(b"keep-alive");
    }
    [CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(line: &str, headers: &[&str]) -> String {
        let lines = headers.iter().map(|header| format!("{header}\r\n"));
        format!("{line}\r\n{}\r\n", lines.collect::<String>())
    }

    #[test]
    fn a_stream_is_asked_for_with_a_get_and_nothing_that_changes_the_connection() {
        let line = "GET /api/realtime?subscriptions=posts HTTP/1.1";
        let plain = head(
            line,
            &["Host: x", "Connection: Keep-Alive", "Last-Event-ID: 7"],
        );
        let with_more = format!("{plain}GET /");
        let (length, request) = parsed(with_more.as_bytes()).expect("a request for a stream");
        assert_eq!(length, plain.len());
        assert_eq!(request.uri(), "/api/realtime?subscriptions=posts");
        assert_eq!(request.headers()["last-event-id"], "7");
        for other in [
            "Connection: close",
            "Connection: upgrade",
            "Upgrade: h2c",
            "Expect: 100-continue",
            "Content-Length: 1",
            "Transfer-Encoding: chunked",
        ] {
            assert!(parsed(head(line, &[other]).as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for line in [
            "GET /api/realtime HTTP/1.0",
            "GET /api/realtimes HTTP/1.1",
            "GET /api/realtime/x HTTP/1.1",
            "GET //api/realtime HTTP/1.1",
            "POST /api/realtime HTTP/1.1",
            "HEAD /api/realtime HTTP/1.1",
            "GET /api/realtime?a\"b HTTP/2",
            "PRI * HTTP/2.0",
        ] {
            assert!(
                parsed(head(line, &["Host: x"]).as_bytes()).is_none(),
                "{line}"
            );
        }
        assert!(parsed(b"GET /api/realtime HTTP/1.1\r\nHos").is_none());
        let many = vec!["A: b"; HEADERS_MAX + 1];
        let many = head("GET /api/realtime HTTP/1.1", &many);
        assert!(parsed(many.as_bytes()).is_none());
        assert!(parsed(b"GET /api/realtime HTTP/1.1\r\nA b\r\n\r\n").is_none());
    }
}
