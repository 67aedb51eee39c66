//! The wire: the encoded bytes of one server-sent event, shared by all who receive it.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

/// One server-sent event (contract, section 1.3): its bytes, or what makes them.
#[derive(Debug, Clone)]
pub struct Frame(Content);

#[derive(Debug, Clone)]
enum Content {
    Ready {
        bytes: Bytes,
        /// What it is to those who count events.
        is_event: bool,
    },
    Personal {
        personal: Arc<dyn Personal>,
        with_id: bool,
    },
}

/// An event that nobody else is shown: written where it is received, so that whoever hands it out need
/// not wait for it.
pub trait Personal: fmt::Debug + Send + Sync {
    /// The event; `None` if it is not to be told.
    ///
    /// # Errors
    /// If what writes it is broken, and with it the stream.
    fn write(&self) -> Result<Option<Frame>, Broken>;
}

/// What was to write an event has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Frame {
    fn ready(bytes: Bytes, is_event: bool) -> Self {
        Self(Content::Ready { bytes, is_event })
    }

    /// An event that is written by who receives it.
    pub fn personal(personal: Arc<dyn Personal>) -> Self {
        let with_id = true;
        Self(Content::Personal { personal, with_id })
    }

    /// The frame, written if it was not yet; `None` if there is nothing to be told.
    ///
    /// # Errors
    /// If it cannot be written any more.
    pub fn finish(self) -> Result<Option<Self>, Broken> {
        match self.0 {
            Content::Ready { .. } => Ok(Some(self)),
            Content::Personal { personal, with_id } => {
                let frame = personal.write()?;
                Ok(frame.map(|frame| if with_id { frame } else { frame.without_id() }))
            }
        }
    }

    /// The id, name and data of an event that is written already.
    pub fn parts(&self) -> Option<(Option<&str>, &str, Bytes)> {
        let Content::Ready {
            bytes,
            is_event: true,
        } = &self.0
        else {
            return None;
        };
        let text = std::str::from_utf8(bytes).ok()?;
        let (id, rest) = match text.strip_prefix("id:") {
            Some(rest) => rest.split_once('\n').map(|(id, rest)| (Some(id), rest))?,
            None => (None, text),
        };
        let (name, data) = rest.strip_prefix("event:")?.split_once("\ndata:")?;
        let data = data.strip_suffix("\n\n")?;
        Some((id, name, bytes.slice_ref(data.as_bytes())))
    }

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
        put_head(&mut bytes, id, name);
        bytes.put_slice(b"\ndata:");
        bytes.put_slice(data);
        bytes.put_slice(b"\n\n");
        Some(Self::ready(bytes.freeze(), true))
    }

    /// The same event, if its data is a JSON string, with the text that it stands for, line by line; others as
    /// they are. For clients that take data as it is.
    #[must_use]
    pub fn spelt_out(self) -> Self {
        let Some((id, name, data)) = self.parts() else {
            return self;
        };
        if data.first() != Some(&b'"') {
            return self;
        }
        let Ok(text) = serde_json::from_slice::<String>(&data) else {
            return self;
        };
        let mut bytes = BytesMut::with_capacity(data.len() + name.len() + 64);
        put_head(&mut bytes, id, name);
        for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
            // Of spaces after the colon clients leave out one.
            bytes.put_slice(b"\ndata: ");
            bytes.put_slice(line.as_bytes());
        }
        bytes.put_slice(b"\n\n");
        Self::ready(bytes.freeze(), true)
    }

    /// An id alone: clients remember it and see no event. `None` where it would break the stream.
    pub fn mark(id: &str) -> Option<Self> {
        if id.chars().any(char::is_control) {
            return None;
        }
        Some(Self::ready(format!("id:{id}\n\n").into(), false))
    }

    /// The same without its id, if it has one.
    #[must_use]
    pub fn without_id(&self) -> Self {
        let (bytes, is_event) = match &self.0 {
            Content::Ready { bytes, is_event } => (bytes, *is_event),
            Content::Personal { personal, .. } => {
                let personal = Arc::clone(personal);
                let with_id = false;
                return Self(Content::Personal { personal, with_id });
            }
        };
        let bytes = match bytes.iter().position(|&byte| byte == b'\n') {
            Some(end) if bytes.starts_with(b"id:") => bytes.slice(end + 1..),
            _ => bytes.clone(),
        };
        Self::ready(bytes, is_event)
    }

    /// Whether a client sees an event: neither a mark nor a heartbeat is one.
    pub fn is_event(&self) -> bool {
        match self.0 {
            Content::Ready { is_event, .. } => is_event,
            Content::Personal { .. } => true,
        }
    }

    /// Whether it is written already.
    pub fn is_ready(&self) -> bool {
        matches!(self.0, Content::Ready { .. })
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
        Self::ready(Bytes::from_static(b":\n\n"), false)
    }

    /// The bytes to write; none of an event that turns out not to be told.
    pub fn into_bytes(self) -> Bytes {
        match self.finish() {
            Ok(Some(Self(Content::Ready { bytes, .. }))) => bytes,
            _ => Bytes::new(),
        }
    }
}

