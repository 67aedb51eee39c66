//! A client for the feed that shows every byte that matters, and waits with deadlines.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::wait::DEADLINE;

/// An open stream.
#[derive(Debug)]
pub struct Sse {
    /// The server's address, such as `http://127.0.0.1:8090`.
    pub base: String,
    /// The client id that PB_CONNECT named; empty if the stream never said it.
    pub client_id: String,
    /// The status and headers the stream began with.
    pub response: Response,
    /// Every comment so far, without its colon.
    pub comments: Vec<String>,
    http: Client,
    /// Received, and not a whole frame yet.
    unread: Vec<u8>,
    /// Every event so far, for reports.
    seen: Vec<Event>,
}

/// One server-sent event, as it stood on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `id` line's value; `None` where there was no such line.
    pub id: Option<String>,
    /// The `event` line's value.
    pub name: String,
    /// The `data` lines' values, joined by line feeds.
    pub data: String,
    /// The whole frame, up to and without the empty line that ends it.
    pub raw: String,
}

impl Event {
    /// The data as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data)
            .unwrap_or_else(|error| panic!("{error}: the data of {self:?}"))
    }

    /// The action and the record of a change.
    #[track_caller]
    pub fn change(&self) -> (String, Value) {
        let mut data = self.json();
        let action = data["action"].as_str().map(str::to_owned);
        let action = action.unwrap_or_else(|| panic!("no action in {self:?}"));
        (action, data["record"].take())
    }
}

impl Sse {
    /// Opens a stream and waits for PB_CONNECT.
    pub async fn connect(base: &str) -> Self {
        Self::connect_with(base, |request| request).await
    }

