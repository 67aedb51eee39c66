//! One run: a seed's world, in phases between which nothing happens, so that rules may change there.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::embedded::Cluster;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::chaos::{self, Fault, Served};
use super::clients::{Site, Subscriber};
use super::policy::{Policy, Wanted, Who};
use super::verdict::{Phase, circle};
use super::world::{Collection, PEOPLE};
use super::writers::Writer;
use crate::support::feed::{run as execute, text};
use crate::support::process::{free_port, ready};
use crate::support::{DEADLINE, TestDatabase, client, cluster_options, database};

/// Statements of one phase.
const PHASE_STEPS: usize = 125;
const WRITERS: usize = 4;
const SUBSCRIBERS: usize = 8;
/// Every so many seeds have a Postgres of their own, which may be killed.
const OWN_CLUSTER: u64 = 5;

/// Where a run's tables are.
enum Place {
    Shared(TestDatabase),
    Own(Box<Cluster>),
}

impl Place {
    async fn new(seed: u64) -> Self {
        if !seed.is_multiple_of(OWN_CLUSTER) {
            return Self::Shared(database().await);
        }
        let cluster = block_in_place(|| {
            let mut options = cluster_options();
            // A commit that was told of must not be undone by the crash.
            options.fsync = true;
            Cluster::start(&options).expect("a private Postgres")
        });
        let database = Database::new(&DatabaseOptions::new(cluster.url("postgres"))).unwrap();
        migrate(&database).await.unwrap();
        Self::Own(Box::new(cluster))
    }

    fn url(&self) -> String {
        match self {
            Self::Shared(database) => database.url.clone(),
            Self::Own(cluster) => cluster.url("postgres"),
        }
    }

    fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Shared(_) => None,
            Self::Own(cluster) => Some(cluster),
        }
    }
}

struct Run {
    seed: u64,
    rng: StdRng,
    collections: Vec<Collection>,
    policy: Policy,
    served: Served,
    subscribers: Vec<Subscriber>,
    has_merge: bool,
    events: usize,
    resyncs: usize,
    transactions: usize,
    faults: Vec<Fault>,
    place: Place,
}

/// Runs a seed's phases until all steps are done; panics with all that was wrong.
pub async fn run(seed: u64, steps: usize) {
    let began = Instant::now();
    println!(
        "oracle: seed {seed}, {steps} steps; again with ROWCAST_FEED_SEED={seed} ROWCAST_FEED_STEPS={steps}"
    );
    let mut run = Run::new(seed).await;
    let mut left = steps;
    let mut phase = 0;
    while left > 0 {
        phase += 1;
        let now = left.min(PHASE_STEPS);
        left -= now;
        run.phase(phase, now).await;
        run.change().await;
    }
    println!(
        "oracle: seed {seed}: {} events of {} transactions were right, {} resyncs, {:?} happened, {:?}",
        run.events,
        run.transactions,
        run.resyncs,
        run.faults,
        began.elapsed()
    );
    let _ = fs::remove_file(&run.served.log);
}

