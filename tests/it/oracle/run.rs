//! One run: a seed's world, in phases between which nothing happens, so that rules may change there.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::chaos::{self, Fault, Served};
use super::clients::Subscriber;
use super::expected::{Breaks, Phase, number};
use super::order::{Lives, Snapshot, circle};
use super::policy::{Policy, Who};
use super::settle::{PATIENCE, report, settle};
use super::site::{Place, create, serve, token};
use super::stream::{Cuts, Door};
use super::wanted::{Manner, Wanted};
use super::world::{Collection, PEOPLE};
use super::writers::Writer;
use crate::support::feed::{run as execute, text};
use crate::support::{client, eventually};

/// Statements of one phase.
const PHASE_STEPS: usize = 125;
const WRITERS: usize = 4;
const SUBSCRIBERS: usize = 8;
struct Run {
    seed: u64,
    rng: StdRng,
    collections: Vec<Collection>,
    policy: Policy,
    former_policy: Policy,
    served: Served,
    subscribers: Vec<Subscriber>,
    has_merge: bool,
    /// The server remembers so little that most of what is missed comes from the log.
    is_forgetful: bool,
    /// Resume keys that clients have named so far.
    keys: usize,
    /// The latest snapshot of each transaction.
    snapshots: HashMap<u64, Snapshot>,
    tally: Tally,
    faults: Vec<Fault>,
    /// Faults of the phase before.
    former_faults: Vec<Fault>,
    /// The ledger's last row when the log was emptied last.
    rotated: Option<i64>,
    place: Place,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub steps: usize,
    pub events: usize,
    pub repeats: usize,
    pub resyncs: usize,
    pub transactions: usize,
    pub faults: usize,
}

