//! Streams that were cut go on where they were.

use std::time::Duration;

use rowcast::app::AppOptions;
use tokio_postgres::Client;

use crate::support::{
    DEADLINE, Event, Feed, Server, Sse, TestDatabase, client, database, eventually, ledger,
    server::options, within,
};

const POSTS: &str = "create table posts (id text primary key, n integer, secret text);
     select rowcast.attach('posts', list_rule => '', view_rule => '');";
const ALL: &[&str] = &["posts/*"];
const KEYED: &str = r#"posts/*?options={"query":{"resume":"0123456789abcdef_-"}}"#;

/// Opens a stream as a plain EventSource does, perhaps one that comes back with an id.
async fn open(base: &str, topics: &[&str], last_id: Option<&str>) -> Sse {
    Sse::connect_plain(base, topics, last_id, |request| request).await
}

/// The frames of a stream up to the record `until`, each with the last id that a browser would have
/// kept after it.
async fn read(stream: &mut Sse, until: &str) -> Vec<(Event, String)> {
    let mut seen = Vec::new();
    let mut last_id = String::new();
    loop {
        let event = stream.next_event(DEADLINE).await;
        last_id = event.id.clone().unwrap_or(last_id);
        let is_last = !event.data.is_empty() && event.change().1["id"] == until;
        seen.push((event, last_id.clone()));
        if is_last {
            return seen;
        }
    }
}

