//! What a row may be about beside collections: topics of the application's own, and keys of what is kept
//! about a stream.
//!
//! An object names one of them, `topic:chat/42` or `store:room`; in a row it may end in a star, which stands
//! for any rest. Without a row, everybody may subscribe to a topic, and only superusers do anything else.

use std::sync::Arc;

use super::rows::{ANY, Effect, RuleRow};
use super::{RoleSet, RuleKind};

const TOPIC: &str = "topic:";
const STORE: &str = "store:";

/// The object of the built-in row that lets everybody subscribe to topics no row closes.
pub(super) const OPEN_TOPICS: &str = TOPIC;

/// The object that a topic of the application's own is.
pub fn topic_object(topic: &str) -> Arc<str> {
    format!("{TOPIC}{topic}").into()
}

/// The object that a key of what is kept about a stream is.
pub fn store_object(key: &str) -> Arc<str> {
    format!("{STORE}{key}").into()
}

/// Whether it is the object of a row about one of these, and not a collection's name.
pub(super) fn is_object(object: &str) -> bool {
    object.starts_with(TOPIC) || object.starts_with(STORE)
}

/// The kinds of rules about such an object.
pub(super) fn kinds(object: &str) -> &'static [RuleKind] {
    match object.starts_with(STORE) {
        true => &[RuleKind::Set],
        false => &[RuleKind::Subscribe, RuleKind::Send, RuleKind::Filter],
    }
}

/// What is wrong with the object of a row, if anything is.
pub(super) fn mistake(object: &str) -> Option<&'static str> {
    let name = name_of(object);
    let star = name.find('*').is_some_and(|at| at + 1 < name.len());
    (name.is_empty() || star).then_some(
        "v1 must name a topic or a key behind the colon, with a star at its end if at all; an allow like this \
         allows nothing",
    )
}

/// Whether a row that names `written` is about `object`. A star is followed by nothing in rows that may
/// allow; in others what stands behind it does not matter.
fn covers(written: &str, object: &str) -> bool {
    match written.split_once('*') {
        Some((front, _)) => object.starts_with(front) && is_object(front),
        None => written == object,
    }
}

/// Whether a row is about an object, which is no collection. `closed` says whether some row closes it to
/// whoever is not allowed.
pub(super) fn is_about(
    subject: &str,
    written: &str,
    effect: Effect,
    object: &str,
    closed: bool,
) -> bool {
    match written {
        // Who may see all collections may not for that speak on every topic.
        ANY => effect == Effect::Deny || subject == "superuser",
        OPEN_TOPICS => effect == Effect::Deny || object.starts_with(TOPIC) && !closed,
        written => covers(written, object),
    }
}

/// What closes topics to all but those who are allowed: every row that is about subscribing, or may have
/// been meant to be, unless it plainly denies.
#[derive(Debug, Clone, Default)]
pub(super) struct Closed(Vec<Arc<str>>);

impl Closed {
    /// Takes in a row as it was written.
    pub(super) fn note(&mut self, object: &str, kind: &str, effect: &str) {
        let other = [RuleKind::Send, RuleKind::Filter];
        let is_other = other.iter().any(|other| other.as_str() == kind);
        if object.starts_with(TOPIC) && effect != Effect::Deny.as_str() && !is_other {
            self.0.push(object.into());
        }
    }

    /// Whether an object is closed.
    pub(super) fn closes(&self, object: &str) -> bool {
        let mut closing = self.0.iter();
        closing.any(|written| **written == *OPEN_TOPICS || covers(written, object))
    }
}

/// The rows about an object that is no collection, of those who have these roles, in the table's order.
pub(super) fn applicable<'r>(
    rules: impl Iterator<Item = (u32, &'r Arc<RuleRow>)>,
    roles: &RoleSet,
    object: &str,
    kind: RuleKind,
    closed: bool,
) -> impl Iterator<Item = &'r Arc<RuleRow>> {
    rules
        .filter(move |(subject, row)| {
            let RuleRow {
                subject: name,
                collection,
                effect,
                ..
            } = &***row;
            row.is_about(kind)
                && roles.contains(*subject)
                && is_about(name, collection, *effect, object, closed)
        })
        .map(|(_, row)| row)
}

fn name_of(object: &str) -> &str {
    object.split_once(':').map_or(object, |(_, name)| name)
}
