//! Who was told to load afresh because rows could not be looked up: once in a while, not with every event.
//!
//! Whoever is told loads what is there at that moment. What it may miss afterwards, while rows are held
//! back, it is told of when they may be looked up again.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::mailbox::ClientId;
use crate::catalog::{Collection, CollectionKey};

/// Who, under which subscription, of which collection.
type Place = (ClientId, Arc<str>, CollectionKey);

/// Those who were told, and have not missed anything told since.
#[derive(Default)]
pub(super) struct Resyncs {
    told: HashMap<Place, Told>,
    batch: u64,
    /// The first time at which somebody is to be told again.
    due: Option<Instant>,
    count: u64,
}

struct Told {
    collection: Arc<Collection>,
    /// Until when it is not told again.
    until: Instant,
    /// In which batch it was told. What stands in the same one was there when it was told.
    batch: u64,
    /// Whether it may have missed something since.
    again: bool,
}

/// Somebody who is to be told.
pub(super) struct Reminder {
    pub subscriber: ClientId,
    /// The subscription.
    pub text: Arc<str>,
    pub collection: Arc<Collection>,
}

impl Resyncs {
    /// A new batch begins.
    pub(super) fn begin(&mut self) {
        if self.told.is_empty() {
            return;
        }
        self.batch += 1;
        let now = Instant::now();
        self.told.retain(|_, told| told.again || told.until > now);
    }

    /// Notes that somebody may miss an event of a collection, because rows are held back until then.
    /// Returns whether it is to be told now.
    pub(super) fn note(
        &mut self,
        subscriber: &ClientId,
        text: &Arc<str>,
        collection: &Arc<Collection>,
        until: Instant,
    ) -> bool {
        let place = (subscriber.clone(), Arc::clone(text), collection.key);
        let batch = self.batch;
        if let Some(told) = self.told.get_mut(&place)
            && (told.batch == batch || told.until > Instant::now())
        {
            if told.batch != batch {
                told.again = true;
                self.due = Some(self.due.map_or(told.until, |due| due.min(told.until)));
            }
            return false;
        }
        let told = Told {
            collection: Arc::clone(collection),
            until,
            batch,
            again: false,
        };
        self.told.insert(place, told);
        self.count += 1;
        true
    }

    /// How often somebody was told.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Waits until somebody is to be told again. Safe to drop half-way.
    pub(super) async fn next_due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Those who are to be told now, which are forgotten.
    pub(super) fn take_due(&mut self) -> Vec<Reminder> {
        let now = Instant::now();
        let due = self
            .told
            .extract_if(|_, told| told.again && told.until <= now);
        let due = due.map(|((subscriber, text, _), told)| Reminder {
            subscriber,
            text,
            collection: told.collection,
        });
        let due = due.collect();
        let waiting = self.told.values().filter(|told| told.again);
        self.due = waiting.map(|told| told.until).min();
        due
    }
}