impl Run {
    async fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let place = Place::new(seed).await;
        let url = place.url();
        let admin = client(&url).await;
        let mut collections = Collection::draw(&mut rng);
        create(&admin, &mut collections).await;
        let policy = Policy::draw(&mut rng, &collections);
        execute(&admin, &policy.statements(&collections)).await;
        let version = text(&admin, "show server_version_num").await;
        let port = free_port();
        let mut served = Served {
            url: url.clone(),
            port,
            log: log_file(seed),
            process: None,
        };
        let _ = fs::remove_file(&served.log);
        served.restart();
        let base = format!("http://127.0.0.1:{port}");
        ready(&base).await;
        let site = Site {
            base,
            url: url.clone(),
        };
        let mut subscribers = Vec::new();
        for at in 0..SUBSCRIBERS {
            let who = match at {
                0 => Who::Superuser,
                1 => Who::Guest,
                _ if rng.random_bool(0.3) => Who::Guest,
                _ => Who::Person(rng.random_range(0..PEOPLE.len())),
            };
            let wanted = Wanted::draw(&mut rng, who, &collections);
            let token = token(&url, &admin, who).await;
            subscribers.push(Subscriber::start(site.clone(), who, token, wanted));
        }
        Self {
            seed,
            rng,
            collections,
            policy,
            served,
            subscribers,
            has_merge: version.parse::<u32>().unwrap() >= 150_000,
            events: 0,
            resyncs: 0,
            transactions: 0,
            faults: Vec::new(),
            place,
        }
    }

    async fn phase(&mut self, phase: i64, steps: usize) {
        let url = self.place.url();
        let before = last_row(&client(&url).await).await;
        let mut writers = JoinSet::new();
        for at in 0..WRITERS {
            let writer = Writer {
                url: url.clone(),
                seed: self.rng.random(),
                steps: steps / WRITERS + usize::from(at < steps % WRITERS),
                collections: self.collections.clone(),
                has_merge: self.has_merge,
            };
            writers.spawn(writer.run());
        }
        let faults = Fault::draw(&mut self.rng, self.place.cluster().is_some());
        let open = chaos::happen(
            &faults,
            &mut self.rng,
            &mut self.served,
            &self.subscribers,
            &self.collections,
            self.place.cluster(),
        )
        .await;
        self.faults.extend(faults);
        while let Some(ended) = writers.join_next().await {
            ended.expect("a writer does not panic");
        }
        for sleeper in open {
            // A crash may have ended it.
            let _ = sleeper.batch_execute("commit").await;
        }
        self.mark(phase).await;
        self.judge(phase, before).await;
    }

    /// Marks the end of a phase again and again, until everybody has heard of it.
    async fn mark(&mut self, phase: i64) {
        let client = client(&self.place.url()).await;
        let end = Instant::now() + DEADLINE;
        for at in 0..self.subscribers.len() {
            self.subscribers[at].cut_after(-1);
            let mut closed = self.subscribers[at].closed.clone();
            loop {
                let statement = format!("insert into mark (phase) values ({phase})");
                execute(&client, &statement).await;
                let wait = timeout(
                    Duration::from_millis(150),
                    closed.wait_for(|closed| *closed >= phase),
                );
                if wait.await.is_ok() {
                    break;
                }
                if Instant::now() >= end {
                    self.fail(format!(
                        "subscriber {at} never heard the mark of phase {phase}"
                    ));
                }
            }
        }
    }

    async fn judge(&mut self, phase: i64, before: i64) {
        let client = client(&self.place.url()).await;
        let rows = (before, last_row(&client).await);
        let changes = Phase::load(&client, &self.collections, &self.policy, rows).await;
        let (mut wrong, mut orders) = (Vec::new(), Vec::new());
        for (at, subscriber) in self.subscribers.iter_mut().enumerate() {
            let segments = subscriber.heard(phase).await;
            let judgement = changes
                .judge(subscriber.who, &subscriber.wanted, &segments)
                .await;
            if !judgement.wrong.is_empty() {
                wrong.push(format!(
                    "subscriber {at}, {:?}, phase {phase}, wants\n{}\n{}",
                    subscriber.who,
                    names(&subscriber.wanted),
                    short(judgement.wrong).join("\n")
                ));
            }
            self.events += judgement.events;
            self.resyncs += judgement.resyncs;
            orders.extend(judgement.orders);
        }
        if let Some(circle) = circle(&orders) {
            wrong.push(format!(
                "no single order explains what was heard of the transactions {circle:?}"
            ));
        }
        self.transactions += changes.snapshots.len();
        if !wrong.is_empty() {
            self.fail(wrong.join("\n\n"));
        }
    }

    fn fail(&self, what: String) -> ! {
        let rules: Vec<_> = self
            .collections
            .iter()
            .enumerate()
            .map(|(at, collection)| format!("{collection:?}: {}", self.policy.describe(at)))
            .collect();
        panic!(
            "seed {}: {what}\n\n{}\nfaults: {:?}\nlog: {}",
            self.seed,
            rules.join("\n"),
            self.faults,
            self.served.log.display()
        );
    }

    /// Changes rules, roles, people and subscriptions, while nothing is under way.
    async fn change(&mut self) {
        let admin = client(&self.place.url()).await;
        if self.rng.random_bool(0.7) {
            self.policy = Policy::draw(&mut self.rng, &self.collections);
            execute(&admin, &self.policy.statements(&self.collections)).await;
        }
        for subscriber in &mut self.subscribers {
            let (changes, reconnects) = (self.rng.random_bool(0.4), self.rng.random_bool(0.5));
            if changes {
                let wanted = Wanted::draw(&mut self.rng, subscriber.who, &self.collections);
                subscriber.change(wanted, reconnects).await;
            }
        }
    }
}

async fn create(admin: &Client, collections: &mut [Collection]) {
    execute(admin, include_str!("ledger.sql")).await;
    for person in PEOPLE {
        let statement =
            format!("insert into people values ('{person}', '{person}@example.com', 'x', 'red')");
        execute(admin, &statement).await;
    }
    execute(
        admin,
        "select rowcast.attach('people', kind => 'auth', identity => array['email'], password => 'password_hash');
         select rowcast.attach('mark', list_rule => '')",
    )
    .await;
    for collection in collections {
        execute(admin, &collection.definition()).await;
        let id = format!(
            "select id from rowcast.collections where name = '{}'",
            collection.name
        );
        collection.collection_id = text(admin, &id).await;
    }
}

async fn token(url: &str, admin: &Client, who: Who) -> Option<String> {
    let lifetime = Duration::from_secs(24 * 3_600);
    match who {
        Who::Guest => None,
        Who::Person(at) => {
            let database = Database::new(&DatabaseOptions::new(url)).unwrap();
            let token =
                rowcast::auth::issue_record_token(&database, "people", PEOPLE[at], lifetime).await;
            Some(token.unwrap())
        }
        Who::Superuser => {
            let token =
                rowcast::auth::issue_superuser_token(admin, "root@example.com", lifetime).await;
            Some(token.unwrap().token)
        }
    }
}

async fn last_row(client: &Client) -> i64 {
    let row = client
        .query_one("select coalesce(max(seq), 0) from oracle.ledger", &[])
        .await;
    row.unwrap().get(0)
}

fn log_file(seed: u64) -> PathBuf {
    std::env::temp_dir().join(format!("rowcast-oracle-{}-{seed}.log", std::process::id()))
}

/// What a subscriber asked for, a line each.
fn names(wanted: &[Wanted]) -> String {
    let lines: Vec<_> = wanted
        .iter()
        .map(|wanted| {
            format!(
                "  {} filter {:?} fields {:?}",
                wanted.name,
                wanted.filter.map(|filter| filter.text),
                wanted.fields
            )
        })
        .collect();
    lines.join("\n")
}

/// The first of many complaints.
fn short(mut wrong: Vec<String>) -> Vec<String> {
    let more = wrong.len().saturating_sub(6);
    wrong.truncate(6);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    wrong
}
