//! What is asked for: a subscription is a topic with options; and the topics an event answers to.
//!
//! *Owns* [`Subscription`] and its parser, and the four topics of an event.
//! *Takes* text as a client wrote it.
//! *Gives* the topic to match, the options to apply, and the text to echo.
//! *Never* refuses a text: what names no collection is a custom topic or never fires.

mod expand;
mod options;

use std::sync::Arc;

use crate::catalog::Collection;
use crate::event::RecordId;

pub use expand::{Expand, ExpandError};
pub(crate) use options::has_whole_escapes;
pub use options::{Options, OptionsError};

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

impl Subscription {
    /// Reads a subscription; never fails, as PocketBase accepts any text.
    pub fn parse(text: &str) -> Self {
        Self {
            text: text.into(),
            options: Options::of(text),
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

    /// Whether all that was meant to be options is among [`options`](Self::options).
    ///
    /// # Errors
    /// If it is not: such options are ignored.
    pub fn check_options(&self) -> Result<(), OptionsError> {
        Options::check(&self.text)
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

/// Calls `visit` once with every topic that a change of record `id` answers to (section 3.2), the
/// wildcard not included. Allocates once.
pub fn visit_topics(collection: &Collection, id: &RecordId, visit: impl FnMut(&str, Guard)) {
    visit_topics_of(&collection.name, &collection.id, &id.0, visit);
}

fn visit_topics_of(
    name: &str,
    collection_id: &str,
    record_id: &str,
    mut visit: impl FnMut(&str, Guard),
) {
    let mut topic = String::with_capacity(longest_topic(name, collection_id, record_id));
    for owner in [name, collection_id] {
        topic.clear();
        topic.push_str(owner);
        visit(&topic, Guard::List);
        topic.push_str("/*");
        visit(&topic, Guard::List);
        topic.pop();
        topic.push_str(record_id);
        // A record whose id is `*` would answer to the collection's topic under the view rule.
        if record_id != "*" {
            visit(&topic, Guard::View);
        }
        if name == collection_id {
            break;
        }
    }
}

/// Which rule guards a topic if it is about this collection, or `None` if it is about something else.
pub fn guard_of(topic: &str, collection: &Collection) -> Option<Guard> {
    [&collection.name, &collection.id]
        .into_iter()
        .find_map(|owner| guard_under(topic, owner))
}

fn guard_under(topic: &str, owner: &str) -> Option<Guard> {
    match topic.strip_prefix(owner)? {
        "" | "/*" => Some(Guard::List),
        rest => rest.starts_with('/').then_some(Guard::View),
    }
}

fn longest_topic(name: &str, collection_id: &str, record_id: &str) -> usize {
    name.len().max(collection_id.len()) + "/".len() + record_id.len().max("*".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(name: &str, collection_id: &str, record_id: &str) -> Vec<(String, Guard)> {
        let mut topics = Vec::new();
        visit_topics_of(name, collection_id, record_id, |topic, guard| {
            topics.push((topic.to_owned(), guard));
        });
        topics
    }

    fn guard_of(text: &str) -> Option<Guard> {
        let subscription = Subscription::parse(text);
        topics("posts", "pbc_1", "abc")
            .into_iter()
            .find(|(topic, _)| topic == subscription.topic())
            .map(|(_, guard)| guard)
    }

    #[test]
    fn subscription_matches_byte_for_byte_up_to_the_question_mark() {
        for (text, guard) in [
            ("posts", Some(Guard::List)),
            ("posts/*", Some(Guard::List)),
            ("posts/abc", Some(Guard::View)),
            ("pbc_1", Some(Guard::List)),
            ("pbc_1/*", Some(Guard::List)),
            ("pbc_1/abc", Some(Guard::View)),
            ("posts/*?", Some(Guard::List)),
            ("posts/*??", Some(Guard::List)),
            ("posts/*?x=1", Some(Guard::List)),
            ("posts?x=1", Some(Guard::List)),
            ("posts/abc?options={}", Some(Guard::View)),
            ("POSTS/*", None),
            ("posts/", None),
            ("posts/*/", None),
            ("posts/* ", None),
            (" posts/*", None),
            ("posts/%2A", None),
            ("posts/*#x", None),
            ("posts/ABC", None),
            ("posts/abcd", None),
            ("posts/ab", None),
            ("post", None),
            ("*", None),
            ("?", None),
            ("", None),
        ] {
            assert_eq!(guard_of(text), guard, "{text:?}");
        }
    }

    #[test]
    fn every_topic_of_a_collection_has_its_guard() {
        for (topic, owner, guard) in [
            ("posts", "posts", Some(Guard::List)),
            ("posts/*", "posts", Some(Guard::List)),
            ("posts/abc", "posts", Some(Guard::View)),
            ("posts/a/b", "posts", Some(Guard::View)),
            ("posts2", "posts", None),
            ("posts2/*", "posts", None),
            ("post", "posts", None),
            ("chat", "posts", None),
            ("*", "posts", None),
        ] {
            assert_eq!(guard_under(topic, owner), guard, "{topic} of {owner}");
        }
    }

    #[test]
    fn text_is_kept_byte_for_byte() {
        for text in [
            "posts/*?options=%7b%7d&x=%zz#é",
            "a\nb",
            " posts",
            "posts?options={\"query\": {}}",
        ] {
            assert_eq!(&**Subscription::parse(text).text(), text);
        }
    }

    #[test]
    fn collection_named_like_its_id_answers_to_each_topic_once() {
        assert_eq!(
            topics("posts", "posts", "abc"),
            [
                ("posts".to_owned(), Guard::List),
                ("posts/*".to_owned(), Guard::List),
                ("posts/abc".to_owned(), Guard::View),
            ]
        );
    }

    #[test]
    fn record_called_star_answers_to_the_list_rule_only() {
        let topics = topics("posts", "pbc_1", "*");
        assert!(topics.iter().all(|(_, guard)| *guard == Guard::List));
        assert_eq!(topics.len(), 4);
    }

    #[test]
    fn room_for_the_longest_topic_is_made_at_once() {
        for (name, id, record) in [
            ("a", "pbc_1", ""),
            ("posts", "p", "x"),
            ("a", "b", "a long id"),
        ] {
            let topics = topics(name, id, record);
            let longest = topics.iter().map(|(topic, _)| topic.len()).max();
            assert_eq!(
                longest,
                Some(longest_topic(name, id, record)),
                "{name} {id} {record}"
            );
        }
    }
}