/// Frames that are ready at the same time are written together up to about this size.
const CHUNK_BYTES: usize = 16 * 1024;

/// The lines of an event before its data, without the last one's end.
fn put_head(bytes: &mut BytesMut, id: Option<&str>, name: &str) {
    if let Some(id) = id {
        bytes.put_slice(b"id:");
        bytes.put_slice(id.as_bytes());
        bytes.put_u8(b'\n');
    }
    bytes.put_slice(b"event:");
    bytes.put_slice(name.as_bytes());
}

/// `first` and what comes next, as one chunk, and whether there are events in it: fewer writes when events come in
/// bursts, and not a single copy when they do not.
pub fn gather(first: Frame, mut next: impl FnMut() -> Option<Frame>) -> (Bytes, bool) {
    let mut has_events = first.is_event();
    let first = first.into_bytes();
    if first.len() >= CHUNK_BYTES {
        return (first, has_events);
    }
    let Some(second) = next() else {
        return (first, has_events);
    };
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    chunk.extend_from_slice(&first);
    let mut further = Some(second);
    while let Some(frame) = further.take() {
        has_events |= frame.is_event();
        chunk.extend_from_slice(&frame.into_bytes());
        if chunk.len() < CHUNK_BYTES {
            further = next();
        }
    }
    (chunk.freeze(), has_events)
}

/// Two frames are equal if they are written with the same bytes, or by the same.
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (
                Content::Ready { bytes, is_event },
                Content::Ready {
                    bytes: others,
                    is_event: is_other_event,
                },
            ) => bytes == others && is_event == is_other_event,
            (
                Content::Personal { personal, with_id },
                Content::Personal {
                    personal: other,
                    with_id: with_other_id,
                },
            ) => Arc::ptr_eq(personal, other) && with_id == with_other_id,
            _ => false,
        }
    }
}

impl Eq for Frame {}

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
    fn an_event_comes_apart_into_what_it_was_made_of() {
        for (id, name, data) in [
            (Some("7"), "posts/*", r#"{"a":1}"#),
            (None, "id:x", "\\ndata:"),
            (Some("event:a"), "data:", ""),
        ] {
            let frame = Frame::event(id, name, data.as_bytes()).expect("clean input");
            let bytes = Bytes::copy_from_slice(data.as_bytes());
            assert_eq!(frame.parts(), Some((id, name, bytes)));
        }
        assert_eq!(Frame::heartbeat().parts(), None);
    }

    #[test]
    fn a_json_string_is_spelt_out_line_by_line() {
        let spelt = |data: &str| {
            let frame = Frame::event(Some("7"), "chat", data.as_bytes()).expect("clean input");
            let bytes = frame.spelt_out().into_bytes();
            String::from_utf8(bytes.to_vec()).expect("a text")
        };
        for (data, lines) in [
            (r#""<b>hi</b>""#, "data: <b>hi</b>\n"),
            (
                r#"" a\nb\r\n\rc\u2028""#,
                "data:  a\ndata: b\ndata: \ndata: c\u{2028}\n",
            ),
            (
                r#""a\n\nevent:x\nid:9""#,
                "data: a\ndata: \ndata: event:x\ndata: id:9\n",
            ),
            (r#""""#, "data: \n"),
            (r#"{"a":"\n"}"#, "data:{\"a\":\"\\n\"}\n"),
            ("[1]", "data:[1]\n"),
            ("\"broken", "data:\"broken\n"),
        ] {
            assert_eq!(
                spelt(data),
                format!("id:7\nevent:chat\n{lines}\n"),
                "{data}"
            );
        }
        assert_eq!(Frame::heartbeat().spelt_out(), Frame::heartbeat());
        let nameless = Frame::event(None, "a", b"\"x\"").expect("clean input");
        assert_eq!(nameless.spelt_out().into_bytes(), "event:a\ndata: x\n\n");
    }

    #[test]
    fn a_personal_event_is_written_by_whoever_receives_it() {
        #[derive(Debug)]
        struct Seven(Option<&'static str>);
        impl Personal for Seven {
            fn write(&self) -> Result<Option<Frame>, Broken> {
                let data = self.0.ok_or(Broken)?;
                Ok(Frame::event(Some("7"), "a", data.as_bytes()))
            }
        }
        let personal = |data| Frame::personal(Arc::new(Seven(data)));
        let one = personal(Some("1"));
        assert!(one.is_event() && one == one.clone() && one != personal(Some("1")));
        assert_eq!(
            one.without_id().into_bytes(),
            "event:a\ndata:1\n\n".as_bytes()
        );
        assert_eq!(one.into_bytes(), "id:7\nevent:a\ndata:1\n\n".as_bytes());
        assert_eq!(personal(Some("\n")).finish(), Ok(None));
        assert_eq!(personal(None).finish(), Err(Broken));
        // A mailbox holds thousands of them.
        assert_eq!(size_of::<Frame>(), size_of::<Bytes>() + 8);
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
