//! Rounds of lookups, with rules that read other records and a library that answers as it is told.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::{advance, timeout};

use super::*;
use crate::auth::Principal;
use crate::catalog::{Collection, CollectionKey, Field, FieldKind, Relation};
use crate::event::{Action, ChangeEvent, RecordId, parse_image};
use crate::hub::{Resume, SetTopics};
use crate::policy::{Policy, PolicyRows};
use crate::related::{FetchError, Found, Reading, RelatedRow, Want};
use crate::topic::Subscription;

/// Two relations to nodes, one of them followed a step further, and a list of them. A post that names no node
/// needs none.
const RULE: &str = r#"(one = "" || one.open = "yes") && (two = "" || two.next.open = "yes")
    && (many:length = 0 || many.open = "yes")"#;

/// What happened to a library: `open`, or the ids that were asked for in one fetch.
type Story = Arc<Mutex<Vec<String>>>;

/// How a library answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// Every node is there, and leads to the one with a longer id.
    Willing,
    /// One want at a time.
    Sparing,
    /// Not at all, so many times.
    Failing(usize),
    /// It did not find nodes in time, and is not asked for them before then.
    HoldsBack(Instant),
}

#[derive(Clone)]
struct Nodes {
    story: Story,
    mood: Arc<Mutex<Mood>>,
}

impl Nodes {
    fn new(mood: Mood) -> Self {
        Self {
            story: Story::default(),
            mood: Arc::new(Mutex::new(mood)),
        }
    }

    fn tell(&self, what: String) {
        self.story.lock().expect("no panic").push(what);
    }

    fn told(&self) -> Vec<String> {
        self.story.lock().expect("no panic").clone()
    }

    fn become_of(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }
}

impl Library for Nodes {
    fn open(&self) -> Box<dyn Reading> {
        self.tell("open".to_owned());
        Box::new(self.clone())
    }
}

impl Reading for Nodes {
    fn fetch<'a>(
        &'a mut self,
        mut wants: Vec<Want>,
    ) -> BoxFuture<'a, Result<Vec<(Want, Found)>, FetchError>> {
        let texts: Vec<_> = wants.iter().map(|want| &*want.equals[0].1).collect();
        self.tell(texts.join(" "));
        let mut mood = self.mood.lock().expect("no panic");
        let outcome = match &mut *mood {
            Mood::Failing(times @ 1..) => {
                *times -= 1;
                Err(FetchError::Deadline)
            }
            Mood::HoldsBack(until) => {
                let until = *until;
                let held_back = |want| (want, Found::HeldBack { until });
                Ok(wants.into_iter().map(held_back).collect())
            }
            Mood::Sparing => {
                wants.truncate(1);
                Ok(wants.into_iter().map(answered).collect())
            }
            Mood::Willing | Mood::Failing(_) => Ok(wants.into_iter().map(answered).collect()),
        };
        std::future::ready(outcome).boxed()
    }
}

