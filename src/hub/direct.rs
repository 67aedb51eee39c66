//! A message to one subscriber, by hand: immediate, and in no log.

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::mailbox::Refused;
use super::task::Hub;
use crate::frame::Frame;

/// A message that can be sent: a topic and JSON on one line.
#[derive(Debug, Clone)]
pub struct DirectMessage(Frame);

/// Why a message cannot be sent to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitMessage {
    /// The topic is empty.
    #[error("a topic is needed")]
    NoTopic,
    /// The topic is longer than a subscription may be.
    #[error("the topic is longer than {} bytes", DirectMessage::TOPIC_BYTES_MAX)]
    LongTopic,
    /// The topic would break the stream, or be taken for the stream's own.
    #[error("the topic must be without control characters and must not begin with PB_")]
    BadTopic,
    /// Some SDKs end over data that is a number, a boolean or null.
    #[error("the data must be an object, an array or a string")]
    BadData,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// No stream has this client id.
    #[error("missing or invalid client id")]
    UnknownClient,
    /// So many frames wait for it already that it was let go.
    #[error("the client reads too slowly and was let go")]
    TooSlow,
    /// The process is ending.
    #[error("the hub has stopped")]
    Stopped,
}

impl DirectMessage {
    /// As long as a subscription may be.
    pub const TOPIC_BYTES_MAX: usize = 2_500;

    /// A message under a topic. Numbers in the data keep their digits.
    ///
    /// # Errors
    /// If a client could not read it.
    pub fn new(topic: &str, data: &RawValue) -> Result<Self, UnfitMessage> {
        if topic.is_empty() {
            return Err(UnfitMessage::NoTopic);
        }
        if topic.len() > Self::TOPIC_BYTES_MAX {
            return Err(UnfitMessage::LongTopic);
        }
        if topic.starts_with("PB_") {
            return Err(UnfitMessage::BadTopic);
        }
        if !data.get().starts_with(['{', '[', '"']) {
            return Err(UnfitMessage::BadData);
        }
        // In JSON line breaks are only ever white space between values.
        let line: Vec<u8> = data
            .get()
            .bytes()
            .filter(|byte| !matches!(byte, b'\n' | b'\r'))
            .collect();
        let frame = Frame::event(None, topic, &line);
        frame.map(Self).ok_or(UnfitMessage::BadTopic)
    }
}

impl Hub {
    /// Puts a message into one mailbox. It has no id: whoever goes on from its last id goes on as before.
    pub(super) fn send_direct(
        &mut self,
        client_id: &str,
        message: DirectMessage,
    ) -> Result<(), DirectError> {
        let key = self.registry.find(client_id);
        let key = key.ok_or(DirectError::UnknownClient)?;
        let subscriber = self.registry.get(key).expect("just found");
        match subscriber.mailbox.put(message.0) {
            Ok(errand) => {
                self.metrics.deliveries.inc();
                if let Some(errand) = errand {
                    errand.run(Instant::now());
                }
                Ok(())
            }
            Err(Refused::Full(_)) => {
                self.let_go(vec![key]);
                Err(DirectError::TooSlow)
            }
            // Its stream has ended; the departure is on its way.
            Err(Refused::Closed) => Err(DirectError::UnknownClient),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_json_that_every_sdk_can_read() {
        for (topic, data, written) in [
            (
                "chat",
                "{\"a\":\r\n 1.10,\n\"b\":\"x\\ny\"}",
                Ok("{\"a\": 1.10,\"b\":\"x\\ny\"}"),
            ),
            ("posts/*", "[]", Ok("[]")),
            ("chat", "\"hi\"", Ok("\"hi\"")),
            ("chat", "1", Err(UnfitMessage::BadData)),
            ("chat", "true", Err(UnfitMessage::BadData)),
            ("chat", "null", Err(UnfitMessage::BadData)),
            ("", "{}", Err(UnfitMessage::NoTopic)),
            ("a\nb", "{}", Err(UnfitMessage::BadTopic)),
            ("PB_CONNECT", "{}", Err(UnfitMessage::BadTopic)),
        ] {
            let data = RawValue::from_string(data.to_owned()).expect("JSON");
            let message = DirectMessage::new(topic, &data);
            let message = message.map(|DirectMessage(frame)| frame.into_bytes());
            let expected = written.map(|data| format!("event:{topic}\ndata:{data}\n\n").into());
            assert_eq!(message, expected, "{topic:?} {data}");
        }
        let data = RawValue::from_string("{}".to_owned()).expect("JSON");
        let long = "x".repeat(DirectMessage::TOPIC_BYTES_MAX + 1);
        let message = DirectMessage::new(&long, &data).map(drop);
        assert_eq!(message, Err(UnfitMessage::LongTopic));
    }
}
