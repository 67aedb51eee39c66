//! Section 9 of the contract, row 11, and hooks in the whole service: records that hooks have a say in.

use std::sync::Arc;
use std::sync::Mutex;

use rowcast::hooks::{Collections, DisconnectReason, HookRecord};
use serde_json::{Value, json};

use crate::support::people::{BCRYPT, stream};
use crate::support::{DEADLINE, Event, Feed, Sse, with_query};

const TABLES: &str = "
    create table members (id text primary key, email text unique, password_hash text);
    create table posts (id text primary key, title text, secret text, author text references members, n numeric);
    create table notes (id text primary key, post text references posts);
    select rowcast.attach('members', kind => 'auth', identity => array['email'], password => 'password_hash',
                          view_rule => '');
    select rowcast.attach('posts', list_rule => '', view_rule => '', hidden => array['secret']);
    select rowcast.attach('notes', list_rule => '', view_rule => '');";

async fn feed(topics: &[&str]) -> Feed {
    let feed = Feed::open(TABLES, topics).await;
    feed.run(&format!(
        "insert into members values ('ann', 'ann@x.org', '{BCRYPT}')"
    ))
    .await;
    feed
}

fn records(events: &[Event]) -> Vec<Value> {
    events.iter().map(|event| event.change().1).collect()
}

#[tokio::test]
async fn enrich_hook_hides_adds_and_shows_fields_per_principal() {
    let mut feed = feed(&["posts"]).await;
    let posts = Collections::named(["posts"]);
    feed.server.hooks.enrich.bind("own", 0, posts, |enrich| {
        let me = enrich
            .principal
            .record()
            .map(|record| record.id.to_string());
        assert_eq!(enrich.collection, "posts");
        if enrich
            .record
            .get("author")
            .and_then(|author| Some(author.as_str()? == me?))
            == Some(true)
        {
            assert!(enrich.record.unhide("secret"));
        } else {
            enrich.record.hide("title");
        }
        enrich.record.set("for", enrich.options.query.get("who"))?;
        Ok(())
    });
    let asked = with_query(
        "posts",
        json!({"who": "her", "fields": "*,title:excerpt(3)"}),
    );
    let mut ann = stream(&feed, "ann@x.org", &[&asked]).await;
    feed.run("insert into posts values ('p', 'Title', 'hush', 'ann', 12345678901234567890.5)")
        .await;
    let guest = records(&feed.events().await);
    let ann = Feed::drain(&mut ann).await;
    assert_eq!(guest.len(), 1);
    assert_eq!(
        (guest[0].get("title"), guest[0].get("secret")),
        (None, None)
    );
    assert_eq!(guest[0]["for"], Value::Null);
    // Her own `fields` are picked from what the hook has made.
    let own = &records(&ann)[0];
    assert_eq!(
        (&own["title"], &own["secret"], &own["for"]),
        (&json!("Tit"), &json!("hush"), &json!("her"))
    );
    assert_eq!(ann[0].name, asked);
    assert!(ann[0].id.is_some(), "{ann:?}");
}

#[tokio::test]
async fn enriched_events_differ_from_others_only_in_what_the_hook_changed() {
    let mut feed = feed(&["posts", "notes"]).await;
    let mut plain = feed.subscribe(&["posts", "notes"]).await;
    let change = "
        insert into posts values ('p', E'<T> \\u2028 \"', 'hush', null, 1e21);
        insert into notes values ('n', 'p');
        update posts set n = 0.0000001;
        delete from notes;
        delete from posts";
    feed.run(change).await;
    let before: Vec<_> = feed
        .events()
        .await
        .into_iter()
        .map(|event| event.data)
        .collect();
    Feed::drain(&mut plain).await;
    let touched = Collections::named(["posts"]);
    feed.server
        .hooks
        .enrich
        .bind("idle", 0, touched, |_| Ok(()));
    feed.run(change).await;
    let after: Vec<_> = feed
        .events()
        .await
        .into_iter()
        .map(|event| event.data)
        .collect();
    assert_eq!(before.len(), 5);
    assert_eq!(before, after);
}

