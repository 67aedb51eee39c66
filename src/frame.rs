//! The wire: the encoded bytes of one server-sent event, shared by all who receive it.

use bytes::{BufMut, Bytes, BytesMut};

/// The bytes of one server-sent event (contract, section 1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    /// What it is to those who count events.
    is_event: bool,
}

impl Frame {
    /// Encodes one event, or `None` where it cannot be written without breaking the stream: a name
    /// or id with a control character, or data with a line break.
    pub fn event(id: Option<&str>, name: &str, data: &[u8]) -> Option<Self> {
        let breaks_line = |text: &str| text.chars().any(char::is_control);
        if id.is_some_and(breaks_line) || breaks_line(name) {
            return None;
        }
        if data.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return None;
        }
        let id_len = id.map_or(0, |id| id.len() + 4);
        let mut bytes = BytesMut::with_capacity(id_len + name.len() + data.len() + 16);
        if let Some(id) = id {
            bytes.put_slice(b"id:");
            bytes.put_slice(id.as_bytes());
            bytes.put_u8(b'\n');
        }
        bytes.put_slice(b"event:");
        bytes.put_slice(name.as_bytes());
        bytes.put_slice(b"\ndata:");
        bytes.put_slice(data);
        bytes.put_slice(b"\n\n");
        Some(Self {
            bytes: bytes.freeze(),
            is_event: true,
        })
    }

    /// An id alone: clients remember it and see no event. `None` where it would break the stream.
    pub fn mark(id: &str) -> Option<Self> {
        if id.chars().any(char::is_control) {
            return None;
        }
        Some(Self {
            bytes: format!("id:{id}\n\n").into(),
            is_event: false,
        })
    }

    /// The same without its id, if it has one.
    #[must_use]
    pub fn without_id(&self) -> Self {
        let bytes = match self.bytes.iter().position(|&byte| byte == b'\n') {
            Some(end) if self.bytes.starts_with(b"id:") => self.bytes.slice(end + 1..),
            _ => self.bytes.clone(),
        };
        Self {
            bytes,
            is_event: self.is_event,
        }
    }

    /// Whether a client sees an event: neither a mark nor a heartbeat is one.
    pub fn is_event(&self) -> bool {
        self.is_event
    }

    /// The first frame of every stream, which tells the client its id twice: as SSE id and as data.
    pub fn connect(client_id: &str) -> Self {
        let data = format!(r#"{{"clientId":"{client_id}"}}"#);
        Self::event(Some(client_id), "PB_CONNECT", data.as_bytes())
            .expect("client ids are letters and digits")
    }

    /// The same for a client that remembers positions. Its last id must stay what it was until it is told another:
    /// the connection may end right here.
    pub fn connect_plain(client_id: &str) -> Self {
        Self::connect(client_id).without_id()
    }

    /// A comment that keeps proxies from closing a silent stream; clients ignore it.
    pub fn heartbeat() -> Self {
        Self {
            bytes: Bytes::from_static(b":\n\n"),
            is_event: false,
        }
    }

    /// The bytes to write.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// How many bytes will be written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to write; never so for a frame made here.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_written_with_lf_and_without_spaces() {
        let frame = Frame::event(Some("7"), "posts/*", br#"{"a":1}"#).expect("clean input");
        assert_eq!(
            frame.into_bytes(),
            "id:7\nevent:posts/*\ndata:{\"a\":1}\n\n".as_bytes()
        );
    }

    #[test]
    fn a_mark_is_an_id_alone_and_an_event_can_lose_its_id() {
        let mark = Frame::mark("e:1:1:").expect("clean input");
        assert!(!mark.is_event());
        assert_eq!(mark.into_bytes(), "id:e:1:1:\n\n".as_bytes());
        assert_eq!(Frame::mark("1\n2"), None);
        let bare = Frame::event(None, "a", b"1").expect("clean input");
        let frame = Frame::event(Some("7"), "a", b"1").expect("clean input");
        assert_eq!(frame.without_id(), bare);
        assert_eq!(bare.without_id(), bare);
        assert!(bare.is_event() && !Frame::heartbeat().is_event());
    }

    #[test]
    fn connect_leaves_the_last_id_of_a_client_that_remembers_positions() {
        assert_eq!(
            Frame::connect_plain("abc").into_bytes(),
            "event:PB_CONNECT\ndata:{\"clientId\":\"abc\"}\n\n"
        );
    }

    #[test]
    fn connect_carries_the_id_twice() {
        assert_eq!(
            Frame::connect("abc").into_bytes(),
            "id:abc\nevent:PB_CONNECT\ndata:{\"clientId\":\"abc\"}\n\n".as_bytes()
        );
    }

    #[test]
    fn nothing_that_breaks_a_line_becomes_a_frame() {
        for (id, name, data) in [
            (None, "a\nb", "1"),
            (None, "a\rb", "1"),
            (None, "a\0b", "1"),
            (None, "a\u{85}b", "1"),
            (Some("1\n2"), "a", "1"),
            (None, "a", "1\n2"),
            (None, "a", "1\r2"),
        ] {
            assert_eq!(
                Frame::event(id, name, data.as_bytes()),
                None,
                "{id:?} {name:?} {data:?}"
            );
        }
    }
}
