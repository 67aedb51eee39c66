//! Those who come back after a restart, and how often the log is read for them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::super::{HubHandle, HubOptions, Mailbox, Resume, SetTopics};
use super::*;
use crate::auth::Principal;
use crate::catalog::{Catalog, Collection, CollectionKey, Field, FieldKind};
use crate::event::{Action, ChangeEvent, Gap, GapReason, RecordId, Transaction, Xid, parse_image};
use crate::policy::{Policy, PolicyRows};
use crate::related::{FetchError, Found, Library, Reading as LibraryReading, Want};
use crate::telemetry::Metrics;
use crate::topic::Subscription;

/// Rules of these tests read no other records.
struct NoLibrary;

impl Library for NoLibrary {
    fn open(&self) -> Box<dyn LibraryReading> {
        Box::new(Self)
    }
}

impl LibraryReading for NoLibrary {
    fn fetch<'a>(
        &'a mut self,
        wants: Vec<Want>,
    ) -> futures_util::future::BoxFuture<'a, Result<Vec<(Want, Found)>, FetchError>> {
        panic!("{wants:?}");
    }
}

fn position(text: &str) -> Position {
    text.parse().expect("a position")
}

fn catalog() -> Arc<Catalog> {
    let rules = PolicyRows::for_everybody(&[("posts", "list", "")]);
    let fields = vec![Field::new("id", FieldKind::Text)];
    Arc::new(Catalog::new([Collection {
        key_fields: vec![0],
        policy: Arc::new(Policy::new(rules)),
        ..Collection::new(CollectionKey(1), "posts", fields)
    }]))
}

/// A transaction that creates a post named like itself.
fn change(catalog: &Catalog, xid: u64) -> FeedItem {
    change_at(catalog, xid, Some("e"))
}

