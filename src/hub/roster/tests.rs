use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::event::FeedItem;
use crate::hub::{HubOptions, Mailbox, Resume, SetTopics};
use crate::related::{FetchError, Found, Library, Reading, Want};
use crate::telemetry::Metrics;
use crate::topic::Subscription;

/// Nothing is looked up here.
struct Nothing;

impl Library for Nothing {
    fn open(&self) -> Box<dyn Reading> {
        Box::new(Self)
    }
}

impl Reading for Nothing {
    fn fetch<'a>(
        &'a mut self,
        _: Vec<Want>,
    ) -> BoxFuture<'a, Result<Vec<(Want, Found)>, FetchError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

/// A hub at work.
struct Site {
    handle: HubHandle,
    metrics: Metrics,
    _feed: mpsc::Sender<FeedItem>,
}

impl Site {
    fn open(options: HubOptions) -> Self {
        let metrics = Metrics::new();
        let (hub, handle) = Hub::new(options, Arc::new(Nothing), metrics.clone());
        let (feed, items) = mpsc::channel(1);
        tokio::spawn(hub.run(items, CancellationToken::new()));
        Self {
            handle,
            metrics,
            _feed: feed,
        }
    }

    async fn join(&self, address: u8, principal: Principal, topics: &[&str]) -> Mailbox {
        let address = IpAddr::from([10, 0, 0, address]);
        let mailbox = self.handle.join(address).await.expect("room");
        let request = SetTopics {
            client_id: mailbox.id().0.to_string(),
            address,
            principal,
            expires_at: None,
            subscriptions: topics.iter().map(|one| Subscription::parse(one)).collect(),
            resume: Resume::Live,
        };
        self.handle.set_topics(request).await.expect("a subscriber");
        mailbox
    }

    async fn count(&self, which: &Which) -> usize {
        let count = self.handle.count_subscribers(which.clone()).await;
        count.expect("a hub")
    }
}

fn root() -> Principal {
    Principal::Superuser { id: "r1".into() }
}

#[tokio::test]
async fn subscribers_are_found_by_who_and_where_they_are_and_what_they_asked_for() {
    let site = Site::open(HubOptions::default());
    let _guest = site.join(1, Principal::Guest, &["posts/*", "chat?x"]).await;
    let root = site.join(2, root(), &["posts/*?options=1"]).await;
    let text = |text: &str| Some(text.to_owned());
    for (which, count) in [
        (Which::default(), 2),
        (
            Which {
                guests: Some(true),
                ..Which::default()
            },
            1,
        ),
        (
            Which {
                guests: Some(false),
                ..Which::default()
            },
            1,
        ),
        (
            Which {
                collection: text("_superusers"),
                ..Which::default()
            },
            1,
        ),
        (
            Which {
                collection: text(SUPERUSERS_ID),
                record: text("r1"),
                ..Which::default()
            },
            1,
        ),
        (
            Which {
                record: text("r2"),
                ..Which::default()
            },
            0,
        ),
        // Guests are in no collection.
        (
            Which {
                collection: text(""),
                ..Which::default()
            },
            0,
        ),
        (
            Which {
                record: text(""),
                ..Which::default()
            },
            0,
        ),
        (
            Which {
                address: Some([10, 0, 0, 2].into()),
                ..Which::default()
            },
            1,
        ),
        (
            Which {
                topic: text("posts/*"),
                ..Which::default()
            },
            2,
        ),
        (
            Which {
                topic: text("chat"),
                ..Which::default()
            },
            1,
        ),
        (
            Which {
                topic: text("chat"),
                guests: Some(false),
                ..Which::default()
            },
            0,
        ),
    ] {
        assert_eq!(site.count(&which).await, count, "{which:?}");
    }
    let shown = site.handle.subscriber(&root.id().0).await.expect("a hub");
    let shown = shown.expect("root is there");
    assert_eq!(shown.subscriptions, Some(vec!["posts/*?options=1".into()]));
    assert_eq!((shown.waiting, shown.delivered), (0, 0));
    assert_eq!(shown.principal, self::root());
    assert_eq!(site.handle.subscriber("x").await, Ok(None));
}

