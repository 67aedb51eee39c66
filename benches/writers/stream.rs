//! The least subscriber that can receive a topic's events.

use serde_json::{Value, json};

use crate::Error;

/// One stream with one subscription.
pub struct EventStream {
    response: reqwest::Response,
    unread: Vec<u8>,
}

/// The data of one event.
pub struct Event(Vec<u8>);

impl Event {
    /// The record's `n`, if it has one.
    pub fn n(&self) -> Option<i64> {
        let data: Value = serde_json::from_slice(&self.0).ok()?;
        data["record"]["n"].as_i64()
    }
}

impl EventStream {
    /// Connects to the server at `address` and subscribes.
    pub async fn open(address: &str, topic: &str) -> Result<Self, Error> {
        let url = format!("http://{address}/api/realtime");
        let client = reqwest::Client::new();
        let response = client.get(&url).send().await?.error_for_status()?;
        let mut stream = Self {
            response,
            unread: Vec::new(),
        };
        let hello = stream.next().await?.ok_or("the stream ended at once")?;
        let hello: Value = serde_json::from_slice(&hello.0)?;
        let request = json!({ "clientId": hello["clientId"], "subscriptions": [topic] });
        let answer = client.post(&url).json(&request).send().await?;
        answer.error_for_status()?;
        Ok(stream)
    }

    /// The next event; `None` when the server has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            while let Some(end) = find(&self.unread, b"\n\n") {
                let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
                let data = frame
                    .split(|byte| *byte == b'\n')
                    .find_map(|line| line.strip_prefix(b"data:"));
                if let Some(data) = data {
                    return Ok(Some(Event(data.to_vec())));
                }
            }
            match self.response.chunk().await? {
                Some(bytes) => self.unread.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
