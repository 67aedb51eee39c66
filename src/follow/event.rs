//! Server-sent events as a client reads them.

use std::fmt;

/// More than any frame of ours; what is longer is no stream of events.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The event that begins a stream; its id names the stream and is no position.
const CONNECT: &str = "PB_CONNECT";

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The position behind it; empty where it has none.
    pub id: String,
    /// The subscription that it is for, as it was written.
    pub name: String,
    /// What happened, as JSON.
    pub data: String,
}

impl Event {
    /// Where to go on after it.
    pub(super) fn position(&self) -> Option<&str> {
        (self.name != CONNECT && !self.id.is_empty()).then_some(&*self.id)
    }

    /// Whether it is more than the stream's own business.
    pub(super) fn says_something(&self) -> bool {
        !self.name.is_empty() && self.name != CONNECT
    }
}

/// A frame without an end.
#[derive(Debug)]
pub struct TooLong;

impl std::error::Error for TooLong {}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FRAME_BYTES_MAX} bytes came without an event's end")
    }
}

/// Bytes that become events.
#[derive(Debug, Default)]
pub(super) struct Frames {
    unread: Vec<u8>,
    /// So far no end was found.
    searched: usize,
}

impl Frames {
    /// Takes in what has arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next frame; `None` until more has arrived.
    ///
    /// # Errors
    /// If it is too long to be one.
    pub(super) fn next(&mut self) -> Result<Option<Event>, TooLong> {
        let found = self.unread[self.searched..]
            .windows(2)
            .position(|two| two == b"\n\n");
        let Some(found) = found else {
            if self.unread.len() > FRAME_BYTES_MAX {
                return Err(TooLong);
            }
            // The first half of an end may be there.
            self.searched = self.unread.len().saturating_sub(1);
            return Ok(None);
        };
        let end = self.searched + found;
        self.searched = 0;
        let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
        Ok(Some(read(&String::from_utf8_lossy(&frame))))
    }
}

fn read(frame: &str) -> Event {
    let mut event = Event::default();
    for line in frame.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut event.id),
            "event" => value.clone_into(&mut event.name),
            "data" if event.data.is_empty() => value.clone_into(&mut event.data),
            "data" => event.data += &format!("\n{value}"),
            // Comments, and what others may add one day.
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "id:abc\nevent:PB_CONNECT\ndata:{\"clientId\":\"abc\"}\n\n:\n\n\
                          id:e:7:7:\nevent:posts/*\ndata:{\"a\":\"ö\"}\n\nid: e:9:9:\n\n\
                          event: chat\ndata: 1\ndata: 2\n\n";

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let mut expected: Option<Vec<Event>> = None;
        for cut in 1..STREAM.len() {
            let mut frames = Frames::default();
            let mut events = Vec::new();
            for piece in STREAM.as_bytes().chunks(cut) {
                frames.push(piece);
                while let Some(event) = frames.next().expect("short frames") {
                    events.push(event);
                }
            }
            assert_eq!(
                expected.get_or_insert(events.clone()),
                &events,
                "cut by {cut}"
            );
        }
        let events = expected.expect("at least one cut");
        let said: Vec<_> = events
            .iter()
            .filter(|event| event.says_something())
            .collect();
        assert_eq!(said.len(), 2, "{events:#?}");
        assert_eq!(
            (&*said[0].name, &*said[0].data),
            ("posts/*", r#"{"a":"ö"}"#)
        );
        assert_eq!((&*said[1].name, &*said[1].data), ("chat", "1\n2"));
        let positions: Vec<_> = events.iter().filter_map(Event::position).collect();
        assert_eq!(positions, ["e:7:7:", "e:9:9:"], "PB_CONNECT's is none");
    }

    #[test]
    fn a_stream_that_has_no_events_is_not_read_for_ever() {
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; FRAME_BYTES_MAX]);
        assert!(frames.next().is_ok_and(|event| event.is_none()));
        frames.push(b"x");
        assert!(frames.next().is_err());
    }
}
