//! The tests' own tools.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{DEADLINE, Sse, client, database, empty_database, eventually};

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let (one, two, three) = tokio::join!(database(), database(), empty_database());
    for database in [&one, &two, &three] {
        let client = client(&database.url).await;
        client
            .batch_execute("create table public.mine (id int)")
            .await
            .unwrap();
        let name: String = client
            .query_one("select current_database()::text", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(name, database.name);
    }
}

#[tokio::test]
async fn a_test_database_is_migrated() {
    let database = database().await;
    let client = client(&database.url).await;
    client
        .execute("select * from rowcast.status()", &[])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_dropped_database_is_gone_whoever_is_connected() {
    let gone = database().await;
    let watcher = database().await;
    let visitor = client(&gone.url).await;
    let name = gone.name.clone();
    drop(gone);
    let watcher = client(&watcher.url).await;
    let row = watcher
        .query_opt("select from pg_database where datname = $1", &[&name])
        .await
        .unwrap();
    assert!(row.is_none());
    eventually(DEADLINE, || async {
        if visitor.is_closed() {
            Ok(())
        } else {
            Err("still connected")
        }
    })
    .await;
}

#[tokio::test]
async fn the_feed_client_reads_frames_however_they_are_cut() {
    let base = serve_once(&[
        b": hello\n\nid:a\nevent:PB_CON",
        b"NECT\ndata:{\"clientId\":\"a\"}\n",
        b"\nevent:posts\ndata:1\ndata: 2\n\n:beat\n\n",
    ])
    .await;
    let mut stream = Sse::connect(&base).await;
    assert_eq!(stream.client_id, "a");
    let event = stream.next_event(DEADLINE).await;
    assert_eq!(
        (event.name.as_str(), event.id, event.data.as_str()),
        ("posts", None, "1\n2")
    );
    stream.ended(Duration::from_secs(5)).await;
    assert_eq!(stream.comments, ["hello", "beat"]);
}

/// Answers one request with these pieces of a stream.
async fn serve_once(pieces: &'static [&'static [u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert_ne!(socket.read(&mut request).await.unwrap(), 0);
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        socket.write_all(head).await.unwrap();
        for piece in pieces {
            socket.write_all(piece).await.unwrap();
            socket.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    base
}
