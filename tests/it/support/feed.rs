//! A database, the service on it, a stream, and a mark in the log that says when everything has come.

use tokio_postgres::Client;

use super::server::options;
use super::{DEADLINE, Event, Server, Sse, TestDatabase, client, database};
use rowcast::app::AppOptions;

/// What most tests of changes need.
pub struct Feed {
    pub database: TestDatabase,
    /// The writer.
    pub client: Client,
    pub server: Server,
    pub stream: Sse,
    marker: Client,
}

impl Feed {
    /// Runs `setup` in a migrated database, starts the service and subscribes to `topics`.
    pub async fn open(setup: &str, topics: &[&str]) -> Self {
        Self::open_with(setup, topics, |_| ()).await
    }

    /// As [`open`](Self::open), with changed options.
    pub async fn open_with(
        setup: &str,
        topics: &[&str],
        change: impl FnOnce(&mut AppOptions),
    ) -> Self {
        Self::open_in(database().await, setup, topics, change).await
    }

    /// As [`open_with`](Self::open_with), in this migrated database.
    pub async fn open_in(
        database: TestDatabase,
        setup: &str,
        topics: &[&str],
        change: impl FnOnce(&mut AppOptions),
    ) -> Self {
        let writer = client(&database.url).await;
        run(&writer, setup).await;
        let marker = client(&database.url).await;
        run(
            &marker,
            "create table public.mark (id bigint generated always as identity primary key);
             select rowcast.attach('public.mark', list_rule => '')",
        )
        .await;
        let mut options = options(&database.url);
        change(&mut options);
        let server = Server::start_with(options).await;
        let stream = server.subscribe(&with_mark(topics)).await;
        Self {
            database,
            client: writer,
            server,
            stream,
            marker,
        }
    }

    /// Another guest's stream; [`drain`](Self::drain) reads it, too.
    pub async fn subscribe(&self, topics: &[&str]) -> Sse {
        self.server.subscribe(&with_mark(topics)).await
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) {
        run(&self.client, sql).await;
    }

    /// Puts a mark behind everything committed so far.
    pub async fn mark(&self) {
        run(&self.marker, "insert into public.mark default values").await;
    }

    /// Everything that has been committed since the last call, and nothing else.
    pub async fn events(&mut self) -> Vec<Event> {
        self.mark().await;
        Self::drain(&mut self.stream).await
    }

    /// Reads a stream up to the mark.
    pub async fn drain(stream: &mut Sse) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = stream.next_event(DEADLINE).await;
            // A gap is told about this collection, too.
            if event.name == "mark" && event.change().0 == "create" {
                return events;
            }
            if event.name != "mark" {
                events.push(event);
            }
        }
    }

    /// What statements lead to: a line of action, collection and id for each event.
    pub async fn changes(&mut self, sql: &str) -> Vec<String> {
        self.run(sql).await;
        self.events().await.iter().map(line).collect()
    }
}

/// Runs statements; panics with the statements and the database's whole answer.
pub async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{error:?}\n{sql}");
    }
}

/// The single text that a query answers with.
pub async fn text(client: &Client, sql: &str) -> String {
    match client.query_one(sql, &[]).await {
        Ok(row) => row.get(0),
        Err(error) => panic!("{error:?}\n{sql}"),
    }
}

/// Action, collection and id.
pub fn line(event: &Event) -> String {
    let (action, record) = event.change();
    let word = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    format!("{action} {} {}", word("collectionName"), word("id"))
}

/// A topic with options in the way the SDKs write them.
pub fn with_query(topic: &str, query: serde_json::Value) -> String {
    let options = serde_json::json!({ "query": query }).to_string();
    let encoded: String = form_urlencoded::byte_serialize(options.as_bytes()).collect();
    format!("{topic}?options={encoded}")
}

fn with_mark<'a>(topics: &[&'a str]) -> Vec<&'a str> {
    topics.iter().copied().chain(["mark"]).collect()
}
