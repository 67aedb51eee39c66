//! What happened: one committed change to one record, or a message of the application, and where it
//! stands in the log.

mod image;
mod message;
mod position;
mod snapshot;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use image::{ImageError, ParsedImage, key_texts, parse_image, record_id};
pub use message::{Audience, Message, MessageError, PrincipalName};
pub use position::{NotAPosition, Position, Transaction, log_of};
pub use snapshot::{NotASnapshot, Snapshot, Xid};

use crate::catalog::{Catalog, Collection};

/// What capture hands to the hub, in commit order.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// The catalog was loaded, at the start or because it or the policy has changed. Changes carry
    /// their collection as they were understood; this is for whoever wants to know the newest one
    /// before anything changes under it.
    Catalog(Arc<Catalog>),
    /// Everything up to here has been delivered, whether or not it was of interest. Comes at the
    /// start, and now and then when reads bring no change.
    Passed(Position),
    /// A record changed.
    Change(Arc<ChangeEvent>),
    /// The application has sent a message.
    Message(Arc<Message>),
    /// What somebody proves itself with has changed. Stands before the change itself, if that is
    /// told at all.
    KeysChanged(KeysChanged),
    /// Continuity is lost: changes happened that nobody will be told of one by one.
    Gap(Gap),
}

/// What somebody proves itself with has changed: tokens from before are void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysChanged {
    /// One record's, such as its password.
    Record {
        /// The id of its auth collection.
        collection_id: Arc<str>,
        /// The record's id.
        id: RecordId,
        /// The transaction that did it, with epoch (`xid8`).
        transaction: u64,
    },
    /// The secret of an auth collection.
    Collection {
        /// The collection's id.
        id: Arc<str>,
        /// The secret that holds now; `None` if there is none, or no collection any more.
        secret_version: Option<Arc<str>>,
    },
    /// The keys of the superuser with this id, or of all superusers.
    Superusers {
        /// One superuser's id; `None` for all.
        id: Option<Arc<str>>,
    },
}

impl FeedItem {
    /// The collection whose records it is about, if it is about records.
    pub fn collection(&self) -> Option<&Arc<Collection>> {
        match self {
            Self::Change(event) => Some(&event.collection),
            Self::Catalog(_) | Self::Passed(_) | Self::Message(_) | Self::KeysChanged(_) => None,
            Self::Gap(gap) => Some(&gap.collection),
        }
    }

    /// The transaction that did it, if one did and it is known.
    pub fn transaction(&self) -> Option<Transaction> {
        match self {
            Self::Change(event) => event.transaction,
            Self::Message(message) => message.transaction,
            Self::Gap(gap) => gap.transaction,
            Self::Catalog(_) | Self::Passed(_) | Self::KeysChanged(_) => None,
        }
    }

    /// What has been delivered when this was, if it was written by a transaction and anybody knows.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Change(event) => event.position.as_ref(),
            Self::Message(message) => message.position.as_ref(),
            Self::Catalog(_) | Self::Passed(_) | Self::KeysChanged(_) | Self::Gap(_) => None,
        }
    }

    /// The same, where something else is known to have been delivered.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        match &mut self {
            Self::Change(event) => Arc::make_mut(event).position = Some(position),
            Self::Message(message) => Arc::make_mut(message).position = Some(position),
            Self::Catalog(_) | Self::Passed(_) | Self::KeysChanged(_) | Self::Gap(_) => {}
        }
        self
    }

    /// Whether it is the last of its transaction.
    pub fn ends_transaction(&self) -> bool {
        match self {
            Self::Change(event) => event.ends_transaction,
            Self::Message(message) => message.ends_transaction,
            Self::Catalog(_) | Self::Passed(_) | Self::KeysChanged(_) | Self::Gap(_) => false,
        }
    }

    /// The position that has its whole transaction, if it is the last of it.
    pub fn end(&self) -> Option<&Position> {
        self.position().filter(|_| self.ends_transaction())
    }
}

/// One committed change to one record.
#[derive(Debug, Clone)]
pub struct ChangeEvent {
    /// The collection as it was understood when the change was decoded.
    pub collection: Arc<Collection>,
    /// What was done.
    pub action: Action,
    /// Which record.
    pub id: RecordId,
    /// The row before: present for [`Action::Update`] and [`Action::Delete`].
    pub old: Option<RowImage>,
    /// The row after: present for [`Action::Create`] and [`Action::Update`].
    pub new: Option<RowImage>,
    /// The transaction that did it; `None` where nobody knows.
    pub transaction: Option<Transaction>,
    /// What has been delivered when this was: on the last change of a transaction, the transaction
    /// too; on those before it, everything before the transaction. `None` where nobody knows.
    pub position: Option<Position>,
    /// Whether it is the last item of its transaction.
    pub ends_transaction: bool,
}

impl ChangeEvent {
    /// The row a subscriber is shown: the one after the change, or the last one of a deleted record.
    ///
    /// # Panics
    /// If neither image is present, which capture never produces.
    pub fn shown(&self) -> &RowImage {
        self.new
            .as_ref()
            .or(self.old.as_ref())
            .expect("a change carries at least one row image")
    }
}

/// What was done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It did not exist before.
    Create,
    /// It exists before and after, under the same id.
    Update,
    /// It does not exist after.
    Delete,
}

impl Action {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A record's id as text: the key column's value, or a composite key's values joined by commas
/// (each with `%`, `,`, `/` and `?` percent-encoded).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(pub Arc<str>);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One row as Postgres wrote it: a JSON object as text, with each known column's value located.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowImage {
    json: Box<str>,
    /// Invariant: as long as the collection's fields; each range lies inside `json`.
    values: Box<[Option<Range<u32>>]>,
}

impl RowImage {
    /// An image whose `values[i]` is where the value of field `i` stands in `json`; `None` where
    /// the image lacks that column.
    pub fn new(json: Box<str>, values: Box<[Option<Range<u32>>]>) -> Self {
        debug_assert!(
            values
                .iter()
                .flatten()
                .all(|range| json.get(range.start as usize..range.end as usize).is_some())
        );
        Self { json, values }
    }

    /// The whole object as Postgres wrote it.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The JSON text of field `index` as Postgres wrote it (white space possible), or `None` where
    /// the image lacks that column.
    pub fn value(&self, index: usize) -> Option<&str> {
        let range = self.values.get(index)?.clone()?;
        self.json.get(range.start as usize..range.end as usize)
    }

    /// The whole JSON text.
    pub fn into_json(self) -> Box<str> {
        self.json
    }
}

/// Continuity lost for one collection.
#[derive(Debug, Clone)]
pub struct Gap {
    /// The collection concerned.
    pub collection: Arc<Collection>,
    /// Why, for logs and counters.
    pub reason: GapReason,
    /// The transaction whose changes cannot be told, if it is that.
    pub transaction: Option<Transaction>,
}

/// Why continuity was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// More rows were truncated at once than are reported one by one.
    Truncated,
    /// The log was trimmed past the reader.
    Retention,
    /// The log was closed because nobody read it, and changes were not recorded.
    LogClosed,
    /// The database is another one, or another timeline, than before.
    Epoch,
    /// A row image could not be understood.
    Undecodable,
    /// A row image was withheld: it might have shown a column that is never captured.
    Withheld,
}

impl GapReason {
    /// The word used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Retention => "retention",
            Self::LogClosed => "log_closed",
            Self::Epoch => "epoch",
            Self::Undecodable => "undecodable",
            Self::Withheld => "withheld",
        }
    }
}
