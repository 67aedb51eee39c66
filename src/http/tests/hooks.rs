//! Section 9 of the contract, rows 1 to 10: hooks around one stream.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::*;
use crate::frame::Frame;
use crate::hooks::{Disconnect, DisconnectReason, Flow, MessageFlow, Refusal};
use crate::hub::{JoinError, SetTopicsError};
use crate::topic::Subscription;

const POST: &str = "/api/realtime";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn edge() -> Edge {
    Edge::with(HttpOptions {
        lifetime_jitter: 0.0,
        heartbeat: None,
        ..HttpOptions::default()
    })
}

/// Every end that the disconnect hooks are told of.
fn ends(edge: &Edge) -> UnboundedReceiver<Disconnect> {
    let (sender, receiver) = unbounded_channel();
    edge.hooks.disconnect.bind("ends", 0, move |end| {
        sender.send(end.clone()).expect("the test listens");
        Box::pin(async {})
    });
    receiver
}

async fn only_end(ends: &mut UnboundedReceiver<Disconnect>) -> DisconnectReason {
    let end = ends.recv().await.expect("an end");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(ends.try_recv().is_err(), "told twice");
    end.reason
}

async fn chunk(body: &mut Body) -> Option<Bytes> {
    let frame = body.frame().await?.expect("streams do not fail");
    Some(frame.into_data().expect("streams have no trailers"))
}

fn frame(name: &str) -> Frame {
    Frame::event(Some("7"), name, b"{}").expect("a clean name")
}

fn set(topics: &str) -> Request<Body> {
    let body = format!(r#"{{"clientId":"c","subscriptions":{topics}}}"#);
    request("POST", POST, &[JSON, ("Authorization", "root")], &body)
}

fn refusing(edge: &Edge, refusal: Refusal) {
    edge.hooks.connect.bind("no", 0, move |_| {
        let refusal = refusal.clone();
        Box::pin(async move { Err(refusal) })
    });
}

#[tokio::test(start_paused = true)]
async fn connect_hook_sees_who_asks_and_sets_headers_and_timers() {
    let edge = edge();
    let seen = Arc::new(Mutex::new(None));
    let note = Arc::clone(&seen);
    edge.hooks.connect.bind("one", 0, move |connect| {
        *note.lock().expect("no panic") = Some((
            connect.subscriber.clone(),
            connect.principal.clone(),
            connect.uri.to_string(),
            connect.headers["x-room"].clone(),
            (connect.idle_timeout.as_secs(), connect.lifetime.as_secs()),
        ));
        connect.idle_timeout = Duration::from_secs(7);
        let headers = &mut connect.response_headers;
        headers.insert("x-hook", "yes".parse().expect("a value"));
        headers.insert("cache-control", "no-cache".parse().expect("a value"));
        Box::pin(async { Ok(Flow::Next) })
    });
    let headers = [("Authorization", "root"), ("X-Room", "7")];
    let answer = edge
        .open(request("GET", "/api/realtime?a=b", &headers, ""))
        .await;
    let subscriber = edge.hub.joined().expect("a subscriber");
    assert_eq!(answer.headers()["x-hook"], "yes");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (who, principal, uri, room, timers) =
        seen.lock().expect("no panic").take().expect("it was asked");
    // The name is the one that PB_CONNECT will say.
    assert_eq!(
        (who.client_id, who.address),
        (subscriber.id.0.clone(), subscriber.address)
    );
    assert_eq!(
        (principal, &*uri, timers),
        (root(), "/api/realtime?a=b", (300, 1800))
    );
    assert_eq!(room, "7");
    let opened = Instant::now();
    let mut body = answer.into_body();
    while chunk(&mut body).await.is_some() {}
    assert_eq!(opened.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn lifetime_set_by_a_hook_is_exact() {
    let edge = Edge::with(HttpOptions::default());
    edge.hooks.connect.bind("one", 0, |connect| {
        connect.lifetime = Duration::from_secs(40);
        Box::pin(async { Ok(Flow::Next) })
    });
    let mut ends = ends(&edge);
    let opened = Instant::now();
    let mut body = edge.open(get(POST)).await.into_body();
    while chunk(&mut body).await.is_some() {}
    assert_eq!(opened.elapsed().as_secs(), 40);
    drop(body);
    assert_eq!(only_end(&mut ends).await, DisconnectReason::Lifetime);
}

#[tokio::test(start_paused = true)]
async fn connect_hook_rejects_with_its_own_error_and_nothing_is_registered() {
    let edge = edge();
    let mut ends = ends(&edge);
    let full = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "all seats are taken");
    let full = full
        .with_data("seats", 3)
        .retry_after(Duration::from_secs(9));
    refusing(&edge, full);
    let asked = Instant::now();
    let answer = edge.send(get(POST)).await;
    // Some clients come back at once, so refusals are slow.
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer.body,
        "{\"data\":{\"seats\":3},\"message\":\"All seats are taken.\",\"status\":503}\n"
    );
    assert_eq!(answer.lines("content-type"), ["application/json"]);
    assert_eq!(answer.lines("retry-after"), ["9"]);
    assert!(edge.hub.joined().is_none());
    assert_eq!(only_end(&mut ends).await, DisconnectReason::Refused);
}

#[tokio::test(start_paused = true)]
async fn any_other_error_of_a_hook_is_a_400_without_details() {
    let edge = edge();
    edge.hooks.connect.bind("no", 0, |_| {
        Box::pin(async {
            "x".parse::<u8>()?;
            Ok(Flow::Next)
        })
    });
    let answer = edge.send(get(POST)).await;
    assert_eq!(
        (answer.status, &*answer.body),
        (StatusCode::BAD_REQUEST, GENERIC)
    );
}

#[tokio::test(start_paused = true)]
async fn connect_hook_swallows_with_200_and_an_empty_body() {
    let edge = edge();
    let mut ends = ends(&edge);
    edge.hooks
        .connect
        .bind("stop", 0, |_| Box::pin(async { Ok(Flow::Stop) }));
    edge.hooks
        .connect
        .bind("later", 1, |_| Box::pin(async { panic!("nobody asks it") }));
    let answer = edge.send(get(POST)).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, ""));
    assert_eq!(answer.lines("content-type"), ["text/event-stream"]);
    assert!(edge.hub.joined().is_none());
    assert_eq!(only_end(&mut ends).await, DisconnectReason::Swallowed);
}