/// The ids of the records in frames.
fn ids<'a>(events: impl IntoIterator<Item = &'a (Event, String)>) -> Vec<String> {
    let events = events
        .into_iter()
        .filter(|(event, _)| !event.data.is_empty());
    events
        .map(|(event, _)| event.change().1["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Reads up to a record and returns the id to come back with.
async fn leave(mut stream: Sse, until: &str) -> String {
    let seen = read(&mut stream, until).await;
    seen.last().expect("at least one").1.clone()
}

async fn posts() -> (TestDatabase, Client) {
    let database = database().await;
    let client = client(&database.url).await;
    run(&client, POSTS).await;
    (database, client)
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

fn with(database: &TestDatabase, change: impl FnOnce(&mut AppOptions)) -> AppOptions {
    let mut options = options(&database.url);
    change(&mut options);
    options
}

#[tokio::test]
async fn a_stream_cut_at_any_frame_goes_on_without_a_hole() {
    let feed = Feed::open(POSTS, &[]).await;
    let mut stream = open(&feed.server.base, ALL, None).await;
    for transaction in [
        "begin; insert into posts values ('a1'), ('a2'), ('a3'); commit",
        "insert into posts values ('b1')",
        "begin; insert into posts values ('c1'), ('c2'); insert into posts values ('c3'); commit",
        "insert into posts values ('end')",
    ] {
        feed.run(transaction).await;
    }
    let seen = read(&mut stream, "end").await;
    let all = ids(&seen);
    assert_eq!(all, ["a1", "a2", "a3", "b1", "c1", "c2", "c3", "end"]);
    let ends = ["a3", "b1", "c3"];
    for cut in 0..seen.len() - 1 {
        let before = ids(&seen[..=cut]);
        let mut again = open(&feed.server.base, ALL, Some(&seen[cut].1)).await;
        let after = ids(&read(&mut again, "end").await);
        let is_whole = before.last().is_none_or(|id| ends.contains(&id.as_str()));
        let expected = match is_whole {
            true => before.len(),
            false => {
                let last = before.last().expect("one");
                all.iter().position(|id| id[..1] == last[..1]).expect("it")
            }
        };
        assert_eq!(after, all[expected..], "cut after {before:?}");
    }
    let longest = seen.iter().map(|(_, id)| id.len()).max();
    assert!(longest <= Some(120), "{longest:?} bytes of an id");
}

/// Of a transaction whose last change one does not see, one learns where it ended by a mark; and of two
/// frames for one change only the second says that it is over.
#[tokio::test]
async fn positions_tell_no_more_than_was_received() {
    let feed = Feed::open(POSTS, &[]).await;
    let topics = ["posts/*", "posts/a", "posts/b"];
    let odd = [r#"posts/*?options={"query":{"filter":"n = 1"}}"#];
    let mut twice = open(&feed.server.base, &topics, None).await;
    let mut filtered = open(&feed.server.base, &odd, None).await;
    feed.run("begin; insert into posts values ('a', 1), ('b', 2); commit")
        .await;
    feed.run("insert into posts values ('end', 1)").await;
    let seen = read(&mut filtered, "end").await;
    assert_eq!(ids(&seen), ["a", "end"]);
    let marks: Vec<_> = seen
        .iter()
        .map(|(event, _)| event.data.is_empty())
        .collect();
    assert_eq!(marks, [true, false, true, false], "{seen:?}");
    let mut again = open(&feed.server.base, &odd, Some(&seen[2].1)).await;
    assert_eq!(ids(&read(&mut again, "end").await), ["end"]);

    let seen = read(&mut twice, "end").await;
    assert_eq!(ids(&seen), ["a", "a", "b", "b", "end"]);
    // Whatever the cut, each of the two frames for the last change has been received in the end.
    for (cut, (_, last_id)) in seen.iter().enumerate().take(5).skip(1) {
        let mut again = open(&feed.server.base, &topics, Some(last_id)).await;
        let after = ids(&read(&mut again, "end").await);
        let expected = if cut < 4 { 5 } else { 1 };
        assert_eq!(after.len(), expected, "cut at {cut}: {after:?}");
    }
}

/// A browser keeps the last id it was sent, also if the stream ends right after PB_CONNECT.
#[tokio::test]
async fn a_stream_cut_right_after_pb_connect_goes_on_where_the_one_before_was() {
    let feed = Feed::open(POSTS, &[]).await;
    let stream = open(&feed.server.base, ALL, None).await;
    feed.run("insert into posts values ('first')").await;
    let last_id = leave(stream, "first").await;
    let mut cut = Sse::open_plain(&feed.server.base, ALL, Some(&last_id), |request| request).await;
    let hello = cut.next_event(DEADLINE).await;
    assert_eq!((hello.name.as_str(), &hello.id), ("PB_CONNECT", &None));
    drop(cut);
    feed.run("insert into posts values ('end')").await;
    let kept = hello.id.unwrap_or(last_id);
    let mut again = open(&feed.server.base, ALL, Some(&kept)).await;
    assert_eq!(ids(&read(&mut again, "end").await), ["end"]);
}

#[tokio::test]
async fn what_memory_has_forgotten_comes_from_the_log() {
    let feed = Feed::open_with(POSTS, &[], |options| options.hub.history_frames = 100).await;
    let stream = open(&feed.server.base, ALL, None).await;
    feed.run("insert into posts values ('first')").await;
    let last_id = leave(stream, "first").await;
    insert_many(&feed.client, 2000).await;
    feed.run("insert into posts values ('end')").await;
    let mut again = open(&feed.server.base, ALL, Some(&last_id)).await;
    let seen = ids(&read(&mut again, "end").await);
    assert_eq!(seen, numbered(2000));
}

async fn insert_many(client: &Client, count: usize) {
    let sql = format!(
        "do $$ begin for i in 1..{count} loop
             insert into posts values ('x' || i, i);
             if i % 50 = 0 then commit; end if;
         end loop; end $$"
    );
    run(client, &sql).await;
}

fn numbered(count: usize) -> Vec<String> {
    let numbers = (1..=count).map(|n| format!("x{n}"));
    numbers.chain(["end".to_owned()]).collect()
}

#[tokio::test]
async fn a_stream_goes_on_after_a_restart_and_on_another_server() {
    let (database, client) = posts().await;
    let one = Server::start(&database).await;
    let other = Server::start(&database).await;
    let stream = open(&one.base, ALL, None).await;
    run(&client, "insert into posts values ('first')").await;
    let last_id = leave(stream, "first").await;
    one.stop().await;
    insert_many(&client, 100).await;
    run(&client, "insert into posts values ('end')").await;
    let restarted = Server::start(&database).await;
    for server in [&restarted, &other] {
        let mut again = open(&server.base, ALL, Some(&last_id)).await;
        assert_eq!(ids(&read(&mut again, "end").await), numbered(100));
        run(&client, "insert into posts values ('live')").await;
        read(&mut again, "live").await;
        run(&client, "delete from posts where id = 'live'").await;
    }
}

#[tokio::test]
async fn what_cannot_be_told_any_more_is_a_resync() {
    let (database, client) = posts().await;
    let server =
        Server::start_with(with(&database, |options| options.hub.history_frames = 1)).await;
    let stream = open(&server.base, ALL, None).await;
    run(&client, "insert into posts values ('first')").await;
    let last_id = leave(stream, "first").await;
    for turn in 0..6 {
        run(
            &client,
            &format!("insert into posts values ('gone {turn}')"),
        )
        .await;
        let rotate = "select rowcast.rotate('0', 0, 0)";
        eventually(DEADLINE, || async {
            let row = client.query_one(rotate, &[]).await.unwrap();
            let outcome: String = row.get(0);
            if outcome == "rotated" {
                Ok(())
            } else {
                Err(outcome)
            }
        })
        .await;
    }
    let (epoch, rest) = last_id.split_once(':').expect("a position");
    let elsewhere = format!("{epoch}x:{rest}");
    let future = format!("{epoch}:99999999999:99999999999:");
    for id in [&last_id, &elsewhere, &future] {
        let mut again = open(&server.base, ALL, Some(id)).await;
        // The id of a resync is empty.
        read(&mut again, "").await;
        let live = format!("live in place of {id}");
        run(&client, &format!("insert into posts values ('{live}')")).await;
        assert_eq!(ids(&read(&mut again, &live).await), [live], "{id}");
        let text = server.metrics.encode();
        assert!(
            text.contains(r#"resumes_total{outcome="resync"}"#),
            "{text}"
        );
    }
    for id in ["", "x", "1:2", "vTnZ0jQY3Q9nKc0bHqXwE8sRrUeA1mWd5LzPgFoB"] {
        let mut again = open(&server.base, ALL, Some(id)).await;
        let live = format!("live in place of {id}");
        run(&client, &format!("insert into posts values ('{live}')")).await;
        assert_eq!(ids(&read(&mut again, &live).await), [live], "{id:?}");
    }
}

#[tokio::test]
async fn what_is_told_again_obeys_the_rules_fields_and_filters_of_today() {
    for history_frames in [1000, 1] {
        let change = |options: &mut AppOptions| options.hub.history_frames = history_frames;
        let feed = Feed::open_with(POSTS, &[], change).await;
        let filtered = [r#"posts/*?options={"query":{"filter":"n > 1"}}"#];
        let mut stream = open(&feed.server.base, &filtered, None).await;
        let mark = stream.next_event(DEADLINE).await;
        let last_id = mark.id.expect("a position");
        drop(stream);
        feed.run("insert into posts values ('a', 1, 'hush'), ('b', 2, 'hush'), ('c', 3, 'hush')")
            .await;
        feed.run("select rowcast.attach('posts', hidden => array['secret'])")
            .await;
        feed.run("select rowcast.set_rule('posts', 'list', 'n < 3 || id = \"end\"')")
            .await;
        let mut witness = open(&feed.server.base, ALL, None).await;
        feed.run("insert into posts values ('end', 9)").await;
        read(&mut witness, "end").await;
        let mut again = open(&feed.server.base, &filtered, Some(&last_id)).await;
        let seen = read(&mut again, "end").await;
        assert_eq!(ids(&seen), ["b", "end"], "{history_frames} in memory");
        let leaked = seen.iter().any(|(event, _)| event.raw.contains("hush"));
        assert!(!leaked, "{seen:?}");
    }
}

/// Many writers go on while streams come back again and again: each sees every change of every row in
/// order.
#[tokio::test]
async fn while_writers_go_on_nothing_is_lost_doubled_or_out_of_order() {
    for history_frames in [100_000, 50] {
        let database = database().await;
        let setup = client(&database.url).await;
        ledger::create(&setup).await;
        let change = |options: &mut AppOptions| {
            options.hub.history_frames = history_frames;
            options.hub.mailbox_frames = 1_000_000;
        };
        let server = Server::start_with(with(&database, change)).await;
        let topics = ["ledger/*"];
        let writers = ledger::Writers::start(&database.url, 4, 7);
        let mut whole = open(&server.base, &topics, None).await;
        let mark = whole.next_event(DEADLINE).await;
        assert_eq!(mark.data, "", "{mark:?}");
        let mut last_id = mark.id.expect("a position");
        let mut pieces = Vec::new();
        for length in 40..52 {
            let mut stream = open(&server.base, &topics, Some(&last_id)).await;
            let mut piece = Vec::new();
            while piece.len() < length {
                let event = stream.next_event(DEADLINE).await;
                last_id = event.id.expect("a position");
                piece.extend((!event.data.is_empty()).then_some(event.data));
            }
            pieces.push(piece);
        }
        writers.stop().await;
        run(&setup, "insert into ledger values (1000, 0, 0)").await;
        let whole: Vec<_> = read(&mut whole, "1000").await;
        let whole: Vec<_> = whole.into_iter().map(|(event, _)| event.data).collect();
        let mut told: usize = 0;
        for piece in pieces {
            // Only the transaction in which it was cut comes again.
            let begin = (told.saturating_sub(64)..=told).rev();
            let mut begin = begin.filter(|&begin| whole[begin..].starts_with(&piece));
            let begin = begin
                .next()
                .unwrap_or_else(|| panic!("{piece:#?} at {told} of {whole:#?}"));
            told = begin + piece.len();
        }
    }
}

#[tokio::test]
async fn five_hundred_streams_come_back_at_once() {
    let feed = Feed::open(POSTS, &[]).await;
    let stream = open(&feed.server.base, ALL, None).await;
    feed.run("insert into posts values ('first')").await;
    let last_id = leave(stream, "first").await;
    insert_many(&feed.client, 200).await;
    feed.run("insert into posts values ('end')").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let (base, last_id) = (feed.server.base.clone(), last_id.clone());
        tasks.spawn(async move {
            let mut again = open(&base, ALL, Some(&last_id)).await;
            ids(&read(&mut again, "end").await)
        });
    }
    while let Some(seen) = tasks.join_next().await {
        assert_eq!(seen.expect("no panic"), numbered(200));
    }
}

#[tokio::test]
async fn subscriptions_in_the_query_are_checked_like_those_of_a_request() {
    let feed = Feed::open(POSTS, &[]).await;
    let long = "x".repeat(2501);
    let many: Vec<_> = (0..1001).map(|n| format!("t{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for topics in [&[long.as_str()][..], &many] {
        let stream = Sse::open_plain(&feed.server.base, topics, None, |request| request).await;
        assert_eq!(stream.response.status(), 400);
        let body = stream.response.text().await.expect("a body");
        assert!(body.contains("validation_length_too_long"), "{body}");
    }
}

#[tokio::test]
async fn a_key_lets_the_sdk_go_on_with_the_same_subscription_only() {
    let (database, client) = posts().await;
    let server = Server::start(&database).await;
    let stream = server.subscribe(&[KEYED]).await;
    drop(stream);
    insert_many(&client, 50).await;
    run(&client, "insert into posts values ('end')").await;
    let other = KEYED.replace("0123", "4567");
    let mut again = server.subscribe(&[KEYED, "posts/x1"]).await;
    let mut stranger = server.subscribe(&[&other]).await;
    assert_eq!(ids(&read(&mut again, "end").await), numbered(50));
    // Asking for more does not begin anew.
    again.subscribe(&[KEYED, "posts/x1", "posts/x2"]).await;
    run(&client, "insert into posts values ('live')").await;
    for stream in [&mut again, &mut stranger] {
        assert_eq!(ids(&read(stream, "live").await), ["live"]);
    }
    drop(again);
    server.stop().await;
    run(&client, "insert into posts values ('later')").await;
    let server = Server::start(&database).await;
    let mut again = server.subscribe(&[KEYED]).await;
    let seen = ids(&read(&mut again, "later").await);
    // What was told shortly before is told once more.
    let expected: Vec<_> = numbered(50)
        .into_iter()
        .chain(["live".into(), "later".into()])
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_key_survives_a_crash_and_is_kept_as_a_digest() {
    let (database, client) = posts().await;
    let server = Server::start(&database).await;
    let stream = server.subscribe(&[KEYED]).await;
    eventually(DEADLINE, || async {
        let row = client
            .query_one("select count(*) from rowcast.resume_points", &[])
            .await
            .unwrap();
        let count: i64 = row.get(0);
        if count == 1 {
            Ok(())
        } else {
            Err(format!("{count} points"))
        }
    })
    .await;
    // No farewell: everything is aborted.
    drop(server);
    drop(stream);
    run(&client, "insert into posts values ('end')").await;
    let server = Server::start(&database).await;
    let mut again = server.subscribe(&[KEYED]).await;
    assert_eq!(ids(&read(&mut again, "end").await), ["end"]);
    let row = client
        .query_one(
            "select string_agg(p::text, '') from rowcast.resume_points p",
            &[],
        )
        .await
        .unwrap();
    assert!(!row.get::<_, String>(0).contains("0123456789abcdef"));
}

/// One byte a second, beside somebody who reads as they should.
#[tokio::test]
async fn a_stalled_reader_changes_nothing_for_its_neighbour_and_can_come_back() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let change = |options: &mut AppOptions| options.hub.mailbox_frames = 200;
    let feed = Feed::open_with(POSTS, &[], change).await;
    let address = feed.server.base.trim_start_matches("http://").to_owned();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(address.parse().unwrap()).await.unwrap();
    slow.write_all(b"GET /api/realtime?subscriptions=posts%2F* HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    // The first mark.
    let mut head = String::new();
    while head.matches("id:").count() < 1 {
        head.push(char::from(slow.read_u8().await.unwrap()));
    }
    let mut healthy = open(&feed.server.base, ALL, None).await;
    let (let_go, mut stalled) = tokio::sync::watch::channel(false);
    let (taken, mut bytes_taken) = tokio::sync::watch::channel(0);
    let began = std::time::Instant::now();
    let reader = tokio::spawn(async move {
        let mut tail = Vec::new();
        // One byte a second, until the server has had enough.
        while !*stalled.borrow() {
            tail.push(slow.read_u8().await.expect("a byte"));
            taken.send_replace(tail.len());
            let _ = tokio::time::timeout(Duration::from_secs(1), stalled.changed()).await;
        }
        slow.read_to_end(&mut tail).await.expect("the rest");
        tail
    });
    for batch in 0..40 {
        feed.run("insert into posts select md5(random()::text), 1, repeat('x', 4000) from generate_series(1, 50)")
            .await;
        healthy.next_events(50, DEADLINE).await;
        if batch == 1 {
            // While it has a part of what fits into its mailbox, for long enough to be sure of its pace.
            let three = bytes_taken.wait_for(|bytes| *bytes >= 3);
            let bytes = *within(DEADLINE, "three bytes", three)
                .await
                .expect("it reads");
            assert!(
                began.elapsed() >= Duration::from_secs(2),
                "{bytes} bytes are too quick"
            );
        }
    }
    eventually(DEADLINE, || async {
        let text = feed.server.metrics.encode();
        let slow = text.contains(r#"disconnects_total{reason="slow"} 1"#);
        if slow { Ok(()) } else { Err(text) }
    })
    .await;
    let_go.send_replace(true);
    let tail = reader.await.expect("no panic");
    let tail = String::from_utf8_lossy(&tail);
    let whole = tail.rfind("\n\n").map_or("", |end| &tail[..end]);
    let last_id = whole
        .lines()
        .filter_map(|line| line.strip_prefix("id:"))
        .next_back();
    let last_id = last_id.expect("the id of a whole frame");
    feed.run("insert into posts values ('end')").await;
    let mut again = open(&feed.server.base, ALL, Some(last_id)).await;
    let received = whole.matches("\nevent:").count();
    let all = received + ids(&read(&mut again, "end").await).len();
    // The transaction in which it was cut is told again.
    assert!((2001..2051).contains(&all), "{all} events");
}
