//! An open stream, read as a browser reads it, which may break off after any byte.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use reqwest::{Client as Http, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::DEADLINE;

/// After how many bytes a client drops its connection, and the next ones after that. What is received
/// of its frames until then is received.
#[derive(Clone, Default)]
pub struct Cuts(Arc<Mutex<VecDeque<usize>>>);

impl Cuts {
    pub fn set(&self, bytes: impl IntoIterator<Item = usize>) {
        *self.0.lock().unwrap() = bytes.into_iter().collect();
    }

    /// How many of `length` bytes are received, if the connection is dropped there.
    fn of(&self, length: usize) -> Option<usize> {
        let mut cuts = self.0.lock().unwrap();
        let left = cuts.front_mut()?;
        if length > *left {
            return cuts.pop_front();
        }
        *left -= length;
        None
    }
}

/// Where a client is and who it says it is.
#[derive(Clone)]
pub struct Door {
    /// Where the server is.
    pub base: String,
    pub token: Option<String>,
    pub cuts: Cuts,
}

/// One frame that is no comment.
pub struct Frame {
    pub id: Option<String>,
    pub name: String,
    pub data: Option<Value>,
}

pub struct Stream {
    response: Response,
    http: Http,
    unread: Vec<u8>,
    /// It was dropped; what it received before may still be read.
    is_over: bool,
    door: Door,
}

impl Stream {
    /// Asks for a stream with nothing subscribed to.
    pub async fn open(door: &Door) -> Option<Self> {
        Self::get(door, "", |request| request).await
    }

    /// Asks for a stream with subscriptions, as an EventSource that may have received an id before.
    pub async fn open_plain(
        door: &Door,
        topics: &[String],
        last_id: Option<&str>,
        in_query: bool,
    ) -> Option<Self> {
        let topics = topics.iter().map(|topic| ("subscriptions", topic.as_str()));
        let in_query = last_id.filter(|_| in_query);
        let query = form_urlencoded::Serializer::new(String::from("?"))
            .extend_pairs(topics)
            .extend_pairs(in_query.map(|id| ("lastEventId", id)))
            .finish();
        Self::get(door, &query, |request| {
            let request = match last_id {
                Some(id) if in_query.is_none() => request.header("Last-Event-ID", id),
                _ => request,
            };
            match &door.token {
                Some(token) => request.header("Authorization", token),
                None => request,
            }
        })
        .await
    }

    async fn get(
        door: &Door,
        query: &str,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Option<Self> {
        let http = Http::new();
        let request = http.get(format!("{}/api/realtime{query}", door.base));
        let response = timeout(DEADLINE, change(request).send()).await.ok()?.ok()?;
        (response.status() == 200).then(|| Self {
            response,
            http,
            unread: Vec::new(),
            is_over: false,
            door: door.clone(),
        })
    }

    /// Sets the subscriptions; whether that was accepted.
    pub async fn post(&self, client_id: &str, topics: &[String]) -> bool {
        let mut request = self
            .http
            .post(format!("{}/api/realtime", self.door.base))
            .json(&json!({ "clientId": client_id, "subscriptions": topics }));
        if let Some(token) = &self.door.token {
            request = request.header("Authorization", token);
        }
        let answer = timeout(DEADLINE, request.send()).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == 204))
    }

    /// The next frame; `None` at the end. Safe to drop half-way.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if self.is_over {
                return None;
            }
            let chunk = self.response.chunk().await.ok()??;
            let cut = self.door.cuts.of(chunk.len());
            self.is_over = cut.is_some();
            self.unread
                .extend_from_slice(&chunk[..cut.unwrap_or(chunk.len())]);
        }
    }

    /// Takes the next whole frame that says anything.
    fn take(&mut self) -> Option<Frame> {
        loop {
            let end = self.unread.windows(2).position(|two| two == b"\n\n")?;
            let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
            let frame = String::from_utf8(frame).expect("frames are UTF-8");
            let field = |name: &str| frame.split('\n').find_map(|line| line.strip_prefix(name));
            let id = field("id:").map(str::to_owned);
            let data = field("data:").map(|data| {
                serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {frame}"))
            });
            if id.is_some() || data.is_some() {
                let name = field("event:").unwrap_or_default().to_owned();
                return Some(Frame { id, name, data });
            }
        }
    }
}