/// Runs a seed's phases until all steps are done; panics with all that was wrong.
pub async fn run(seed: u64, steps: usize) -> Tally {
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
    let _ = fs::remove_file(&run.served.log);
    run.tally.steps = steps;
    run.tally.faults = run.faults.len();
    run.tally
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
        let is_forgetful = rng.random_bool(0.3);
        let served = serve(seed, &url, is_forgetful).await;
        let mut run = Self {
            seed,
            rng,
            collections,
            former_policy: policy.clone(),
            policy,
            served,
            subscribers: Vec::new(),
            has_merge: version.parse::<u32>().unwrap() >= 150_000,
            is_forgetful,
            keys: 0,
            snapshots: HashMap::new(),
            tally: Tally::default(),
            faults: Vec::new(),
            former_faults: Vec::new(),
            rotated: None,
            place,
        };
        for at in 0..SUBSCRIBERS {
            run.subscribe(at, &admin).await;
        }
        run.keys_are_noted(&admin).await;
        run
    }

    async fn subscribe(&mut self, at: usize, admin: &Client) {
        let rng = &mut self.rng;
        let who = match at {
            0 => Who::Superuser,
            1 => Who::Guest,
            _ if rng.random_bool(0.3) => Who::Guest,
            _ => Who::Person(rng.random_range(0..PEOPLE.len())),
        };
        let manner = Manner::draw(rng);
        let wanted = Wanted::draw(rng, who, manner, &self.collections);
        self.keys += keys(&wanted);
        let url = self.place.url();
        let door = Door {
            base: self.served.base(),
            token: token(&url, admin, who).await,
            cuts: Cuts::default(),
        };
        let subscriber = Subscriber::start(url, door, who, manner, wanted);
        subscriber.subscribed().await;
        self.subscribers.push(subscriber);
    }

    /// Waits until all resume keys are in the database: one of which a killed server has noted nothing would begin now.
    async fn keys_are_noted(&self, admin: &Client) {
        eventually(PATIENCE, || async {
            let count = text(admin, "select count(*)::text from rowcast.resume_points").await;
            match count.parse::<usize>().unwrap() >= self.keys {
                true => Ok(()),
                false => Err(format!("{count} of {} resume keys are noted", self.keys)),
            }
        })
        .await;
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
        let is_early = self.rng.random_bool(0.5);
        if is_early {
            self.come_back().await;
        }
        let faults = Fault::draw(&mut self.rng, self.place.cluster().is_some());
        let open = chaos::happen(
            &faults,
            &mut self.rng,
            &mut self.served,
            &mut self.subscribers,
            &self.collections,
            self.place.cluster(),
        )
        .await;
        if !is_early {
            self.come_back().await;
        }
        while let Some(ended) = writers.join_next().await {
            ended.expect("a writer does not panic");
        }
        for sleeper in open {
            // A crash may have ended it.
            let _ = sleeper.batch_execute("commit").await;
        }
        self.mark(phase).await;
        self.judge(phase, before, &faults).await;
        self.faults.extend(&faults);
        self.former_faults = faults;
    }

    /// Those come back who went away in the phase before.
    async fn come_back(&mut self) {
        for subscriber in &mut self.subscribers {
            if subscriber.debt.is_some() {
                subscriber.come_back().await;
            }
        }
    }

    /// Marks the end of a phase again and again, until everybody has heard of it.
    async fn mark(&mut self, phase: i64) {
        let client = client(&self.place.url()).await;
        let end = Instant::now() + PATIENCE;
        for subscriber in &self.subscribers {
            subscriber.cuts.set([]);
        }
        for at in 0..self.subscribers.len() {
            if self.subscribers[at].away.is_some() {
                continue;
            }
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

    async fn judge(&mut self, number: i64, before: i64, faults: &[Fault]) {
        let client = client(&self.place.url()).await;
        let rows = (before, last_row(&client).await);
        let of_phase = transactions(&client, rows).await;
        self.tally.transactions += of_phase.len();
        self.snapshots.extend(of_phase);
        let lately = || faults.iter().chain(&self.former_faults);
        if faults.contains(&Fault::RotateLog) {
            self.rotated = Some(rows.1);
        }
        let is_recent = lately().any(|fault| *fault == Fault::RotateLog);
        let lives = Lives::load(&client).await;
        let phase = Phase {
            number,
            ledger: &client,
            collections: &self.collections,
            policy: &self.policy,
            former_policy: &self.former_policy,
            rows,
            snapshots: &self.snapshots,
            lives: &lives,
            is_reordered: self.is_forgetful || lately().any(|fault| fault.reorders()),
            breaks: Breaks {
                stopped_postgres: lately().any(|fault| fault.stops_postgres()),
                terminated_backends: lately().any(|fault| *fault == Fault::TerminateBackends),
                rotated: self.rotated.map(|row| (row, is_recent)),
            },
        };
        let (mut wrong, mut orders) = (Vec::new(), Vec::new());
        for (at, subscriber) in self.subscribers.iter_mut().enumerate() {
            let judgement = settle(&phase, subscriber).await;
            if !judgement.wrong.is_empty() {
                wrong.push(report(at, number, subscriber, judgement));
                continue;
            }
            self.tally.events += judgement.events;
            self.tally.repeats += judgement.repeats;
            self.tally.resyncs += judgement.resyncs;
            orders.extend(judgement.orders);
        }
        if let Some(circle) = circle(&orders) {
            wrong.push(format!(
                "no single order explains what was heard of the transactions {circle:?}"
            ));
        }
        if !wrong.is_empty() {
            self.faults.extend(faults);
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
            "seed {}: {what}\n\n{}\nfaults: {:?}; forgetful: {}\nlog: {}",
            self.seed,
            rules.join("\n"),
            self.faults,
            self.is_forgetful,
            self.served.log.display()
        );
    }

    /// Changes rules, roles, people and subscriptions, while nothing is written.
    async fn change(&mut self) {
        let admin = client(&self.place.url()).await;
        let since = (last_row(&admin).await, Lives::load(&admin).await.newest());
        self.former_policy = self.policy.clone();
        let has_other_rules = self.rng.random_bool(0.7);
        if has_other_rules {
            self.policy = Policy::draw(&mut self.rng, &self.collections);
            execute(&admin, &self.policy.statements(&self.collections)).await;
        }
        for subscriber in &mut self.subscribers {
            let (changes, reconnects) = (self.rng.random_bool(0.4), self.rng.random_bool(0.5));
            // What was seen by other rules is no view to go on with.
            let is_over = has_other_rules && subscriber.wanted.iter().any(|wanted| wanted.snapshot);
            if (changes || is_over) && subscriber.away.is_none() {
                let Subscriber { who, manner, .. } = *subscriber;
                let wanted = Wanted::draw(&mut self.rng, who, manner, &self.collections);
                self.keys += keys(&wanted);
                let reconnects = reconnects || is_over;
                subscriber.change(wanted, reconnects, since).await;
            }
        }
        self.keys_are_noted(&admin).await;
    }
}

fn keys(wanted: &[Wanted]) -> usize {
    wanted.iter().filter(|wanted| wanted.is_keyed).count()
}

/// The latest snapshot of each transaction that wrote these rows.
async fn transactions(client: &Client, rows: (i64, i64)) -> HashMap<u64, Snapshot> {
    let found = client
        .query(
            "select distinct on (xid) xid::text, snap::text from oracle.ledger
             where seq > $1 and seq <= $2 order by xid, seq desc",
            &[&rows.0, &rows.1],
        )
        .await
        .unwrap();
    let snapshot = |row: &tokio_postgres::Row| (number(row.get(0)), Snapshot::parse(row.get(1)));
    found.iter().map(snapshot).collect()
}

async fn last_row(client: &Client) -> i64 {
    let row = client
        .query_one("select coalesce(max(seq), 0) from oracle.ledger", &[])
        .await;
    row.unwrap().get(0)
}
