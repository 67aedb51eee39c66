//! The least reading of a stream that tells which change an event is about.

use std::sync::LazyLock;

use memchr::memmem::Finder;

static END: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\n\n"));
static NUMBER: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"n\":"));
static GREETING: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"clientId\":\""));
static ID: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("id:"));
/// Where an event's `id` line begins at the latest: a chunk's size may stand before it.
const ID_WITHIN: usize = 24;

/// What one client has read. The sizes of chunks stand between events, where they disturb nobody.
#[derive(Debug)]
pub struct Frames {
    /// The name that the server gave the stream; empty before.
    pub client_id: String,
    /// The last id, if ids are kept.
    pub last_id: Vec<u8>,
    keeps_id: bool,
    /// Received, and not a whole event yet.
    rest: Vec<u8>,
    last: u32,
}

impl Frames {
    /// Nothing read so far.
    pub fn new(keeps_id: bool) -> Self {
        Self {
            client_id: String::new(),
            last_id: Vec::new(),
            keeps_id,
            rest: Vec::new(),
            last: 0,
        }
    }

    /// Puts what is left of the last bytes at the front of `buffer` and says how much it is.
    pub fn restore(&mut self, buffer: &mut [u8]) -> usize {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        kept
    }

    /// Leaves these bytes for the next time.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(bytes);
    }

    /// Reads all whole events; says each change's number, and whether it is above the one before.
    ///
    /// # Errors
    /// With the server's answer, if it is not a stream.
    pub fn read(&mut self, bytes: &[u8], mut seen: impl FnMut(u32, bool)) -> Result<(), String> {
        if self.client_id.is_empty() && bytes.len() > 12 && !bytes.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(bytes).into_owned());
        }
        let mut from = 0;
        while let Some(length) = END.find(&bytes[from..]) {
            let frame = &bytes[from..from + length];
            from += length + 2;
            if let Some(n) = self.number_of(frame) {
                seen(n, n > self.last);
                self.last = n;
            }
        }
        self.keep(&bytes[from..]);
        Ok(())
    }

    fn number_of(&mut self, frame: &[u8]) -> Option<u32> {
        if self.client_id.is_empty()
            && let Some(at) = GREETING.find(frame)
        {
            let id = frame[at + GREETING.needle().len()..].split(|byte| *byte == b'"');
            let id = id.into_iter().next().unwrap_or_default();
            self.client_id = String::from_utf8_lossy(id).into_owned();
            return None;
        }
        if self.keeps_id
            && let Some(at) = ID.find(&frame[..frame.len().min(ID_WITHIN)])
        {
            let id = frame[at + 3..].split(|byte| *byte == b'\n').next();
            self.last_id.clear();
            self.last_id.extend_from_slice(id.unwrap_or_default());
        }
        let at = NUMBER.find(frame)? + NUMBER.needle().len();
        let digits = frame[at..].iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
    }
}
