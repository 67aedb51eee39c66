//! The task that reads and writes resume points: many questions are one query, and so are many notes.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::key::PointKey;
use crate::db::Database;
use crate::event::Position;

const FIND: &str = include_str!("../../sql/points/find.sql");
const SAVE: &str = include_str!("../../sql/points/save.sql");
const TRIM: &str = include_str!("../../sql/points/trim.sql");

/// Requests that are answered by one query.
const REQUESTS_MAX: usize = 512;
/// How long the database may take to answer one.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How often old points are forgotten, if new ones are saved at all.
const TRIM_INTERVAL: Duration = Duration::from_secs(600);
/// How long the last points may take to be saved when the process ends.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// How long resume points are kept.
#[derive(Debug, Clone)]
pub struct PointsOptions {
    /// How long after they were saved.
    pub retention: Duration,
    /// How many.
    pub rows_max: u32,
}

impl Default for PointsOptions {
    fn default() -> Self {
        Self {
            // Longer than the log: who comes back too late for that is told so.
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            rows_max: 100_000,
        }
    }
}

/// Points by key.
type ByKey = HashMap<PointKey, Position>;

/// Where resume points are asked for and handed in; cheap to clone.
#[derive(Debug, Clone)]
pub struct Points {
    requests: mpsc::Sender<Request>,
    notes: mpsc::Sender<Vec<(PointKey, Position)>>,
}

/// The points cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("resume points cannot be read")]
pub struct FindError;

#[derive(Debug)]
struct Request {
    keys: Vec<PointKey>,
    reply: oneshot::Sender<Result<ByKey, FindError>>,
}

/// The task behind [`Points`].
pub struct Keeper {
    database: Database,
    options: PointsOptions,
    requests: mpsc::Receiver<Request>,
    notes: mpsc::Receiver<Vec<(PointKey, Position)>>,
    trimmed_at: Option<Instant>,
}

impl Points {
    /// Points by key, as far as there are any.
    ///
    /// # Errors
    /// If the database does not answer in time.
    pub async fn find(&self, keys: Vec<PointKey>) -> Result<ByKey, FindError> {
        let (reply, answer) = oneshot::channel();
        let asked = self.requests.send(Request { keys, reply });
        let found = async {
            asked.await.map_err(|_| FindError)?;
            answer.await.map_err(|_| FindError)?
        };
        timeout(ANSWER_MAX * 2, found)
            .await
            .unwrap_or(Err(FindError))
    }

    /// Hands in points to save; gives them back if there is no room. Never waits.
    ///
    /// # Errors
    /// The points, to try again later.
    pub fn save(&self, points: Vec<(PointKey, Position)>) -> Result<(), Vec<(PointKey, Position)>> {
        self.notes.try_send(points).map_err(|error| match error {
            mpsc::error::TrySendError::Full(points) | mpsc::error::TrySendError::Closed(points) => {
                points
            }
        })
    }
}

impl Keeper {
    /// Builds the task and the way to it; nothing happens before [`run`](Self::run).
    pub fn new(database: Database, options: PointsOptions) -> (Self, Points) {
        // When full, those who come back wait.
        let (requests, asked) = mpsc::channel(1024);
        // When full, points are handed in later.
        let (notes, handed_in) = mpsc::channel(64);
        let keeper = Self {
            database,
            options,
            requests: asked,
            notes: handed_in,
            trimmed_at: None,
        };
        (keeper, Points { requests, notes })
    }

    /// Answers and saves until told to stop, and then until everything is saved that was handed in.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut asked = Vec::new();
        loop {
            tokio::select! {
                // First: whoever asks for a point must find what was handed in before.
                biased;
                Some(points) = self.notes.recv() => self.save(points).await,
                count = self.requests.recv_many(&mut asked, REQUESTS_MAX), if !stop.is_cancelled() => {
                    if count == 0 {
                        break;
                    }
                    self.answer(std::mem::take(&mut asked)).await;
                }
                () = stop.cancelled() => break,
            }
        }
        let rest = async {
            while let Some(points) = self.notes.recv().await {
                self.save(points).await;
            }
        };
        // The hub closes its end when it stops; handles that outlive it must not hold us up.
        let _ = timeout(FAREWELL_MAX, rest).await;
    }

    async fn answer(&self, asked: Vec<Request>) {
        let keys: Vec<_> = asked
            .iter()
            .flat_map(|request| &request.keys)
            .copied()
            .collect();
        let found = self.find(&keys).await;
        for Request { keys, reply } in asked {
            let own = |found: &ByKey| {
                let points = keys
                    .iter()
                    .filter_map(|key| Some((*key, found.get(key)?.clone())));
                points.collect()
            };
            // Whoever asked may have left meanwhile.
            let _ = reply.send(found.as_ref().map(own).map_err(|error| *error));
        }
    }

    async fn find(&self, keys: &[PointKey]) -> Result<ByKey, FindError> {
        let keys: Vec<_> = keys.iter().map(PointKey::as_bytes).collect();
        let query = async {
            let client = self.database.pool().get().await?;
            let statement = client.prepare_cached(FIND).await?;
            let rows = client.query(&statement, &[&keys]).await?;
            let point = |row: &tokio_postgres::Row| {
                let key = PointKey::from_bytes(row.try_get("key")?);
                let position = row.try_get::<_, &str>("position")?.parse().ok();
                Ok::<_, tokio_postgres::Error>(key.zip(position))
            };
            let points: Result<Vec<_>, _> = rows.iter().map(point).collect();
            Ok::<_, Box<dyn Error + Send + Sync>>(points?.into_iter().flatten().collect())
        };
        let found = timeout(ANSWER_MAX, query).await;
        found
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(|error| {
                tracing::warn!(
                    error = &*error as &dyn Error,
                    "resume points cannot be read; those who come back are told to load afresh"
                );
                FindError
            })
    }

    async fn save(&mut self, points: Vec<(PointKey, Position)>) {
        let (keys, positions): (Vec<_>, Vec<_>) = points
            .iter()
            .map(|(key, position)| (key.as_bytes(), position.to_string()))
            .unzip();
        let is_due = |at: Instant| at.elapsed() >= TRIM_INTERVAL;
        let trims = self.trimmed_at.is_none_or(is_due);
        let statements = async {
            let client = self.database.pool().get().await?;
            let statement = client.prepare_cached(SAVE).await?;
            client.execute(&statement, &[&keys, &positions]).await?;
            if trims {
                let statement = client.prepare_cached(TRIM).await?;
                let (kept, rows) = (
                    self.options.retention.as_secs_f64(),
                    i64::from(self.options.rows_max),
                );
                client.execute(&statement, &[&kept, &rows]).await?;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        };
        let saved = timeout(ANSWER_MAX, statements).await;
        if let Err(error) = saved.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            tracing::warn!(
                error = &*error as &dyn Error,
                "resume points cannot be saved; until they are, those who come back are told more again"
            );
        } else if trims {
            self.trimmed_at = Some(Instant::now());
        }
    }
}
