//! The loop: connect, read, rest; and start again when the connection is lost.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::bell::Rest;
use super::cursor::Cursor;
use super::error::SessionError;
use super::read::ReadOutcome;
use super::reader::Reader;
use super::session::Session;
use super::{Bell, CaptureOptions};
use crate::db::Database;
use crate::event::{FeedItem, GapReason, Position, log_of};
use crate::telemetry::{CaptureState, HealthReporter, Metrics};

/// The task that reads the change log.
pub struct Capture {
    database: Database,
    options: CaptureOptions,
    health: HealthReporter,
    metrics: Metrics,
    reader: Reader,
    /// Where reading goes on, and in which epoch of the log.
    progress: Option<(Arc<str>, Cursor)>,
    /// The current session has been live; the next failure is a new one.
    was_live: bool,
}

impl Capture {
    /// Builds the task; nothing happens before [`run`](Self::run).
    pub fn new(
        database: Database,
        options: CaptureOptions,
        feed: mpsc::Sender<FeedItem>,
        health: HealthReporter,
        metrics: Metrics,
    ) -> Self {
        let reader = Reader::new(database.clone(), feed, metrics.clone());
        Self {
            database,
            options,
            health,
            metrics,
            reader,
            progress: None,
            was_live: false,
        }
    }

    /// Reads until told to stop or until nobody takes the changes any more; reconnects by itself.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut delays = self.delays();
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.session() => ended,
            };
            let Err(error) = ended;
            self.health.disconnected();
            if matches!(error, SessionError::FeedClosed) {
                return;
            }
            self.metrics.capture_failures.inc();
            if std::mem::take(&mut self.was_live) {
                // Reading worked again, so this outage starts from the shortest delay.
                delays = self.delays();
            }
            let delay = delays.next().unwrap_or(self.options.reconnect_delay_max);
            tracing::warn!(
                error = &error as &dyn Error,
                database = %self.database.address(),
                delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "capture session ended; connecting again"
            );
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(delay) => {}
            }
        }
    }

    fn delays(&self) -> impl Iterator<Item = std::time::Duration> + Send + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.options.reconnect_delay_min)
            .with_max_delay(self.options.reconnect_delay_max)
            .with_jitter()
            .without_max_times()
            .build()
    }

    /// One connection's life; ends only with an error. Safe to drop half-way: the cursor always
    /// knows what has been handed on.
    async fn session(&mut self) -> Result<Infallible, SessionError> {
        let mut session = Session::open(&self.database, self.options.answer_deadline).await?;
        self.health.contact(CaptureState::CatchingUp);
        self.reader.load_catalog().await?;
        self.find_place(&session).await?;
        self.health.placed();
        let rings = self.may_sleep(&mut session).await?;
        tracing::info!(
            database = %self.database.address(),
            epoch = %session.epoch,
            bell = rings,
            "reading the change log"
        );
        let mut rest = Rest::awake();
        loop {
            rest = match rest {
                Rest::Awake { quiet_since } => self.poll(&mut session, quiet_since, rings).await?,
                Rest::Drowsy { .. } => self.lie_down(&mut session, rest).await?,
                Rest::Asleep { bell, probe_at } => {
                    self.slumber(&mut session, bell, probe_at).await?
                }
            };
        }
    }

    /// Goes on where the last session ended, or starts at the present.
    async fn find_place(&mut self, session: &Session) -> Result<(), SessionError> {
        if let Some((epoch, cursor)) = &mut self.progress
            && **epoch == session.epoch
        {
            cursor.rewind();
            return Ok(());
        }
        if let Some((epoch, cursor)) = &mut self.progress
            && log_of(epoch) == log_of(&session.epoch)
        {
            // Postgres has crashed. The log is the same, but some of what was delivered may never have happened, so
            // nothing says how far anybody has come until all that did happen has been read.
            *epoch = session.epoch.as_str().into();
            cursor.rewind();
            self.reader.lose_place();
            return Ok(());
        }
        let cursor = Cursor::new(session.current_snapshot().await?);
        // After the snapshot: whoever loads afresh now must be told of everything that follows.
        if self.progress.is_some() {
            self.reader.report_gap(GapReason::Epoch).await?;
        }
        let epoch: Arc<str> = session.epoch.as_str().into();
        let head = Arc::new(cursor.head().clone());
        self.reader
            .say(Position::new(Arc::clone(&epoch), head))
            .await?;
        self.progress = Some((epoch, cursor));
        Ok(())
    }

    /// Whether the reader may rely on being rung.
    async fn may_sleep(&self, session: &mut Session) -> Result<bool, SessionError> {
        match self.options.bell {
            Bell::Off => Ok(false),
            Bell::Auto if session.may_prepare_transactions => {
                tracing::info!(
                    "max_prepared_transactions is not 0, so writers do not ring (PREPARE TRANSACTION would fail); \
                     the log is polled. Set bell = \"on\" if you never use two-phase commit"
                );
                Ok(false)
            }
            Bell::Auto => match session.probe().await {
                Ok(()) => Ok(true),
                Err(SessionError::Deaf { .. }) => {
                    tracing::warn!(
                        "notifications do not get through, so the log is polled; if a connection pooler stands \
                         in between, give the database's own address as direct_database_url"
                    );
                    Ok(false)
                }
                Err(error) => Err(error),
            },
            Bell::On => session.probe().await.map(|()| true),
        }
    }

    async fn read(&mut self, session: &mut Session) -> Result<ReadOutcome, SessionError> {
        let (epoch, cursor) = self.progress.as_mut().expect("found before reading");
        let rows = session.read(cursor.head()).await?;
        let deadline = self.options.answer_deadline;
        let outcome = self.reader.read(rows, cursor, epoch, deadline).await?;
        if outcome.gap {
            session.reload_epoch().await?;
            *epoch = session.epoch.as_str().into();
        }
        self.was_live = true;
        Ok(outcome)
    }

    /// Awake: reads, pauses, and lies down when nothing has come for a while.
    async fn poll(
        &mut self,
        session: &mut Session,
        quiet_since: Instant,
        rings: bool,
    ) -> Result<Rest, SessionError> {
        let outcome = self.read(session).await?;
        self.health.contact(CaptureState::Live);
        if outcome.rows > 0 {
            sleep(self.options.poll_interval).await;
            return Ok(Rest::awake());
        }
        let quiet = quiet_since.elapsed();
        if quiet < self.options.linger {
            sleep(self.options.poll_interval).await;
        } else if rings {
            return self.drowse(session).await;
        } else {
            // Nobody rings: the longer it is quiet, the longer the pauses.
            let pause =
                (quiet / 32).clamp(self.options.poll_interval, self.options.poll_interval_max);
            sleep(pause).await;
        }
        Ok(Rest::Awake { quiet_since })
    }

    async fn drowse(&self, session: &Session) -> Result<Rest, SessionError> {
        let (bell, barrier) = session.fall_asleep().await?;
        Ok(Rest::Drowsy {
            bell,
            barrier,
            pause: self.options.poll_interval,
        })
    }

    /// Drowsy: reads on until nobody is left who might not know that they should ring.
    async fn lie_down(&mut self, session: &mut Session, rest: Rest) -> Result<Rest, SessionError> {
        let Rest::Drowsy {
            bell,
            barrier,
            pause,
        } = rest
        else {
            return Ok(rest);
        };
        let outcome = self.read(session).await?;
        self.health.contact(CaptureState::Live);
        if session.heard().bell >= bell {
            return self.wake(session).await;
        }
        let (_, cursor) = self.progress.as_ref().expect("found before reading");
        if cursor.head().has_passed(barrier) {
            return Ok(Rest::Asleep {
                bell,
                probe_at: Instant::now() + self.options.probe_interval,
            });
        }
        let pause = if outcome.rows > 0 {
            self.options.poll_interval
        } else {
            (pause * 2).min(Rest::PAUSE_MAX)
        };
        tokio::select! {
            rung = session.ring(bell) => {
                rung?;
                return self.wake(session).await;
            }
            () = sleep(pause) => {}
        }
        Ok(Rest::Drowsy {
            bell,
            barrier,
            pause,
        })
    }

    /// Asleep: waits for the bell, and now and then makes sure that it would be heard.
    async fn slumber(
        &mut self,
        session: &mut Session,
        bell: i64,
        probe_at: Instant,
    ) -> Result<Rest, SessionError> {
        tokio::select! {
            rung = session.ring(bell) => {
                rung?;
                self.wake(session).await
            }
            () = sleep_until(probe_at) => {
                session.probe().await?;
                // Also tells the writers that we are still here, and reads once for safety.
                self.drowse(session).await
            }
        }
    }

    async fn wake(&mut self, session: &mut Session) -> Result<Rest, SessionError> {
        self.metrics.rings.inc();
        let heard = session.heard().bell;
        // What was rung for first; that writers go on ringing meanwhile does no harm.
        self.read(session).await?;
        session.wake_up(heard).await?;
        Ok(Rest::awake())
    }
}