fn answered(want: Want) -> (Want, Found) {
    let id = &*want.equals[0].1;
    let json = format!(r#"{{"id":"{id}","next":"{id}+","open":"yes"}}"#);
    let row = RelatedRow {
        id: RecordId(id.into()),
        image: image(&json, &want.collection),
    };
    (want, Found::Rows(vec![row]))
}

fn image(json: &str, collection: &Collection) -> crate::event::RowImage {
    parse_image(json.into(), collection)
        .expect("an image")
        .image
}

/// Posts and nodes under these rules.
fn catalog(policy: PolicyRows) -> Arc<Catalog> {
    let text = |name| Field::new(name, FieldKind::Text);
    let node = |name, kind| Field {
        relation: Some(Relation {
            collection: CollectionKey(2),
            field: "id".into(),
        }),
        ..Field::new(name, kind)
    };
    let list = FieldKind::Array(Box::new(FieldKind::Text));
    let posts = vec![
        text("id"),
        node("one", FieldKind::Text),
        node("two", FieldKind::Text),
        node("many", list),
    ];
    let nodes = vec![text("id"), node("next", FieldKind::Text), text("open")];
    let policy = Arc::new(Policy::new(policy));
    let of = |key, name, fields| Collection {
        key_fields: vec![0],
        policy: Arc::clone(&policy),
        ..Collection::new(CollectionKey(key), name, fields)
    };
    Arc::new(Catalog::new([of(1, "posts", posts), of(2, "nodes", nodes)]))
}

/// A hub at work with one subscriber, a guest.
struct Site {
    catalog: Arc<Catalog>,
    items: mpsc::Sender<FeedItem>,
    mailbox: Mailbox,
    running: JoinHandle<()>,
}

impl Site {
    async fn open(nodes: &Nodes) -> Self {
        let library = Arc::new(nodes.clone());
        let (hub, handle) = Hub::new(HubOptions::default(), library, Metrics::new());
        let (items, feed) = mpsc::channel(BATCH_MAX);
        let running = tokio::spawn(hub.run(feed, CancellationToken::new()));
        let address = IpAddr::from([127, 0, 0, 1]);
        let mailbox = handle.join(address).await.expect("room");
        let request = SetTopics {
            client_id: mailbox.id().0.to_string(),
            address,
            principal: Principal::Guest,
            expires_at: None,
            subscriptions: vec![Subscription::parse("posts/*")],
            resume: Resume::Live,
        };
        handle.set_topics(request).await.expect("a subscriber");
        let mut site = Self {
            catalog: Arc::default(),
            items,
            mailbox,
            running,
        };
        site.set_rule(RULE);
        site
    }

    /// Posts have this list rule from here on.
    fn set_rule(&mut self, rule: &str) {
        self.catalog = catalog(PolicyRows::for_everybody(&[("posts", "list", rule)]));
        let newest = FeedItem::Catalog(Arc::clone(&self.catalog));
        self.items.try_send(newest).expect("room");
    }

    /// Posts are created, all in one batch: `p:one=a` has the id p and names node a.
    fn publish(&self, posts: &[&str]) {
        let collection = self.catalog.find("posts").expect("posts");
        for post in posts {
            let (id, node) = post.split_once(':').unwrap_or((post, ""));
            let mut row = serde_json::json!({ "id": id, "one": "", "two": "", "many": [] });
            match node.split_once('=') {
                Some(("many", nodes)) => row["many"] = nodes.split(' ').collect(),
                Some((field, node)) => row[field] = node.into(),
                None => {}
            }
            let event = ChangeEvent {
                collection: Arc::clone(collection),
                action: Action::Create,
                id: RecordId(id.into()),
                old: None,
                new: Some(image(&row.to_string(), collection)),
                transaction: None,
                position: None,
                ends_transaction: false,
            };
            let item = FeedItem::Change(Arc::new(event));
            self.items.try_send(item).expect("room");
        }
    }

    /// The id of the next post that is received, or `resync`.
    async fn next(&mut self) -> Option<String> {
        let frame = timeout(Duration::from_secs(100), self.mailbox.recv()).await;
        let frame = frame.expect("a frame, or the end, in time")?;
        let text = String::from_utf8_lossy(&frame.into_bytes()).into_owned();
        let data = text.lines().find_map(|line| line.strip_prefix("data:"));
        let data: serde_json::Value = serde_json::from_str(data.expect("data")).expect("JSON");
        let what = match data["action"] == "resync" {
            true => &data["action"],
            false => &data["record"]["id"],
        };
        what.as_str().map(str::to_owned)
    }

    /// Everything up to the end of the feed.
    async fn end(mut self) -> Vec<String> {
        drop(self.items);
        (self.items, _) = mpsc::channel(1);
        let mut received = Vec::new();
        while let Some(what) = self.next().await {
            received.push(what);
        }
        self.running.await.expect("no panic");
        received
    }
}

/// What a guest receives of these posts, and what the library was asked.
async fn publish(posts: &[&str], mood: Mood) -> (Vec<String>, Vec<String>) {
    let nodes = Nodes::new(mood);
    let site = Site::open(&nodes).await;
    site.publish(posts);
    (site.end().await, nodes.told())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_up_where_rules_need_nothing() {
    let (received, story) = publish(&["p", "q"], Mood::Willing).await;
    assert_eq!(received, ["p", "q"]);
    assert_eq!(story, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_wants_is_looked_up_together_step_by_step_in_one_reading() {
    let posts = ["p:two=a", "q", "r:one=c", "s:two=d"];
    let (received, story) = publish(&posts, Mood::Willing).await;
    assert_eq!(received, ["p", "q", "r", "s"]);
    assert_eq!(story, ["open", "a c d", "a+ d+"]);
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_is_lost_is_begun_anew_and_nothing_of_it_is_kept() {
    let (received, story) = publish(&["p:two=a"], Mood::Failing(2)).await;
    assert_eq!(received, ["p"]);
    assert_eq!(story, ["open", "a", "open", "a", "open", "a", "a+"]);
}

#[tokio::test(start_paused = true)]
async fn who_may_have_missed_something_is_told_so_once_when_patience_ends() {
    let began = Instant::now();
    let posts = ["p:one=a", "q", "r:one=b", "s:two=c"];
    let (received, story) = publish(&posts, Mood::Failing(usize::MAX)).await;
    assert_eq!(received, ["resync", "q"]);
    assert_eq!(began.elapsed().as_secs(), 5);
    let fetches = story.iter().filter(|told| *told != "open").count();
    assert!((5..20).contains(&fetches), "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn rounds_come_to_an_end() {
    let many: Vec<String> = (0..ROUNDS_MAX + 3).map(|n| format!("n{n}")).collect();
    let post = format!("p:many={}", many.join(" "));
    let (received, story) = publish(&[&post, "q"], Mood::Sparing).await;
    assert_eq!(received, ["q"]);
    assert_eq!(story.len(), 1 + ROUNDS_MAX);
}

#[tokio::test(start_paused = true)]
async fn rows_held_back_make_nobody_wait_and_who_may_miss_something_is_told_at_both_ends_of_the_pause()
 {
    let pause = Duration::from_secs(5);
    let began = Instant::now();
    let nodes = Nodes::new(Mood::HoldsBack(began + pause));
    let mut site = Site::open(&nodes).await;
    site.publish(&["p:one=a", "q", "r:one=b"]);
    assert_eq!(site.next().await.as_deref(), Some("resync"));
    assert_eq!(site.next().await.as_deref(), Some("q"));
    // What comes later is missed, too, but is no reason to tell it at once.
    for post in ["s", "t"] {
        advance(Duration::from_secs(1)).await;
        site.publish(&[&format!("x{post}:two=a"), post]);
        assert_eq!(site.next().await.as_deref(), Some(post));
    }
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(site.next().await.as_deref(), Some("resync"));
    assert_eq!(began.elapsed().as_secs(), pause.as_secs());
    nodes.become_of(Mood::Willing);
    site.publish(&["u:one=a"]);
    assert_eq!(site.end().await, ["u"]);
}

#[tokio::test(start_paused = true)]
async fn who_missed_nothing_during_a_pause_is_told_once_and_a_new_pause_tells_anew() {
    let pause = Duration::from_secs(5);
    let nodes = Nodes::new(Mood::HoldsBack(Instant::now() + pause));
    let mut site = Site::open(&nodes).await;
    site.publish(&["p:one=a", "r:one=b"]);
    assert_eq!(site.next().await.as_deref(), Some("resync"));
    advance(pause).await;
    nodes.become_of(Mood::HoldsBack(Instant::now() + pause));
    site.publish(&["s:one=a", "t"]);
    assert_eq!(site.next().await.as_deref(), Some("resync"));
    assert_eq!(site.end().await, ["t"]);
}

#[tokio::test(start_paused = true)]
async fn whom_the_rows_held_back_do_not_concern_is_told_nothing() {
    for (post, received) in [("q:two=a", &["p"][..]), ("q:one=a", &["p", "resync"])] {
        let until = Instant::now() + Duration::from_secs(5);
        let mut site = Site::open(&Nodes::new(Mood::HoldsBack(until))).await;
        site.set_rule("(one.next.open = 'yes' && two = '') || id = 'p'");
        site.publish(&["p:one=a", post]);
        assert_eq!(site.end().await, received, "{post}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_are_not_looked_up_where_another_part_of_the_rule_decides() {
    let nodes = Nodes::new(Mood::Willing);
    let mut site = Site::open(&nodes).await;
    site.set_rule("(one.open = 'yes' && id = 'q') || id = 'p'");
    site.publish(&["n:one=a", "p:one=a", "o:one=a"]);
    assert_eq!(site.end().await, ["p"]);
    assert_eq!(nodes.told(), [""; 0]);
}