#[tokio::test(start_paused = true)]
async fn hook_that_never_answers_holds_its_request_up_to_the_limit_and_no_other() {
    let edge = edge();
    edge.hooks
        .connect
        .bind("hang", 0, |_| Box::pin(std::future::pending()));
    let asked = Instant::now();
    let (answer, alive) = tokio::join!(edge.send(get(POST)), edge.send(get("/api/health")));
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked.elapsed().as_secs(), 31);
    assert_eq!(alive.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_hook_is_that_requests_500_and_nothing_else() {
    let edge = edge();
    let mut ends = ends(&edge);
    edge.hooks
        .connect
        .bind("bug", 0, |_| Box::pin(async { panic!("asked to") }));
    let answer = edge.send(get(POST)).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(only_end(&mut ends).await, DisconnectReason::Refused);
    edge.hooks
        .subscribe
        .bind("bug", 0, |_| panic!("not even a future"));
    let answer = edge.send(set("[]")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(edge.hub.asked().is_empty());
    assert!(edge.hooks.connect.unbind("bug") && edge.hooks.subscribe.unbind("bug"));
    assert_eq!(edge.open(get(POST)).await.status(), StatusCode::OK);
    let metrics = edge.metrics.encode();
    for stage in ["connect", "subscribe"] {
        let line = format!("rowcast_hook_failures_total{{stage=\"{stage}\",failure=\"panic\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_end_is_told_once_with_its_reason() {
    use DisconnectReason::{ClientGone, Idle, Lifetime, Refused, Slow, Stopping};
    for reason in [ClientGone, Idle, Lifetime, Slow, Stopping, Refused] {
        let edge = Edge::with(HttpOptions {
            idle_timeout: Duration::from_secs(if reason == Lifetime { 900 } else { 300 }),
            lifetime_max: Duration::from_secs(600),
            lifetime_jitter: 0.0,
            ..HttpOptions::default()
        });
        let mut ends = ends(&edge);
        // A hook that breaks does not keep others from being told.
        edge.hooks
            .disconnect
            .bind("bug", -1, |_| Box::pin(async { panic!("asked to") }));
        if reason == Refused {
            edge.hub.refuse_joins(JoinError::TooMany);
        }
        let mut body = edge.open(get(POST)).await.into_body();
        chunk(&mut body).await.expect("PB_CONNECT or an error");
        let subscriber = edge.hub.joined();
        match (reason, subscriber) {
            (Slow, Some(subscriber)) => subscriber.end(DisconnectReason::Slow),
            (Stopping, Some(subscriber)) => drop(subscriber),
            (ClientGone | Refused, _) => {}
            (_, subscriber) => {
                while chunk(&mut body).await.is_some() {}
                drop(subscriber);
            }
        }
        if matches!(reason, Slow | Stopping) {
            while chunk(&mut body).await.is_some() {}
        }
        drop(body);
        assert_eq!(only_end(&mut ends).await, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_subscribe_as_it_asked_has_ended_refused() {
    let edge = edge();
    let mut ends = ends(&edge);
    edge.hub.refuse_topics(SetTopicsError::OtherPrincipal);
    let answer = edge.send(get("/api/realtime?subscriptions=a")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(only_end(&mut ends).await, DisconnectReason::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_held_seat_is_free_again_when_its_stream_has_ended() {
    let edge = edge();
    let seats = Arc::new(Semaphore::new(1));
    let free = Arc::clone(&seats);
    edge.hooks.connect.bind("limit", 0, move |connect| {
        let seats = Arc::clone(&seats);
        Box::pin(async move {
            let seat = seats.try_acquire_owned();
            connect.hold(seat.map_err(|_| Refusal::too_many_requests())?);
            Ok(Flow::Next)
        })
    });
    // Behind it, so that its seat is taken already.
    let first = edge.open(get(POST)).await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = edge.open(get(POST)).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    drop((first, second));
    assert_eq!(free.available_permits(), 1);
    edge.hooks
        .connect
        .bind("no", 1, |_| Box::pin(async { Err(Refusal::forbidden()) }));
    assert_eq!(edge.open(get(POST)).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(free.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn message_hooks_are_asked_about_pb_connect_and_every_event() {
    let edge = edge();
    let names = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&names);
    edge.hooks.message.bind("note", 0, move |message| {
        note.lock().expect("no panic").push(message.name.clone());
        MessageFlow::Next
    });
    edge.hooks.message.bind("change", 1, |message| {
        if message.name == "b" {
            message.name = "c".to_owned();
            message.data = Bytes::from_static(b"[1]");
        }
        if message.name == "broken" {
            message.data = Bytes::from_static(b"1\n2");
        }
        MessageFlow::Next
    });
    let mut body = edge.open(get(POST)).await.into_body();
    let mut neighbour = edge.open(get(POST)).await.into_body();
    chunk(&mut body).await.expect("PB_CONNECT");
    chunk(&mut neighbour).await.expect("PB_CONNECT");
    let subscriber = edge.hub.joined().expect("a subscriber");
    // What would break the stream is left out, and counted.
    for name in ["a", "broken", "b"] {
        subscriber.put(frame(name));
    }
    let mark = Frame::mark("8").expect("clean");
    subscriber.put(mark);
    assert_eq!(
        chunk(&mut body).await.expect("a chunk"),
        "id:7\nevent:a\ndata:{}\n\nid:7\nevent:c\ndata:[1]\n\nid:8\n\n"
    );
    let names = std::mem::take(&mut *names.lock().expect("no panic"));
    assert_eq!(names, ["PB_CONNECT", "PB_CONNECT", "a", "broken", "b"]);
    assert_eq!(edge.metrics.unwritable_frames.get(), 1);
    drop(neighbour);
}

#[tokio::test(start_paused = true)]
async fn skipped_message_counts_as_an_event_for_the_idle_time() {
    let edge = edge();
    edge.hooks
        .message
        .bind("skip", 0, |message| match &*message.name {
            "a" => MessageFlow::Skip,
            _ => MessageFlow::Next,
        });
    let mut ends = ends(&edge);
    let opened = Instant::now();
    let mut body = edge.open(get(POST)).await.into_body();
    chunk(&mut body).await.expect("PB_CONNECT");
    let subscriber = edge.hub.joined().expect("a subscriber");
    let put = async {
        tokio::time::sleep(Duration::from_secs(200)).await;
        subscriber.put(frame("a"));
    };
    let (end, ()) = tokio::join!(chunk(&mut body), put);
    assert_eq!((end, opened.elapsed().as_secs()), (None, 500));
    drop(body);
    assert_eq!(only_end(&mut ends).await, DisconnectReason::Idle);
}

#[tokio::test(start_paused = true)]
async fn message_hook_ends_one_stream_in_good_order() {
    let edge = edge();
    let mut ends = ends(&edge);
    edge.hooks
        .message
        .bind("abort", 0, |message| match &*message.name {
            "stop" => MessageFlow::Abort,
            "bug" => panic!("asked to"),
            _ => MessageFlow::Next,
        });
    for (name, reason) in [
        ("stop", DisconnectReason::Aborted),
        ("bug", DisconnectReason::HookPanicked),
    ] {
        let mut body = edge.open(get(POST)).await.into_body();
        let mut neighbour = edge.open(get(POST)).await.into_body();
        chunk(&mut body).await.expect("PB_CONNECT");
        chunk(&mut neighbour).await.expect("PB_CONNECT");
        let mut subscriber = edge.hub.joined().expect("a subscriber");
        let other = edge.hub.joined().expect("a subscriber");
        for name in ["a", name, "b"] {
            subscriber.put(frame(name));
        }
        assert_eq!(
            chunk(&mut body).await.expect("a chunk"),
            "id:7\nevent:a\ndata:{}\n\n"
        );
        assert_eq!(chunk(&mut body).await, None);
        // It is gone from the hub before its body is dropped.
        subscriber.left().await;
        other.put(frame("b"));
        assert_eq!(
            chunk(&mut neighbour).await.expect("a chunk"),
            "id:7\nevent:b\ndata:{}\n\n"
        );
        drop(body);
        assert_eq!(only_end(&mut ends).await, reason);
        drop(neighbour);
        assert_eq!(only_end(&mut ends).await, DisconnectReason::ClientGone);
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_pb_connect_is_200_with_an_empty_body() {
    let edge = edge();
    let mut ends = ends(&edge);
    edge.hooks.message.bind("abort", 0, |_| MessageFlow::Abort);
    let answer = edge.send(get(POST)).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, ""));
    assert_eq!(only_end(&mut ends).await, DisconnectReason::Aborted);
}

#[tokio::test]
async fn subscribe_hook_edits_the_list_after_all_checks() {
    let edge = edge();
    edge.hooks.subscribe.bind("edit", 0, |subscribe| {
        Box::pin(async move {
            assert_eq!(
                (&*subscribe.subscriber.client_id, &subscribe.principal),
                ("c", &root())
            );
            assert_eq!(subscribe.headers["content-type"], "application/json");
            subscribe
                .subscriptions
                .retain(|one| one.topic() != "secret");
            subscribe.subscriptions.push(Subscription::parse("news"));
            Ok(Flow::Next)
        })
    });
    let answer = edge.send(set(r#"["a","secret?x=1"]"#)).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::NO_CONTENT, ""));
    let asked = edge.hub.asked();
    let texts: Vec<_> = asked[0]
        .subscriptions
        .iter()
        .map(|one| &**one.text())
        .collect();
    assert_eq!(texts, ["a", "news"]);
}

#[tokio::test]
async fn subscribe_hook_rejects_or_swallows_and_nothing_changes() {
    let edge = edge();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    edge.hooks.subscribe.bind("hook", 0, move |_| {
        let call = count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match call {
                0 => Err(Refusal::new(StatusCode::FORBIDDEN, "members only")),
                _ => Ok(Flow::Stop),
            }
        })
    });
    let answer = edge.send(set(r#"["a"]"#)).await;
    assert_eq!(
        (answer.status, &*answer.body),
        (
            StatusCode::FORBIDDEN,
            "{\"data\":{},\"message\":\"Members only.\",\"status\":403}\n"
        )
    );
    let answer = edge.send(set(r#"["a"]"#)).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, ""));
    // Whoever fails a check does not reach the hook.
    edge.hub.refuse_topics(SetTopicsError::UnknownClient);
    let answer = edge.send(set(r#"["a"]"#)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = edge.send(request("POST", POST, &[JSON], "{}")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert!(edge.hub.asked().is_empty());
}

#[tokio::test]
async fn subscribe_hooks_are_asked_about_streams_that_name_their_subscriptions_themselves() {
    let edge = edge();
    edge.hooks.subscribe.bind("edit", 0, |subscribe| {
        subscribe.subscriptions.push(Subscription::parse("news"));
        Box::pin(async { Ok(Flow::Next) })
    });
    let answer = edge.open(get("/api/realtime?subscriptions=a")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(edge.hub.asked()[0].subscriptions.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn hooks_are_asked_by_priority_and_replaced_by_id() {
    let edge = edge();
    let order = Arc::new(Mutex::new(String::new()));
    for (id, priority, word) in [("b", 1, "b"), ("a", -1, "a"), ("c", 1, "c"), ("b", 1, "B")] {
        let order = Arc::clone(&order);
        edge.hooks.connect.bind(id, priority, move |_| {
            order.lock().expect("no panic").push_str(word);
            Box::pin(async { Ok(Flow::Next) })
        });
    }
    assert_eq!(edge.open(get(POST)).await.status(), StatusCode::OK);
    assert_eq!(*order.lock().expect("no panic"), "aBc");
    assert_eq!(
        *edge.hooks.connect.ids(),
        ["a".into(), "b".into(), "c".into()]
    );
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_known_is_not_shown_to_a_hook() {
    let edge = edge();
    edge.hooks
        .connect
        .bind("any", 0, |_| Box::pin(async { Ok(Flow::Next) }));
    let request = request("GET", POST, &[("Authorization", "unchecked")], "");
    let answer = edge.send(request).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(edge.hub.joined().is_none());
}