/// The same in this epoch, if anybody can say so.
fn change_at(catalog: &Catalog, xid: u64, epoch: Option<&str>) -> FeedItem {
    let collection = Arc::clone(catalog.find("posts").expect("posts"));
    let image = parse_image(format!(r#"{{"id":"{xid}"}}"#).into(), &collection).expect("an image");
    FeedItem::Change(Arc::new(ChangeEvent {
        collection,
        action: Action::Create,
        id: RecordId(xid.to_string().into()),
        old: None,
        new: Some(image.image),
        transaction: Some(Transaction { end: xid, xid }),
        position: epoch.map(|epoch| position(&format!("{epoch}:{0}:{0}:", xid + 1))),
        ends_transaction: true,
    }))
}

/// A hub that began when everything below 20 had happened.
struct Site {
    handle: HubHandle,
    catalog: Arc<Catalog>,
    /// What the log has to tell of the time before.
    earlier: mpsc::Sender<FeedItem>,
    feed: mpsc::Sender<FeedItem>,
    /// How often the log was read for somebody.
    readings: Arc<AtomicUsize>,
}

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

impl Site {
    fn open() -> Self {
        Self::open_with(|log, _, _| {
            log.try_send(FeedItem::Passed(position("e:20:20:")))
                .expect("room");
        })
    }

    /// With a log that tells this when it is read from a position on.
    fn open_with(
        tell: impl Fn(&mpsc::Sender<FeedItem>, &Catalog, Position) + Send + Sync + 'static,
    ) -> Self {
        let (hub, handle) = Hub::new(HubOptions::default(), Arc::new(NoLibrary), Metrics::new());
        let (earlier, coming) = mpsc::channel(100);
        let coming = std::sync::Mutex::new(Some(coming));
        let recent = move |_| {
            let mut coming = coming.lock().expect("no panic");
            coming.take().expect("asked for once only")
        };
        let readings = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&readings);
        let catalog = catalog();
        let of_log = Arc::clone(&catalog);
        let past = move |position| {
            counted.fetch_add(1, Ordering::Relaxed);
            let (log, told) = mpsc::channel(100);
            tell(&log, &of_log, position);
            told
        };
        let hub = hub.with_recent(Arc::new(recent)).with_past(Arc::new(past));
        let (feed, items) = mpsc::channel(100);
        tokio::spawn(hub.run(items, CancellationToken::new()));
        feed.try_send(FeedItem::Catalog(Arc::clone(&catalog)))
            .expect("room");
        feed.try_send(FeedItem::Passed(position("e:20:20:")))
            .expect("room");
        Self {
            handle,
            catalog,
            earlier,
            feed,
            readings,
        }
    }

    /// Somebody comes back who has seen what this contains.
    async fn come_back(&self, seen: &str) -> Mailbox {
        let mailbox = self.handle.join(ADDRESS).await.expect("room");
        let request = SetTopics {
            client_id: mailbox.id().0.to_string(),
            address: ADDRESS,
            principal: Principal::Guest,
            expires_at: None,
            subscriptions: vec![Subscription::parse("posts/*")],
            resume: Resume::stream(Some(seen)),
        };
        self.handle.set_topics(request).await.expect("a subscriber");
        mailbox
    }

    fn tell_earlier(&self, item: FeedItem) {
        self.earlier.try_send(item).expect("room");
    }

    fn readings(&self) -> usize {
        self.readings.load(Ordering::Relaxed)
    }
}

/// The posts that are told, up to this one.
async fn posts_until(mailbox: &mut Mailbox, last: &str) -> Vec<String> {
    let mut posts = Vec::new();
    while posts.last().is_none_or(|post| post != last) {
        let frame = timeout(Duration::from_secs(100), mailbox.recv()).await;
        let frame = frame.expect("a frame in time").expect("no end");
        let text = String::from_utf8_lossy(&frame.into_bytes()).into_owned();
        let Some(data) = text.lines().find_map(|line| line.strip_prefix("data:{")) else {
            continue;
        };
        let data: serde_json::Value = serde_json::from_str(&format!("{{{data}")).expect("JSON");
        posts.push(data["record"]["id"].as_str().expect("an id").to_owned());
    }
    posts
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_log_is_read_once_for_all_who_come_back() {
    let site = Site::open();
    let mut back = Vec::new();
    for seen in ["e:12:12:", "e:17:17:", "e:20:20:", "e:14:16:14"] {
        back.push(site.come_back(seen).await);
    }
    site.tell_earlier(FeedItem::Passed(position("e:12:12:")));
    for xid in 12..21 {
        // The last one the feed tells, too.
        site.tell_earlier(change(&site.catalog, xid));
    }
    site.tell_earlier(FeedItem::Passed(position("e:21:21:")));
    let live = site.feed.send(change(&site.catalog, 20)).await;
    live.expect("a hub");
    for (mailbox, missed) in back.iter_mut().zip([
        &["12", "13", "14", "15", "16", "17", "18", "19", "20"][..],
        &["17", "18", "19", "20"],
        &["20"],
        &["14", "16", "17", "18", "19", "20"],
    ]) {
        assert_eq!(posts_until(mailbox, "20").await, missed);
    }
    assert_eq!(site.readings(), 0);
    // For whom it does not reach back far enough the log is read.
    let mut older = site.come_back("e:11:11:").await;
    site.feed
        .send(change(&site.catalog, 21))
        .await
        .expect("a hub");
    posts_until(&mut older, "21").await;
    assert_eq!(site.readings(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_the_time_before_cannot_be_told_the_log_is_read_for_each() {
    let catalog = catalog();
    let collection = Arc::clone(catalog.find("posts").expect("posts"));
    let gap = FeedItem::Gap(Gap {
        collection,
        reason: GapReason::Retention,
        transaction: None,
    });
    for told in [
        vec![],
        vec![FeedItem::Passed(position("e:12:12:")), gap],
        vec![FeedItem::Passed(position("e:12:12:")), change(&catalog, 12)],
    ] {
        let mut site = Site::open();
        let began = Instant::now();
        let mut back = site.come_back("e:12:12:").await;
        told.into_iter().for_each(|item| site.tell_earlier(item));
        // It breaks off there.
        (site.earlier, _) = mpsc::channel(1);
        site.feed
            .send(change(&site.catalog, 20))
            .await
            .expect("a hub");
        assert_eq!(posts_until(&mut back, "20").await, ["20"]);
        assert_eq!(site.readings(), 1);
        assert!(began.elapsed() < PATIENCE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_answer_is_waited_for_a_while_only() {
    let site = Site::open();
    let began = Instant::now();
    let mut back = site.come_back("e:12:12:").await;
    site.feed
        .send(change(&site.catalog, 20))
        .await
        .expect("a hub");
    assert_eq!(posts_until(&mut back, "20").await, ["20"]);
    assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
}

/// A hub of which Postgres has crashed without its feed having come so far, and somebody who came back meanwhile and was told
/// from the log what has happened until then.
async fn ahead_of_the_feed() -> (Site, Mailbox) {
    let mut site = Site::open_with(|log, catalog, position| match position.epoch() {
        "e" => {
            let believed = position.below(Xid(15), "e.a".into());
            log.try_send(FeedItem::Passed(believed)).expect("room");
        }
        epoch => {
            let seen = position.floor().xmax().0;
            for xid in seen..22 {
                let change = change_at(catalog, xid, Some(epoch));
                log.try_send(change).expect("room");
            }
            let passed = FeedItem::Passed(self::position("e.a:22:22:"));
            log.try_send(passed).expect("room");
        }
    });
    // There is no more to remember.
    (site.earlier, _) = mpsc::channel(1);
    let mut back = site.come_back("e:18:18:").await;
    let told = posts_until(&mut back, "21").await;
    assert_eq!(told, ["15", "16", "17", "18", "19", "20", "21"]);
    (site, back)
}

#[tokio::test(start_paused = true)]
async fn who_was_told_from_the_log_what_the_feed_has_yet_to_tell_is_not_told_again_after_a_crash() {
    let (site, mut back) = ahead_of_the_feed().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Of what a feed tells first after a crash nobody can say how far it is.
    for item in [
        change_at(&site.catalog, 20, None),
        change_at(&site.catalog, 21, None),
        FeedItem::Passed(position("e.a:22:22:")),
        change_at(&site.catalog, 22, Some("e.a")),
    ] {
        site.feed.send(item).await.expect("a hub");
    }
    assert_eq!(posts_until(&mut back, "22").await, ["22"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_feed_that_has_come_further_loads_afresh() {
    let (site, mut back) = ahead_of_the_feed().await;
    let passed = FeedItem::Passed(position("e.b:30:30:"));
    site.feed.send(passed).await.expect("a hub");
    loop {
        let frame = timeout(Duration::from_secs(100), back.recv()).await;
        let frame = frame.expect("a frame in time").expect("no end");
        let text = String::from_utf8_lossy(&frame.into_bytes()).into_owned();
        if text.contains("data:{") {
            assert!(text.contains("resync"), "{text}");
            break;
        }
    }
}
