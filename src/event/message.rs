//! A custom message: what an application tells the subscribers of a topic.

use std::sync::Arc;

use serde::Deserialize;

use super::{Position, Transaction};
use crate::catalog::Catalog;

/// One committed message.
#[derive(Debug, Clone)]
pub struct Message {
    /// All collections, and the policy, as they were understood when it was read: who may hear it is
    /// decided by these.
    pub catalog: Arc<Catalog>,
    /// Who has subscribed to this hears it.
    pub topic: Arc<str>,
    /// One line of JSON: what is told, or what the template is filled with.
    pub data: Arc<str>,
    /// What makes HTML of the data, if anything does.
    pub template: Option<Arc<str>>,
    /// Whom of these it is for.
    pub audience: Audience,
    /// The transaction that sent it; `None` where nobody knows.
    pub transaction: Option<Transaction>,
    /// As [`ChangeEvent::position`](super::ChangeEvent::position).
    pub position: Option<Position>,
    /// Whether it is the last item of its transaction.
    pub ends_transaction: bool,
}

/// For whom a message is, of those who have subscribed to its topic: for those who are all of this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// The stream with this client id.
    pub client: Option<Arc<str>>,
    /// The streams of this principal.
    pub principal: Option<PrincipalName>,
    /// The streams of which this is true, in the rule language.
    pub filter: Option<Arc<str>>,
}

impl Audience {
    /// Everybody who has subscribed.
    pub fn everybody() -> Self {
        Self::default()
    }
}

/// A principal as the policy writes it: `members/42`, `_superusers/ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalName {
    /// The name or the id of its collection.
    pub collection: Arc<str>,
    /// Its record id.
    pub id: Arc<str>,
}

impl PrincipalName {
    /// Reads `collection/id`; `None` if one of the two is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let (collection, id) = text.split_once('/')?;
        (!collection.is_empty() && !id.is_empty()).then(|| Self {
            collection: collection.into(),
            id: id.into(),
        })
    }
}

impl std::fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.collection, self.id)
    }
}

/// Why a message cannot be understood. Never holds its data.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// What stands beside the data says something else than it should, or more.
    #[error("what is said about the message cannot be read")]
    Envelope(#[source] serde_json::Error),
    /// The principal is none.
    #[error("the message is for a principal that cannot be one")]
    Principal,
    /// The data is no JSON.
    #[error("the data of the message is not JSON")]
    Data(#[source] serde_json::Error),
}

/// What is written beside the data. Of what is unknown here nobody could say whom it keeps away, so
/// that such a message is for nobody.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    topic: String,
    client: Option<String>,
    principal: Option<String>,
    filter: Option<String>,
    template: Option<String>,
}

impl Message {
    /// Reads a message as the log has it.
    ///
    /// # Errors
    /// If it cannot be understood.
    pub fn read(envelope: &str, data: &str, catalog: &Arc<Catalog>) -> Result<Self, MessageError> {
        let envelope: Envelope = serde_json::from_str(envelope).map_err(MessageError::Envelope)?;
        serde_json::from_str::<serde::de::IgnoredAny>(data).map_err(MessageError::Data)?;
        let principal = envelope.principal.map(|text| {
            let name = PrincipalName::parse(&text);
            name.ok_or(MessageError::Principal)
        });
        Ok(Self {
            catalog: Arc::clone(catalog),
            topic: envelope.topic.into(),
            data: data.into(),
            template: envelope.template.map(Into::into),
            audience: Audience {
                client: envelope.client.map(Into::into),
                principal: principal.transpose()?,
                filter: envelope.filter.map(Into::into),
            },
            transaction: None,
            position: None,
            ends_transaction: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_not_understood_whole_is_for_nobody() {
        let read = |envelope: &str, data: &str| Message::read(envelope, data, &Arc::default());
        let message = read(
            r#"{"topic":"chat","client":"c","principal":"members/a/b","filter":"1 = 1"}"#,
            r#"{"a": "\n"}"#,
        );
        let message = message.expect("a good one");
        assert_eq!(
            (&*message.topic, &*message.data),
            ("chat", r#"{"a": "\n"}"#)
        );
        let principal = message.audience.principal.expect("it has one");
        assert_eq!((&*principal.collection, &*principal.id), ("members", "a/b"));
        for (envelope, data) in [
            ("{}", "{}"),
            (r#"{"topic":"chat"}"#, "{"),
            (r#"{"topic":"chat"}"#, ""),
            (r#"{"topic":"chat","principal":"members"}"#, "{}"),
            (r#"{"topic":"chat","principal":"/1"}"#, "{}"),
            (r#"{"topic":"chat","unless":"x"}"#, "{}"),
            (r#"{"topic":7}"#, "{}"),
        ] {
            assert!(read(envelope, data).is_err(), "{envelope} {data}");
        }
    }
}
