//! The task behind one snapshot: reads the collection, and puts what the hub makes of it into the mailbox.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::super::mailbox::{Refused, Slot};
use super::{Known, Listed, Refusal, Step, Ticket};
use crate::event::Position;
use crate::frame::Frame;
use crate::related::{FetchError, Listing};

/// How long a snapshot may take in all: as long its transaction is open.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a client may take nothing.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long the hub may take to be told what the snapshot shows.
const BEHIND_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether there is room in the mailbox, or whether the hub has come far enough.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

pub(super) struct Pump {
    pub ticket: Ticket,
    pub listing: Box<dyn Listing>,
    pub mailbox: Slot,
    pub hub: mpsc::Sender<Step>,
}

/// Why a pump stops.
enum Stop {
    Refused(Refusal),
    /// Nobody wants it any more.
    Gone,
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Self {
        tracing::warn!(
            error = &error as &dyn Error,
            "a snapshot cannot be read; its subscriber is told to load otherwise"
        );
        Self::Refused(Refusal::Unavailable)
    }
}

impl Pump {
    pub(super) async fn run(mut self) {
        let told = timeout(DEADLINE, self.tell()).await;
        let outcome = match told.unwrap_or(Err(Stop::Refused(Refusal::TooSlow))) {
            Ok(moment) => Ok(moment),
            Err(Stop::Refused(refusal)) => Err(refusal),
            // If anybody still waits for it, what it was about is gone.
            Err(Stop::Gone) => Err(Refusal::Changed),
        };
        let ticket = self.ticket;
        // Ends the transaction first.
        drop(self.listing);
        let _ = self.hub.send(Step::End { ticket, outcome }).await;
    }

    async fn tell(&mut self) -> Result<Position, Stop> {
        let moment = self.listing.begin().await?;
        let known = timeout(BEHIND_MAX, self.wait_until_known(&moment)).await;
        let listed = known.unwrap_or(Err(Stop::Refused(Refusal::Unavailable)))?;
        let Some(Listed { collection, record }) = listed else {
            return Ok(moment);
        };
        loop {
            let (of, record) = (Arc::clone(&collection), record.clone());
            let rows = self.listing.page(of, record).await?;
            if rows.is_empty() {
                return Ok(moment);
            }
            let ticket = self.ticket;
            let frames = ask(&self.hub, |reply| Step::Rows {
                ticket,
                rows,
                reply,
            })
            .await?;
            for frame in frames.map_err(Stop::Refused)? {
                hand_over(&self.mailbox, frame).await?;
            }
        }
    }

    /// Waits until the hub has been told everything that the listing shows. Else it might decide by rights that
    /// had ended when a row was written; and it might tell of the row again, later.
    async fn wait_until_known(&mut self, moment: &Position) -> Result<Option<Listed>, Stop> {
        loop {
            let ticket = self.ticket;
            let known = ask(&self.hub, |reply| Step::Ask { ticket, reply }).await?;
            let Known { position, listed } = known;
            let position = position.filter(|known| known.epoch() == moment.epoch());
            if let Some(known) = position {
                let unseen = self.listing.unseen((**known.floor()).clone()).await?;
                if unseen
                    .iter()
                    .all(|transaction| known.contains(*transaction))
                {
                    return Ok(listed);
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Puts a frame into the mailbox. Half of it is left to what happens now.
async fn hand_over(mailbox: &Slot, mut frame: Frame) -> Result<(), Stop> {
    let began = Instant::now();
    loop {
        if mailbox.waiting() * 2 <= mailbox.room_max() {
            frame = match mailbox.put(frame) {
                Ok(errand) => {
                    if let Some(errand) = errand {
                        errand.run(Instant::now());
                    }
                    return Ok(());
                }
                Err(Refused::Full(frame)) => frame,
                Err(Refused::Closed) => return Err(Stop::Gone),
            };
        }
        if mailbox.is_closed() {
            return Err(Stop::Gone);
        }
        if began.elapsed() > STALL_MAX {
            return Err(Stop::Refused(Refusal::TooSlow));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

async fn ask<T>(
    hub: &mpsc::Sender<Step>,
    step: impl FnOnce(oneshot::Sender<T>) -> Step,
) -> Result<T, Stop> {
    let (reply, answer) = oneshot::channel();
    let sent = hub.send(step(reply)).await;
    sent.map_err(|_| Stop::Gone)?;
    answer.await.map_err(|_| Stop::Gone)
}
