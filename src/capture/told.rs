//! What is told of a transaction, before it is known whether it was the last of it.

use std::sync::Arc;

use crate::event::{ChangeEvent, FeedItem, Message, Position, RowImage, Transaction};

/// A change or a message.
#[derive(Debug)]
pub(super) enum Told {
    Change(ChangeEvent),
    Message(Message),
}

impl Told {
    /// Notes by whom it was written, and what had been delivered before that, if anybody can say.
    pub(super) fn place(&mut self, transaction: Option<Transaction>, passed: Option<Position>) {
        *self.transaction_mut() = transaction;
        *self.position_mut() = passed;
    }

    /// Notes what has been delivered with it, if anybody can say.
    pub(super) fn reach(&mut self, position: Option<Position>) {
        *self.position_mut() = position;
    }

    /// Notes that it is the last of its transaction.
    pub(super) fn end(&mut self) {
        match self {
            Self::Change(event) => event.ends_transaction = true,
            Self::Message(message) => message.ends_transaction = true,
        }
    }

    /// The transaction it belongs to.
    pub(super) fn transaction(&self) -> Option<Transaction> {
        match self {
            Self::Change(event) => event.transaction,
            Self::Message(message) => message.transaction,
        }
    }

    /// The change, if it is one.
    pub(super) fn change(&self) -> Option<&ChangeEvent> {
        match self {
            Self::Change(event) => Some(event),
            Self::Message(_) => None,
        }
    }

    /// What it takes to hold it back, about.
    pub(super) fn bytes(&self) -> usize {
        let json = |image: &Option<RowImage>| image.as_ref().map_or(0, |image| image.json().len());
        match self {
            Self::Change(event) => json(&event.old) + json(&event.new),
            Self::Message(message) => message.data.len(),
        }
    }

    pub(super) fn into_item(self) -> FeedItem {
        match self {
            Self::Change(event) => FeedItem::Change(Arc::new(event)),
            Self::Message(message) => FeedItem::Message(Arc::new(message)),
        }
    }

    fn transaction_mut(&mut self) -> &mut Option<Transaction> {
        match self {
            Self::Change(event) => &mut event.transaction,
            Self::Message(message) => &mut message.transaction,
        }
    }

    fn position_mut(&mut self) -> &mut Option<Position> {
        match self {
            Self::Change(event) => &mut event.position,
            Self::Message(message) => &mut message.position,
        }
    }
}
