//! What is asked for: a subscription is a topic with options; and the topics an event answers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::Collection;
use crate::event::RecordId;

/// The topic that stands for every collection the subscriber may list (our extension; PocketBase
/// has no such thing).
pub const WILDCARD: &str = "*";

/// One subscription of one subscriber, as the client wrote it.
///
/// Any text is a subscription (contract, section 3.1): what names no collection is a custom topic
/// or simply never fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    text: Arc<str>,
    options: Options,
}

/// What a client asked for beside the topic; empty unless it could be read (section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `options.query`: `expand`, `fields`, `filter` and whatever rules ask for.
    pub query: BTreeMap<String, String>,
    /// `options.headers`, names in snake case.
    pub headers: BTreeMap<String, String>,
}

impl Subscription {
    /// Reads a subscription; never fails, as PocketBase accepts any text.
    pub fn parse(text: &str) -> Self {
        Self {
            text: text.into(),
            options: Options::default(),
        }
    }

    /// The whole text byte for byte: the event name the client expects.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The part before the first `?`, which is what events are matched against.
    pub fn topic(&self) -> &str {
        topic_of(&self.text)
    }

    /// What was asked for beside the topic.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

fn topic_of(text: &str) -> &str {
    text.split_once('?').map_or(text, |(topic, _)| topic)
}

/// Which rule guards a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The list rule.
    List,
    /// The view rule.
    View,
}

/// Calls `visit` with every topic that a change of record `id` answers to (section 3.2), the
/// wildcard not included.
pub fn visit_topics(collection: &Collection, id: &RecordId, mut visit: impl FnMut(&str, Guard)) {
    let mut topic =
        String::with_capacity(collection.name.len().max(collection.id.len()) + id.0.len() + 1);
    for owner in [&collection.name, &collection.id] {
        topic.clear();
        topic.push_str(owner);
        visit(&topic, Guard::List);
        topic.push('/');
        topic.push('*');
        visit(&topic, Guard::List);
        topic.pop();
        topic.push_str(&id.0);
        // A record whose id is `*` would answer to the collection's topic under the view rule.
        if &*id.0 != "*" {
            visit(&topic, Guard::View);
        }
    }
}