#[tokio::test]
async fn enrich_hook_is_asked_about_related_records_and_snapshots_too() {
    let feed = feed(&[]).await;
    feed.run("insert into posts values ('p', 'T', 'hush', 'ann', 1); insert into notes values ('n', 'p')")
        .await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&asked);
    feed.server
        .hooks
        .enrich
        .bind("all", 0, Collections::All, move |enrich| {
            let word = format!("{} {}", enrich.collection, enrich.is_expanded);
            note.lock().unwrap().push(word);
            enrich.record.set("seen", enrich.collection)?;
            Ok(())
        });
    let topic = with_query(
        "notes",
        json!({"expand": "post.author", "snapshot": "true"}),
    );
    let mut reader = Sse::connect(&feed.server.base).await;
    reader.subscribe(&[&topic]).await;
    let (action, note) = reader.next_event(DEADLINE).await.change();
    assert_eq!(action, "snapshot");
    assert_eq!(note["seen"], "notes");
    assert_eq!(note["expand"]["post"]["seen"], "posts");
    assert_eq!(
        note["expand"]["post"]["expand"]["author"]["seen"],
        "members"
    );
    // From the inside out.
    assert_eq!(
        *asked.lock().unwrap(),
        ["members true", "posts true", "notes false"]
    );
}

#[tokio::test]
async fn failing_enrich_hook_drops_its_message_and_a_panic_ends_its_stream_only() {
    let mut feed = feed(&["posts", "notes"]).await;
    let mut ends = feed.server.ends();
    let neighbour_id = feed.stream.client_id.clone();
    let mut victim = feed.subscribe(&["posts", "notes"]).await;
    let victim_id = victim.client_id.clone();
    feed.server
        .hooks
        .enrich
        .bind(
            "bug",
            0,
            Collections::named(["posts"]),
            move |enrich| match enrich.record.get("title").as_ref().and_then(Value::as_str) {
                Some("bad") => Err("cannot say".into()),
                Some("worse") if enrich.client_id == victim_id => panic!("asked to"),
                _ => Ok(()),
            },
        );
    feed.run(
        "insert into posts values ('a', 'bad'), ('b', 'good'); insert into notes values ('n', 'b')",
    )
    .await;
    let seen = feed.events().await;
    assert_eq!(records(&seen).len(), 2, "{seen:?}");
    assert_eq!(Feed::drain(&mut victim).await.len(), 2);
    feed.run("insert into posts values ('c', 'worse')").await;
    assert_eq!(feed.events().await.len(), 1);
    victim.ended(DEADLINE).await;
    let end = ends.recv().await.expect("an end");
    assert_eq!(end.reason, DisconnectReason::HookPanicked);
    assert_ne!(*end.subscriber.client_id, *neighbour_id);
    let metrics = feed.server.metrics.encode();
    for line in [
        // Two streams were to be told of it.
        "rowcast_hook_failures_total{stage=\"enrich\",failure=\"error\"} 2",
        "rowcast_hook_failures_total{stage=\"enrich\",failure=\"panic\"} 1",
        "rowcast_disconnects_total{reason=\"hook_panicked\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn every_stream_of_the_service_ends_once_with_who_it_was() {
    let feed = feed(&["posts"]).await;
    let mut ends = feed.server.ends();
    let ann = stream(&feed, "ann@x.org", &["posts"]).await;
    let id = ann.client_id.clone();
    drop(ann);
    let end = ends.recv().await.expect("an end");
    assert_eq!(
        (end.reason, &*end.subscriber.client_id),
        (DisconnectReason::ClientGone, &*id)
    );
    let who = end.principal.record().map(|record| record.id.to_string());
    assert_eq!(who.as_deref(), Some("ann"));
    // Whoever is there at the end is told of, and the service waits for the hooks.
    let Feed { server, stream, .. } = feed;
    let own = stream.client_id.clone();
    server.stop().await;
    let end = ends
        .try_recv()
        .expect("told before the service had stopped");
    assert_eq!(
        (end.reason, &*end.subscriber.client_id),
        (DisconnectReason::Stopping, &*own)
    );
    assert!(ends.try_recv().is_err(), "told twice");
}

#[tokio::test]
async fn hooks_may_come_and_go_while_streams_are_open() {
    let mut feed = feed(&["posts"]).await;
    let hooks = feed.server.hooks.clone();
    let mut seen = Vec::new();
    for n in 0..3 {
        match n {
            1 => hooks.enrich.bind("one", 0, Collections::All, |enrich| {
                enrich.record = HookRecord::default();
                enrich.record.set("id", "veiled")?;
                Ok(())
            }),
            2 => assert!(hooks.enrich.unbind("one")),
            _ => {}
        }
        feed.run(&format!("insert into posts values ('p{n}')"))
            .await;
        feed.mark().await;
        // The mark itself is enriched where all collections are.
        let event = feed.stream.next_event(DEADLINE).await;
        seen.push(event.change().1["id"].clone());
        feed.stream.next_event(DEADLINE).await;
    }
    assert_eq!(seen, ["p0", "veiled", "p2"]);
}
