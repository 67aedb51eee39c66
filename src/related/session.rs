//! The library over a database: a reading is one transaction on a pooled connection.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::{FutureExt, TryStreamExt, pin_mut};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::breaker::{Breakers, Delay};
use super::complaints::Complaints;
use super::gather::{Budget, FETCH_ROWS_MAX, Gathered};
use super::group::Group;
use super::library::{FetchError, Library, Reading};
use super::past::Past;
use super::shelf::Found;
use super::want::Want;
use super::{ROWS_MAX, earlier, statement};
use crate::catalog::Collection;
use crate::db::{Database, PooledClient};
use crate::telemetry::{LookupReporter, Metrics};

pub(super) const BEGIN: &str = include_str!("../../sql/related/begin.sql");
/// Makes a transaction usable again in which a statement failed; what was read stays what it is.
const RECOVER: &str = "rollback to savepoint clean";

/// How long one fetch may take in all; each of its statements may take two seconds, and wait for a lock one.
const FETCH_DEADLINE: Duration = Duration::from_secs(5);
/// Wants that are looked up in one go.
const WANTS_MAX: usize = 10_000;
/// Statements kept prepared on a connection: as many as paths in rules, in any healthy database.
const STATEMENTS_MAX: usize = 200;
/// Transactions whose past is remembered within a reading.
const PASTS_MAX: usize = 8;

/// Related rows, read from a database.
#[derive(Debug, Clone)]
pub struct DatabaseLibrary {
    database: Database,
    metrics: Metrics,
    complaints: Arc<Complaints>,
    breakers: Arc<Breakers>,
}

impl DatabaseLibrary {
    /// A library over this database; connects to nothing yet.
    pub fn new(database: Database, metrics: Metrics) -> Self {
        Self {
            database,
            metrics,
            complaints: Arc::default(),
            breakers: Arc::default(),
        }
    }

    /// The same, saying there which lookups are held back.
    #[must_use]
    pub fn reporting(self, reporter: LookupReporter) -> Self {
        Self {
            breakers: Arc::new(Breakers::new(reporter)),
            ..self
        }
    }
}

impl Library for DatabaseLibrary {
    fn open(&self) -> Box<dyn Reading> {
        Box::new(Session {
            library: self.clone(),
            connection: None,
            pasts: Vec::new(),
        })
    }
}

struct Session {
    library: DatabaseLibrary,
    /// In a transaction since the first fetch.
    connection: Option<Connection>,
    pasts: Vec<(u64, Arc<Collection>, Arc<Past>)>,
}

impl Reading for Session {
    fn fetch<'a>(
        &'a mut self,
        wants: Vec<Want>,
    ) -> BoxFuture<'a, Result<Vec<(Want, Found)>, FetchError>> {
        async move {
            let (began, asked) = (Instant::now(), wants.len());
            let outcome = timeout(FETCH_DEADLINE, self.answer(wants)).await;
            let outcome = outcome.unwrap_or(Err(FetchError::Deadline));
            let metrics = &self.library.metrics;
            let seconds = began.elapsed().as_secs_f64();
            metrics.related_fetch_seconds.observe(seconds);
            match &outcome {
                Ok(answers) => answers
                    .iter()
                    .for_each(|(_, found)| metrics.count_related(word(found), 1)),
                Err(_) => {
                    metrics.count_related("unavailable", asked);
                    if let Some(connection) = self.connection.take() {
                        connection.discard();
                    }
                }
            }
            outcome
        }
        .boxed()
    }
}

fn word(found: &Found) -> &'static str {
    match found {
        Found::Rows(_) => "rows",
        Found::TooMany => "too_many",
        Found::Failed => "failed",
        Found::HeldBack { .. } => "held_back",
    }
}

impl Session {
    async fn answer(&mut self, mut wants: Vec<Want>) -> Result<Vec<(Want, Found)>, FetchError> {
        wants.truncate(WANTS_MAX);
        let mut answers = Vec::with_capacity(wants.len());
        let mut groups = Group::of(wants, &mut answers);
        groups.retain_mut(|group| !self.holds_back(group, &mut answers));
        if groups.is_empty() {
            return Ok(answers);
        }
        self.begin().await?;
        let found = self.ask(&groups).await?;
        let mut first = None;
        for (group, found) in groups.iter_mut().zip(found) {
            for (want, found) in group.wants.drain(..).zip(found) {
                match found {
                    Some(Found::Rows(mut rows)) => {
                        rows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
                        answers.push((want, Found::Rows(rows)));
                    }
                    Some(found) => answers.push((want, found)),
                    None => drop(first.get_or_insert(want)),
                }
            }
        }
        if answers.is_empty() {
            // Even one is too much for one go.
            answers.extend(first.map(|want| (want, Found::TooMany)));
        }
        Ok(answers)
    }

    /// Answers a group that is not to be asked for now.
    fn holds_back(&self, group: &mut Group, answers: &mut Vec<(Want, Found)>) -> bool {
        let Some(until) = self.library.breakers.held_back(group) else {
            return false;
        };
        let wants = group.wants.drain(..);
        answers.extend(wants.map(|want| (want, Found::HeldBack { until })));
        true
    }

