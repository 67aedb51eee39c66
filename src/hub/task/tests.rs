//! Rounds of lookups, with a library that answers as it is told and a rule that wants what it is told.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::*;
use crate::auth::Principal;
use crate::catalog::{Collection, CollectionKey, Field, FieldKind};
use crate::event::{Action, ChangeEvent, RecordId, parse_image};
use crate::policy::{Policy, PolicyRows};
use crate::related::{FetchError, Found, Reading, RelatedRow, Want};
use crate::rules::{RequestContext, Row};
use crate::topic::Subscription;

/// What happened to a library: `open`, or the texts that were asked for in one fetch.
type Story = Arc<Mutex<Vec<String>>>;

/// Answers every want with one row, after failing so many times.
struct Shelves {
    story: Story,
    failures: Arc<Mutex<usize>>,
}

struct Open(Story, Arc<Mutex<usize>>);

impl Library for Shelves {
    fn open(&self) -> Box<dyn Reading> {
        tell(&self.story, "open".to_owned());
        Box::new(Open(Arc::clone(&self.story), Arc::clone(&self.failures)))
    }
}

impl Reading for Open {
    fn fetch<'a>(
        &'a mut self,
        wants: Vec<Want>,
    ) -> BoxFuture<'a, Result<Vec<(Want, Found)>, FetchError>> {
        let texts: Vec<_> = wants.iter().map(|want| &*want.equals[0].1).collect();
        tell(&self.0, texts.join(" "));
        let mut failures = self.1.lock().expect("no panic");
        let outcome = match *failures {
            0 => Ok(wants.into_iter().map(answered).collect()),
            _ => Err(FetchError::Deadline),
        };
        *failures = failures.saturating_sub(1);
        std::future::ready(outcome).boxed()
    }
}

fn tell(story: &Story, what: String) {
    story.lock().expect("no panic").push(what);
}

fn answered(want: Want) -> (Want, Found) {
    let json = format!(r#"{{"id":"{}"}}"#, want.equals[0].1);
    let image = parse_image(json.into(), &want.collection).expect("an image");
    let row = RelatedRow {
        id: RecordId(Arc::clone(&want.equals[0].1)),
        image: image.image,
    };
    (want, Found::Rows(vec![row]))
}

fn collection() -> Arc<Collection> {
    let fields = vec![Field::new("id", FieldKind::Text)];
    Arc::new(Collection {
        policy: Arc::new(Policy::new(PolicyRows::for_everybody(&[(
            "posts", "list", "",
        )]))),
        ..Collection::new(CollectionKey(1), "posts", fields)
    })
}

/// Wants as many rows, one after the other, as the record's id has letters behind its first; then passes.
/// Record `p` is public.
fn follow_letters(row: Row<'_>, request: &RequestContext<'_>) -> bool {
    let id = &*row.id.0;
    (1..id.len()).all(|length| {
        let want = Want {
            collection: collection(),
            equals: vec![(0, id[..=length].into())],
            before: None,
        };
        request.shelf.rows(&want).is_ok()
    })
}

/// What a guest receives of changes to these records, and what the library was asked.
async fn publish(ids: &[&str], failures: usize) -> (Vec<String>, Vec<String>) {
    let story = Story::default();
    let library = Shelves {
        story: Arc::clone(&story),
        failures: Arc::new(Mutex::new(failures)),
    };
    let metrics = Metrics::new();
    let (mut hub, handle) = Hub::new(HubOptions::default(), Arc::new(library), metrics);
    hub.access.probe = Some(follow_letters);
    let (items, feed) = mpsc::channel(BATCH_MAX);
    let address = IpAddr::from([127, 0, 0, 1]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(hub.run(feed, stop));
    let mut mailbox = handle.join(address).await.expect("room");
    let request = SetTopics {
        client_id: mailbox.id().0.to_string(),
        address,
        principal: Principal::Guest,
        expires_at: None,
        subscriptions: vec![Subscription::parse("posts/*")],
    };
    handle.set_topics(request).await.expect("a subscriber");
    for id in ids {
        let json = format!(r#"{{"id":"{id}"}}"#);
        let image = parse_image(json.into(), &collection()).expect("an image");
        let event = ChangeEvent {
            collection: collection(),
            action: Action::Create,
            id: RecordId((*id).into()),
            old: None,
            new: Some(image.image),
            transaction: None,
            position: None,
            ends_transaction: false,
        };
        items
            .try_send(FeedItem::Change(Arc::new(event)))
            .expect("room");
    }
    drop(items);
    let mut received = Vec::new();
    let reading = async {
        while let Some(frame) = mailbox.recv().await {
            let text = String::from_utf8_lossy(&frame.into_bytes()).into_owned();
            let resync = text.contains("resync");
            let id = ids
                .iter()
                .rev()
                .find(|id| text.contains(&format!(r#""id":"{id}""#)));
            received.push(match (resync, id) {
                (true, _) => "resync".to_owned(),
                (false, id) => id.map_or(text, |id| (*id).to_owned()),
            });
        }
    };
    timeout(Duration::from_secs(60), reading)
        .await
        .expect("the stream ends");
    running.await.expect("no panic");
    let story = story.lock().expect("no panic").clone();
    (received, story)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_up_where_rules_need_nothing() {
    let (received, story) = publish(&["p", "q"], 0).await;
    assert_eq!(received, ["p", "q"]);
    assert_eq!(story, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_wants_is_looked_up_together_step_by_step_in_one_reading() {
    let (received, story) = publish(&["pab", "q", "rc", "pad"], 0).await;
    assert_eq!(received, ["pab", "q", "rc", "pad"]);
    assert_eq!(story, ["open", "pa rc", "pab pad"]);
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_is_lost_is_begun_anew_and_nothing_of_it_is_kept() {
    let (received, story) = publish(&["pab"], 2).await;
    assert_eq!(received, ["pab"]);
    assert_eq!(story, ["open", "pa", "open", "pa", "open", "pa", "pab"]);
}

#[tokio::test(start_paused = true)]
async fn who_may_have_missed_something_is_told_so_once_when_patience_ends() {
    let began = Instant::now();
    let (received, story) = publish(&["pa", "q", "rb", "rc"], usize::MAX).await;
    assert_eq!(received, ["resync", "q"]);
    assert_eq!(began.elapsed().as_secs(), 5);
    let fetches = story.iter().filter(|told| *told != "open").count();
    assert!((5..20).contains(&fetches), "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn rounds_come_to_an_end() {
    let endless = "p".repeat(ROUNDS_MAX + 3);
    let (received, story) = publish(&[&endless, "q"], 0).await;
    assert_eq!(received, ["q"]);
    assert_eq!(story.len(), 1 + ROUNDS_MAX);
}
