//! A whole hub: what one change costs that concerns one of so many, and what another policy costs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use futures_util::future::{BoxFuture, FutureExt, ready};
use rowcast::auth::{AuthRecord, Principal};
use rowcast::catalog::{Catalog, Collection, CollectionKey, Field, FieldKind};
use rowcast::event::{Action, ChangeEvent, FeedItem, RecordId, parse_image};
use rowcast::hub::{Hub, HubHandle, HubOptions, Mailbox, Resume, SetTopics};
use rowcast::policy::{Policy, PolicyRows};
use rowcast::related::{FetchError, Found, Library, Reading, Want};
use rowcast::telemetry::Metrics;
use rowcast::topic::Subscription;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// Found by what must be equal.
const RULE: &str = "owner = @request.auth.id";
/// The same to those who ask, but nobody can be found by it.
const OPAQUE: &str = "owner ~ @request.auth.id";
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// How subscriptions are spread over filters.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// All wrote the same.
    Rule,
    /// Each wrote a filter of its own, under a public rule.
    Filter,
}

/// Measures and prints the table.
pub fn print(quick: bool) -> Result<(), Error> {
    let sizes: &[usize] = match quick {
        true => &[100, 1_000],
        false => &[100, 1_000, 10_000, 100_000],
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "one of so many receives a change",
        "µs by rule",
        "µs by own filters",
        "µs one by one",
        "ms another policy",
        "µs to subscribe",
        "bytes a subscription, index",
    ]);
    for &size in sizes {
        table.add_row(row(size)?);
    }
    println!("\n{table}");
    Ok(())
}

fn row(size: usize) -> Result<Vec<String>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut site = Site::open(size, Way::Rule, RULE).await?;
        let before = resident()?;
        let first = site.changes(1).await?;
        let index = resident()?.saturating_sub(before) / size;
        let by_rule = site.changes(5_000).await?;
        site.set_policy(RULE).await?;
        let policy = site.changes(1).await?.saturating_sub(by_rule);
        site.set_policy(OPAQUE).await?;
        let count = (200_000 / size).clamp(3, 200);
        site.changes(1).await?;
        let one_by_one = site.changes(count).await?;
        let subscribe = site.subscribed;
        drop(site);
        let mut site = Site::open(size, Way::Filter, "").await?;
        site.changes(1).await?;
        let by_filter = site.changes(5_000).await?;
        let micros = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e6);
        let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        Ok(vec![
            size.to_string(),
            micros(by_rule),
            micros(by_filter),
            micros(one_by_one),
            format!("{} (first: {})", millis(policy), millis(first)),
            micros(subscribe),
            index.to_string(),
        ])
    })
}

/// A hub with subscribers, of whom one is looked at.
struct Site {
    catalog: Arc<Catalog>,
    items: mpsc::Sender<FeedItem>,
    mailboxes: Vec<Mailbox>,
    /// How long each took to join and subscribe.
    subscribed: Duration,
    _handle: HubHandle,
}

impl Site {
    async fn open(size: usize, way: Way, rule: &str) -> Result<Self, Error> {
        let options = HubOptions {
            subscribers_per_address_max: size,
            ..HubOptions::default()
        };
        let (hub, handle) = Hub::new(options, Arc::new(NoLibrary), Metrics::new());
        let (items, feed) = mpsc::channel(1024);
        tokio::spawn(hub.run(feed, CancellationToken::new()));
        let began = Instant::now();
        let mut mailboxes = Vec::with_capacity(size);
        for number in 0..size {
            mailboxes.push(subscriber(&handle, number, way).await?);
        }
        let count = u32::try_from(size)?;
        let mut site = Self {
            catalog: Arc::default(),
            items,
            mailboxes,
            subscribed: began.elapsed() / count,
            _handle: handle,
        };
        site.set_policy(rule).await?;
        Ok(site)
    }

    async fn set_policy(&mut self, rule: &str) -> Result<(), Error> {
        let mut policy = PolicyRows::default();
        let row = ["anyone", "posts", "list", rule, "allow", ""];
        policy.add(1, "p", &row.map(str::to_owned));
        let fields = ["id", "owner", "title"].map(|name| Field::new(name, FieldKind::Text));
        let collection = Collection {
            policy: Arc::new(Policy::new(policy)),
            ..Collection::new(CollectionKey(1), "posts", fields.into())
        };
        self.catalog = Arc::new(Catalog::new([collection]));
        let item = FeedItem::Catalog(Arc::clone(&self.catalog));
        Ok(self.items.send(item).await?)
    }

    /// What one of so many changes takes, from the feed to the mailbox.
    async fn changes(&mut self, count: usize) -> Result<Duration, Error> {
        let collection = self.catalog.find("posts").ok_or("no posts")?;
        let json = r#"{"id":"p1","owner":"u7x","title":"What a change costs"}"#;
        let event = FeedItem::Change(Arc::new(ChangeEvent {
            collection: Arc::clone(collection),
            action: Action::Create,
            id: RecordId("p1".into()),
            old: None,
            new: Some(parse_image(json.into(), collection)?.image),
            transaction: None,
            position: None,
            ends_transaction: false,
        }));
        let (items, mailbox) = (self.items.clone(), &mut self.mailboxes[7]);
        let began = Instant::now();
        let feed = tokio::spawn(async move {
            for _ in 0..count {
                if items.send(event.clone()).await.is_err() {
                    return;
                }
            }
        });
        for _ in 0..count {
            mailbox.recv().await.ok_or("the stream ended")?;
        }
        let took = began.elapsed() / u32::try_from(count)?;
        feed.await?;
        Ok(took)
    }
}

async fn subscriber(handle: &HubHandle, number: usize, way: Way) -> Result<Mailbox, Error> {
    let mailbox = handle.join(ADDRESS).await?;
    let id = format!("u{number}x");
    let text = match way {
        Way::Rule => "posts/*".to_owned(),
        Way::Filter => format!(r#"posts/*?options={{"query":{{"filter":"owner='{id}'"}}}}"#),
    };
    let record = AuthRecord::of_claims("users", &id, serde_json::Map::new());
    let request = SetTopics {
        client_id: mailbox.id().0.to_string(),
        address: ADDRESS,
        principal: Principal::Record(Arc::new(record)),
        expires_at: None,
        subscriptions: vec![Subscription::parse(&text)],
        resume: Resume::Live,
    };
    handle.set_topics(request).await?;
    Ok(mailbox)
}

/// Bytes of memory that the process holds.
fn resident() -> Result<usize, Error> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).ok_or("no figure")?.parse()?;
    Ok(pages * 4096)
}

/// No rule here reads other records.
struct NoLibrary;

impl Library for NoLibrary {
    fn open(&self) -> Box<dyn Reading> {
        Box::new(Self)
    }
}

impl Reading for NoLibrary {
    fn fetch<'a>(
        &'a mut self,
        _: Vec<Want>,
    ) -> BoxFuture<'a, Result<Vec<(Want, Found)>, FetchError>> {
        ready(Err(FetchError::Deadline)).boxed()
    }
}
