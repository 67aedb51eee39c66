//! Couriers: tasks that write to many clients, one after the other.
//!
//! To wake one task for each client costs more than to write to it: most of what a task touches is its own, and cold.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::slot::Errand;

/// Errands that are given to a courier at a time.
const ROUND: usize = 64;

/// Rounds that a courier makes before other tasks of its thread have their turn: a millisecond or two.
const ROUNDS_MAX: usize = 4;

/// So few are run at once.
const ERRANDS_MAX: usize = 4;

/// Errands that are to be run.
#[derive(Default)]
pub(in crate::hub) struct Rounds {
    next: Vec<Errand>,
    office: Arc<Office>,
}

/// Where couriers get their rounds.
#[derive(Default)]
struct Office(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    rounds: VecDeque<Vec<Errand>>,
    couriers: usize,
}

impl Rounds {
    /// Takes in an errand; where there are enough for a courier, it sets out.
    pub(in crate::hub) fn add(&mut self, errand: Errand) {
        self.next.push(errand);
        if self.next.len() >= ROUND {
            self.hand_over();
        }
    }

    /// Sees to it that all errands are run.
    pub(in crate::hub) fn set_out(&mut self) {
        if self.next.len() > ERRANDS_MAX {
            self.hand_over();
        } else if !self.next.is_empty() {
            let now = Instant::now();
            self.next.drain(..).for_each(|errand| errand.run(now));
        }
    }

    fn hand_over(&mut self) {
        let round = std::mem::replace(&mut self.next, Vec::with_capacity(ROUND));
        if self.office.take_in(round) {
            tokio::spawn(Arc::clone(&self.office).serve());
        }
    }
}

impl Office {
    /// Returns whether another courier is needed.
    fn take_in(&self, round: Vec<Errand>) -> bool {
        let mut waiting = self.lock();
        waiting.rounds.push_back(round);
        let is_needed = waiting.couriers < couriers_max();
        waiting.couriers += usize::from(is_needed);
        is_needed
    }

    /// One courier, until there is nothing more to do.
    async fn serve(self: Arc<Self>) {
        loop {
            for _ in 0..ROUNDS_MAX {
                let Some(round) = self.next_round() else {
                    return;
                };
                let now = Instant::now();
                round.into_iter().for_each(|errand| errand.run(now));
            }
            yield_now().await;
        }
    }

    fn next_round(&self) -> Option<Vec<Errand>> {
        let mut waiting = self.lock();
        let round = waiting.rounds.pop_front();
        waiting.couriers -= usize::from(round.is_none());
        round
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread is left to the hub, to what feeds it, and to requests.
fn couriers_max() -> usize {
    let threads = Handle::current().metrics().num_workers();
    threads.saturating_sub(1).max(1)
}
