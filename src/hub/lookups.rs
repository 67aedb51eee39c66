//! Looking up what the decisions of a batch want: in one reading, and with patience that ends.

use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::resync::{Reminder, Resyncs};
use crate::event::RowImage;
use crate::related::{FetchError, Found, Library, Reading, Want};

/// How long the hub looks things up for one batch, waiting for a database that is away included. Nobody
/// receives anything meanwhile and no command is obeyed, so this is what a request may have to wait beyond
/// its turn. A connection that was lost is replaced in far less, a restart of Postgres mostly fits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between tries: the first is short, for a connection that died alone.
const DELAY_MIN: Duration = Duration::from_millis(20);
const DELAY_MAX: Duration = Duration::from_secs(1);
/// How often the rest of a batch is looked through for what it will want.
const LOOKS_AHEAD_MAX: usize = 16;
/// Bytes of rows kept for one batch, beyond which they are fetched again when they are wanted again.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long the same complaint is not repeated.
const SILENCE: Duration = Duration::from_secs(60);

/// The lookups of one batch.
pub(super) struct Lookups {
    library: Arc<dyn Library>,
    reading: Option<Box<dyn Reading>>,
    patience: Duration,
    delay: Duration,
    gave_up: bool,
    looks_ahead: usize,
    kept_bytes: usize,
    resyncs: RefCell<Resyncs>,
    logged: Option<Instant>,
}

impl Lookups {
    pub(super) fn new(library: Arc<dyn Library>) -> Self {
        Self {
            library,
            reading: None,
            patience: PATIENCE,
            delay: DELAY_MIN,
            gave_up: false,
            looks_ahead: 0,
            kept_bytes: 0,
            resyncs: RefCell::default(),
            logged: None,
        }
    }

    /// A new batch begins: another moment is looked at.
    pub(super) fn begin(&mut self) {
        self.reading = None;
        self.patience = PATIENCE;
        self.delay = DELAY_MIN;
        self.gave_up = false;
        self.looks_ahead = 0;
        self.kept_bytes = 0;
        self.resyncs.get_mut().begin();
    }

    /// Whether nothing is looked up any more in this batch.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether the rest of the batch is worth a look now.
    pub(super) fn looks_ahead(&mut self) -> bool {
        self.looks_ahead += 1;
        self.looks_ahead <= LOOKS_AHEAD_MAX
    }

    /// Whether more rows are kept than should be; then they are to be forgotten.
    pub(super) fn overflows(&mut self) -> bool {
        let overflows = self.kept_bytes > KEPT_BYTES_MAX;
        if overflows {
            self.kept_bytes = 0;
        }
        overflows
    }

    /// Who was told to load afresh.
    pub(super) fn resyncs(&self) -> &RefCell<Resyncs> {
        &self.resyncs
    }

    /// Waits until somebody is to be told again to load afresh. Safe to drop half-way.
    pub(super) async fn next_reminder(&mut self) {
        self.resyncs.get_mut().next_due().await;
    }

    /// Those who are to be told again.
    pub(super) fn take_reminders(&mut self) -> Vec<Reminder> {
        self.resyncs.get_mut().take_due()
    }

    /// Looks rows up. `None` if the reading was lost: what was found in it before must be forgotten,
    /// because the next one shows another moment. Sometimes there is no next one.
    pub(super) async fn fetch(
        &mut self,
        wants: Vec<Want>,
        stop: &CancellationToken,
    ) -> Option<Vec<(Want, Found)>> {
        let began = Instant::now();
        let reading = self.reading.get_or_insert_with(|| self.library.open());
        let outcome = tokio::select! {
            () = stop.cancelled() => Err(FetchError::Deadline),
            outcome = timeout(self.patience, reading.fetch(wants)) => {
                outcome.unwrap_or(Err(FetchError::Deadline))
            }
        };
        let error = match outcome {
            Ok(found) => {
                self.patience = self.patience.saturating_sub(began.elapsed());
                self.kept_bytes += found.iter().map(|(_, found)| bytes(found)).sum::<usize>();
                return Some(found);
            }
            Err(error) => error,
        };
        self.reading = None;
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(self.delay.min(self.patience)) => {}
        }
        self.delay = (self.delay * 2).min(DELAY_MAX);
        self.patience = self.patience.saturating_sub(began.elapsed());
        self.gave_up = self.patience.is_zero() || stop.is_cancelled();
        if self.gave_up && self.complains() {
            tracing::warn!(
                error = &error as &dyn Error,
                "rules need rows of other collections, which cannot be looked up; subscribers who may have missed \
                 something are told to load afresh"
            );
        }
        None
    }

    /// Whether a complaint is due.
    pub(super) fn complains(&mut self) -> bool {
        let silent = self.logged.is_some_and(|at| at.elapsed() < SILENCE);
        if !silent {
            self.logged = Some(Instant::now());
        }
        !silent
    }
}

fn bytes(found: &Found) -> usize {
    match found {
        Found::Rows(rows) => rows
            .iter()
            .map(|row| RowImage::json(&row.image).len())
            .sum(),
        Found::TooMany | Found::Failed | Found::HeldBack { .. } => 0,
    }
}