    async fn begin(&mut self) -> Result<(), FetchError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let client = self.library.database.pool().get().await;
        let client = client.map_err(Box::new)?;
        if client.statement_cache.size() > STATEMENTS_MAX {
            client.statement_cache.clear();
        }
        let connection = Connection::new(client);
        connection.client().batch_execute(BEGIN).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Asks for all groups at once. After a mistake in one, those that it spoilt are asked for again.
    async fn ask(&mut self, groups: &[Group]) -> Result<Vec<Vec<Option<Found>>>, FetchError> {
        let budget = Budget::new();
        let client = self.client();
        let asking = groups.iter().map(|group| select(client, group, &budget));
        let mut outcomes = Vec::with_capacity(groups.len());
        for outcome in join_all(asking).await {
            outcomes.push(outcome);
        }
        let mut spoilt = outcomes.iter().any(Result::is_err);
        let mut all = Vec::with_capacity(groups.len());
        for (group, mut outcome) in groups.iter().zip(outcomes) {
            if spoilt {
                self.recover().await?;
                spoilt = false;
            }
            if outcome.as_ref().is_err_and(is_innocent) {
                // What spoilt it may be what it would wait for, too.
                if let Some(until) = self.library.breakers.held_back(group) {
                    all.push(held_back(group, until));
                    continue;
                }
                outcome = select(self.client(), group, &budget).await;
            }
            if let (Some(xid), Ok(_)) = (group.before, &outcome) {
                outcome = self.restore(group, xid, outcome).await;
            }
            all.push(match outcome {
                Ok(gathered) => {
                    self.library.breakers.mend(group);
                    gathered
                }
                Err(error) => {
                    spoilt = true;
                    self.refuse(group, error)?
                }
            });
        }
        if spoilt {
            self.recover().await?;
        }
        Ok(all)
    }

    /// Replaces what is by what was before a transaction.
    async fn restore(
        &mut self,
        group: &Group,
        xid: u64,
        now: Result<Vec<Option<Found>>, tokio_postgres::Error>,
    ) -> Result<Vec<Option<Found>>, tokio_postgres::Error> {
        let past = self.past(xid, &group.collection).await?;
        if let Past::Unknown(reason) = &*past {
            let complaints = &self.library.complaints;
            complaints.rows_unusable(&group.collection, reason);
        }
        earlier::restore(self.client(), group, now?, &past).await
    }

    async fn past(
        &mut self,
        xid: u64,
        collection: &Arc<Collection>,
    ) -> Result<Arc<Past>, tokio_postgres::Error> {
        let known = self.pasts.iter();
        let mut known = known.filter(|(of, whose, _)| *of == xid && Arc::ptr_eq(whose, collection));
        if let Some((.., past)) = known.next() {
            return Ok(Arc::clone(past));
        }
        let past = Arc::new(Past::load(self.client(), xid, collection).await?);
        if self.pasts.len() == PASTS_MAX {
            self.pasts.remove(0);
        }
        let entry = (xid, Arc::clone(collection), Arc::clone(&past));
        self.pasts.push(entry);
        Ok(past)
    }

    /// The answer to a group that the database refuses to answer, or does not answer in time.
    fn refuse(
        &self,
        group: &Group,
        error: tokio_postgres::Error,
    ) -> Result<Vec<Option<Found>>, FetchError> {
        if is_loss(&error) {
            return Err(FetchError::Lost(error));
        }
        if let Some(delay) = Delay::of(&error) {
            let until = self.library.breakers.trip(group, delay);
            return Ok(held_back(group, until));
        }
        let complaints = &self.library.complaints;
        complaints.statement_failed(&group.collection, &error);
        Ok(vec![Some(Found::Failed); group.wants.len()])
    }

    async fn recover(&self) -> Result<(), tokio_postgres::Error> {
        self.client().batch_execute(RECOVER).await
    }

    fn client(&self) -> &PooledClient {
        let connection = self.connection.as_ref();
        connection.expect("the reading has begun").client()
    }
}

fn held_back(group: &Group, until: Instant) -> Vec<Option<Found>> {
    vec![Some(Found::HeldBack { until }); group.wants.len()]
}

async fn select(
    client: &PooledClient,
    group: &Group,
    budget: &Budget,
) -> Result<Vec<Option<Found>>, tokio_postgres::Error> {
    let sql = statement::select(&group.collection, &group.fields, ROWS_MAX, FETCH_ROWS_MAX);
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query_raw(&statement, group.parameters()).await?;
    pin_mut!(rows);
    let mut gathered = Gathered::new(group);
    while let Some(row) = rows.try_next().await? {
        if !gathered.take(row.try_get(0)?, row.try_get(1)?, group, budget) {
            break;
        }
    }
    Ok(gathered.into_found())
}

/// Whether a statement failed only because another one had failed before it.
fn is_innocent(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "25P02")
}

/// Whether the connection or the transaction is gone, so that everything else would fail like this.
fn is_loss(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code().map(|code| code.code()) else {
        // What is neither the server's nor the network's is a value that could not be read.
        let network = error.source().is_some_and(|cause| cause.is::<io::Error>());
        return error.is_closed() || network;
    };
    // Also a statement that the server does not know any more, and a conflict with recovery on a standby.
    matches!(
        code,
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "26000" | "40001" | "40P01"
    ) || code.starts_with("08")
        || code.starts_with("53")
}

/// A pooled connection in a transaction.
pub(super) struct Connection(Option<PooledClient>);

impl Connection {
    pub(super) fn new(client: PooledClient) -> Self {
        Self(Some(client))
    }

    pub(super) fn client(&self) -> &PooledClient {
        self.0.as_ref().expect("there until dropped")
    }

    /// Closes it: nobody knows in which state it is.
    fn discard(mut self) {
        drop(self.0.take().map(PooledClient::take));
    }
}

impl Drop for Connection {
    /// Ends the transaction and gives the connection back, in its own time.
    fn drop(&mut self) {
        let Some(client) = self.0.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            drop(PooledClient::take(client));
            return;
        };
        runtime.spawn(async move {
            let ended = timeout(FETCH_DEADLINE, client.batch_execute("rollback")).await;
            if !matches!(ended, Ok(Ok(()))) {
                drop(PooledClient::take(client));
            }
        });
    }
}