#[tokio::test]
async fn a_long_roster_is_read_in_pieces_and_page_by_page_names_everybody_once() {
    let site = Site::open(HubOptions {
        subscribers_per_address_max: usize::MAX,
        ..HubOptions::default()
    });
    let mut mailboxes = Vec::new();
    for _ in 0..2 * CHUNK_COST + 500 {
        mailboxes.push(site.handle.join([10, 0, 0, 1].into()).await.expect("room"));
    }
    let everybody = Arc::new(Which::default());
    let list = Task::List {
        skip: 0,
        take: usize::MAX,
    };
    let piece = site.handle.walk(&everybody, 0, list).await.expect("a hub");
    assert_eq!((piece.met, piece.next), (CHUNK_COST, Some(CHUNK_COST)));
    let mut named = Vec::new();
    loop {
        let page = site
            .handle
            .roster(Which::default(), named.len(), 999, true)
            .await;
        let page = page.expect("a hub");
        assert_eq!(page.total, Some(mailboxes.len()));
        if page.subscribers.is_empty() {
            break;
        }
        named.extend(page.subscribers.into_iter().map(|one| one.id.0));
    }
    let mut joined: Vec<_> = mailboxes
        .iter()
        .map(|one| Arc::clone(&one.id().0))
        .collect();
    named.sort();
    joined.sort();
    assert_eq!(named, joined);
    // Without a total nobody goes to the end.
    let page = site
        .handle
        .roster(Which::default(), 0, 3, false)
        .await
        .expect("a hub");
    assert_eq!((page.subscribers.len(), page.total), (3, None));
}

#[tokio::test]
async fn whoever_is_disconnected_still_gets_what_waits_and_others_stay() {
    let site = Site::open(HubOptions::default());
    let mut one = site.join(1, root(), &["chat"]).await;
    let mut two = site.join(1, root(), &[]).await;
    let mut guest = site.join(1, Principal::Guest, &[]).await;
    let data = RawValue::from_string("[1]".to_owned()).expect("JSON");
    let message = DirectMessage::new("chat", &data).expect("a message");
    let sent = site.handle.send_to(&one.id().0, message.clone()).await;
    assert_eq!(sent, Ok(()));
    let which = Which {
        record: Some("r1".to_owned()),
        ..Which::default()
    };
    assert_eq!(site.handle.disconnect_all(which).await, Ok(2));
    let frame = one.recv().await.expect("what waited");
    assert_eq!(frame.into_bytes(), "event:chat\ndata:[1]\n\n");
    assert_eq!(one.recv().await, None);
    assert_eq!(two.recv().await, None);
    assert!(
        timeout(Duration::from_millis(50), guest.recv())
            .await
            .is_err()
    );
    let sent = site.handle.send_to(&one.id().0, message).await;
    assert_eq!(sent, Err(DirectError::UnknownClient));
    assert_eq!(site.handle.disconnect(&guest.id().0).await, Ok(true));
    assert_eq!(site.handle.disconnect(&guest.id().0).await, Ok(false));
    assert_eq!(guest.recv().await, None);
    let counted = "rowcast_disconnects_total{reason=\"managed\"} 3";
    assert!(site.metrics.encode().contains(counted));
}

#[tokio::test]
async fn a_message_for_a_full_mailbox_lets_its_subscriber_go_and_says_so() {
    let site = Site::open(HubOptions {
        mailbox_frames: 1,
        ..HubOptions::default()
    });
    let slow = site.join(1, Principal::Guest, &[]).await;
    let data = RawValue::from_string("{}".to_owned()).expect("JSON");
    let message = DirectMessage::new("chat", &data).expect("a message");
    let id = &slow.id().0;
    assert_eq!(site.handle.send_to(id, message.clone()).await, Ok(()));
    let shown = site
        .handle
        .subscriber(id)
        .await
        .expect("a hub")
        .expect("it is there");
    assert_eq!((shown.waiting, shown.delivered), (1, 0));
    let sent = site.handle.send_to(id, message).await;
    assert_eq!(sent, Err(DirectError::TooSlow));
    assert_eq!(site.count(&Which::default()).await, 0);
}