    /// Opens a stream with a changed request, such as one with more headers.
    pub async fn connect_with(
        base: &str,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Self {
        let mut stream = Self::open(base, change).await;
        assert_eq!(stream.response.status(), StatusCode::OK, "{stream:?}");
        let hello = stream.next_event(DEADLINE).await;
        assert_eq!(hello.name, "PB_CONNECT", "{hello:?}");
        let id = hello.json()["clientId"].as_str().map(str::to_owned);
        stream.client_id = id.unwrap_or_else(|| panic!("no client id in {hello:?}"));
        stream
    }

    /// Opens a stream that names its subscriptions itself, perhaps coming back with its last id.
    pub async fn connect_plain(
        base: &str,
        topics: &[&str],
        last_id: Option<&str>,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Self {
        let mut stream = Self::open_plain(base, topics, last_id, change).await;
        assert_eq!(stream.response.status(), StatusCode::OK, "{stream:?}");
        let hello = stream.next_event(DEADLINE).await;
        assert_eq!(hello.name, "PB_CONNECT", "{hello:?}");
        stream
    }

    /// Sends such a request and reads no further than the headers.
    pub async fn open_plain(
        base: &str,
        topics: &[&str],
        last_id: Option<&str>,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Self {
        let topics = topics.iter().map(|topic| ("subscriptions", topic));
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(topics)
            .finish();
        let path = format!("/api/realtime?{query}");
        Self::open_at(base, &path, |request| match last_id {
            Some(id) => change(request.header("Last-Event-ID", id)),
            None => change(request),
        })
        .await
    }

    /// Sends the request and reads no further than the headers.
    pub async fn open(base: &str, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Self {
        Self::open_at(base, "/api/realtime", change).await
    }

    /// Opens a stream at any path and waits for PB_CONNECT.
    pub async fn connect_at(
        base: &str,
        path: &str,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Self {
        let mut stream = Self::open_at(base, path, change).await;
        assert_eq!(stream.response.status(), StatusCode::OK, "{stream:?}");
        let hello = stream.next_event(DEADLINE).await;
        assert_eq!(hello.name, "PB_CONNECT", "{hello:?}");
        let id = hello.json()["clientId"].as_str().map(str::to_owned);
        stream.client_id = id.unwrap_or_else(|| panic!("no client id in {hello:?}"));
        stream
    }

    async fn open_at(
        base: &str,
        path: &str,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Self {
        // A client of its own: streams must not share a connection.
        let http = Client::new();
        let request = http
            .get(format!("{base}{path}"))
            .header("Accept", "text/event-stream");
        Self {
            base: base.to_owned(),
            client_id: String::new(),
            response: change(request).send().await.expect("an answer"),
            comments: Vec::new(),
            http,
            unread: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Sets the subscriptions as a guest.
    pub async fn subscribe(&self, topics: &[&str]) {
        let (status, body) = self.post(topics, None).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{topics:?}: {body}");
    }

    /// Sets the subscriptions with a token.
    pub async fn subscribe_as(&self, token: &str, topics: &[&str]) {
        let (status, body) = self.post(topics, Some(token)).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{topics:?}: {body}");
    }

    /// Asks for subscriptions and shows the answer.
    pub async fn post(&self, topics: &[&str], token: Option<&str>) -> (StatusCode, String) {
        let mut request = self
            .http
            .post(format!("{}/api/realtime", self.base))
            .json(&json!({ "clientId": self.client_id, "subscriptions": topics }));
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        (status, response.text().await.expect("a body"))
    }

    /// The next event; panics, showing all before it, if none comes or the stream ends.
    pub async fn next_event(&mut self, deadline: Duration) -> Event {
        match self.next_or_end(deadline).await {
            Some(event) => event,
            None => panic!("the stream ended; it had sent {:#?}", self.seen),
        }
    }

    /// Waits for the next events, as many as asked for.
    pub async fn next_events(&mut self, count: usize, deadline: Duration) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            events.push(self.next_event(deadline).await);
        }
        events
    }

    /// The next event, or `None` if the stream ends in good order; panics if neither happens.
    pub async fn next_or_end(&mut self, deadline: Duration) -> Option<Event> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(event) = self.take_event() {
                self.seen.push(event.clone());
                return Some(event);
            }
            let chunk = match timeout_at(end, self.response.chunk()).await {
                Ok(chunk) => chunk.unwrap_or_else(|error| {
                    panic!("the stream broke: {error:?}; it had sent {:#?}", self.seen)
                }),
                Err(_) => panic!("no event within {deadline:?}; {}", self.report()),
            };
            self.unread.extend_from_slice(&chunk?);
        }
    }

    /// Waits until the server ends the stream; panics at any event before that.
    pub async fn ended(&mut self, deadline: Duration) {
        if let Some(event) = self.next_or_end(deadline).await {
            panic!("the stream went on with {event:?}");
        }
    }

    /// Panics if anything but comments has arrived or arrives within `duration`.
    pub async fn stays_silent(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        loop {
            if let Some(event) = self.take_event() {
                panic!("silence was broken by {event:?}");
            }
            match timeout_at(end, self.response.chunk()).await {
                Err(_) => return,
                Ok(Ok(Some(chunk))) => self.unread.extend_from_slice(&chunk),
                Ok(other) => panic!("the stream ended instead of staying silent: {other:?}"),
            }
        }
    }

    /// Everything received so far.
    pub fn seen(&self) -> &[Event] {
        &self.seen
    }

    fn report(&self) -> String {
        format!(
            "seen: {:#?}; comments: {:?}; unread: {:?}",
            self.seen,
            self.comments,
            String::from_utf8_lossy(&self.unread)
        )
    }

    /// Takes frames off the unread bytes until one holds an event.
    fn take_event(&mut self) -> Option<Event> {
        loop {
            let end = self.unread.windows(2).position(|two| two == b"\n\n")?;
            let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
            let frame = std::str::from_utf8(&frame[..end]).expect("frames are UTF-8");
            if let Some(event) = self.parse(frame) {
                return Some(event);
            }
        }
    }

    /// Reads one frame; `None` if it holds comments only.
    fn parse(&mut self, frame: &str) -> Option<Event> {
        let mut event = Event {
            raw: frame.to_owned(),
            ..Event::default()
        };
        let mut data = Vec::new();
        let mut is_event = false;
        for line in frame.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            is_event |= !field.is_empty();
            match field {
                "" => self.comments.push(value.to_owned()),
                "id" => event.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.name),
                "data" => data.push(value),
                _ => {}
            }
        }
        event.data = data.join("\n");
        is_event.then_some(event)
    }
}
