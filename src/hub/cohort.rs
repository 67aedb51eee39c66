//! Those who are told the same piece of the past together.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::registry::SubscriberKey;
use crate::event::{Position, Transaction};

/// Subscribers by topic, then by the subscription's whole text.
#[derive(Default)]
pub(super) struct Cohort(HashMap<Box<str>, IndexMap<Arc<str>, Vec<Member>>>);

/// One of them, under one subscription.
pub(super) struct Member {
    pub key: SubscriberKey,
    /// What it has been told already.
    seen: Position,
}

impl Member {
    /// Whether it is news to it what a transaction did. What is of none always is.
    pub(super) fn misses(&self, transaction: Option<Transaction>) -> bool {
        !transaction.is_some_and(|transaction| self.seen.contains(transaction))
    }
}

impl Cohort {
    /// Takes in a subscriber with some of its subscriptions.
    pub(super) fn insert(
        &mut self,
        key: SubscriberKey,
        texts: &[(Box<str>, Arc<str>)],
        seen: &Position,
    ) {
        for (topic, text) in texts {
            let groups = match self.0.get_mut(topic) {
                Some(groups) => groups,
                None => self.0.entry(topic.clone()).or_default(),
            };
            groups.entry(Arc::clone(text)).or_default().push(Member {
                key,
                seen: seen.clone(),
            });
        }
    }

    /// The groups that wait for a topic.
    pub(super) fn groups(&self, topic: &str) -> impl Iterator<Item = (&Arc<str>, &Vec<Member>)> {
        self.0.get(topic).into_iter().flatten()
    }

    /// Every topic, with the texts that ask for it.
    pub(super) fn all_groups(&self) -> impl Iterator<Item = (&str, &Arc<str>, &Vec<Member>)> {
        self.0.iter().flat_map(|(topic, groups)| {
            groups
                .iter()
                .map(move |(text, members)| (&**topic, text, members))
        })
    }
}
