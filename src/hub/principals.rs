//! What becomes of open streams when those behind them change, leave, or their tokens end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::registry::{Registry, SubscriberKey};
use super::{HubOptions, TokenExpiry};
use crate::auth::{Principal, Proof, SUPERUSERS_ID};
use crate::catalog::Collection;
use crate::event::{Action, ChangeEvent, FeedItem, KeysChanged, RowImage};

/// Streams whose tokens ended together end within this time, so that they do not come back together.
const END_SPREAD: Duration = Duration::from_secs(3);
/// Later ends are as good as none: no stream lives that long.
const FAR: Duration = Duration::from_secs(30 * 24 * 3600);

impl Registry {
    /// Notes until when a subscriber's proof holds.
    pub(super) fn expect_end(
        &mut self,
        key: SubscriberKey,
        expires_at: Option<SystemTime>,
        options: &HubOptions,
    ) {
        let at = match options.token_expiry {
            TokenExpiry::Ignore => None,
            TokenExpiry::End => expires_at.map(instant_of),
        };
        self.set_deadline(key, at);
    }

    /// Waits until a token ends. Safe to drop half-way.
    pub(super) fn next_end(&self) -> impl Future<Output = ()> + use<> {
        let first = self.first_deadline();
        async move {
            match first {
                Some((at, _)) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Takes their rights from those whose tokens have ended, and returns those whose streams end.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<SubscriberKey> {
        let mut ended = Vec::new();
        while let Some((at, key)) = self.first_deadline()
            && at <= now
        {
            if self.get(key).is_some_and(|who| who.principal().is_guest()) {
                self.set_deadline(key, None);
                ended.push(key);
            } else {
                self.set_principal(key, Principal::Guest);
                let pause = END_SPREAD.mul_f64(rand::random::<f64>());
                self.set_deadline(key, Some(now + pause));
            }
        }
        ended
    }

    /// Replaces what is known of a subscriber by what it has proved once more.
    pub(super) fn confirm(
        &mut self,
        client_id: &str,
        claimed: &Principal,
        proof: Proof,
        options: &HubOptions,
    ) {
        let Some(key) = self.find(client_id) else {
            return;
        };
        if self.get(key).is_none_or(|who| who.principal() != claimed) {
            return;
        }
        let same = proof.principal == *claimed;
        let principal = if same {
            proof.principal
        } else {
            Principal::Guest
        };
        self.set_principal(key, principal);
        self.expect_end(key, proof.expires_at.filter(|_| same), options);
    }

    /// Takes their rights from those whose tokens are void, before anything else is delivered.
    pub(super) fn forget_keys(&mut self, changed: &KeysChanged) {
        let mut keys = match changed {
            KeysChanged::Record {
                collection_id, id, ..
            } => self.streams_of(collection_id, &id.0),
            KeysChanged::Collection { id, .. } => self.streams_of_all(id),
            KeysChanged::Superusers { id: Some(id) } => self.streams_of(SUPERUSERS_ID, id),
            KeysChanged::Superusers { id: None } => self.streams_of_all(SUPERUSERS_ID),
        };
        keys.retain(|&key| match changed {
            KeysChanged::Record { transaction, .. } => !self.has_seen(key, Some(*transaction)),
            KeysChanged::Collection { secret_version, .. } => {
                self.proved_otherwise(key, secret_version.as_deref())
            }
            KeysChanged::Superusers { .. } => true,
        });
        for key in keys {
            self.make_guest(key);
        }
    }

    /// Whether a subscriber's token was signed with another secret than the one that holds now.
    fn proved_otherwise(&self, key: SubscriberKey, secret_version: Option<&str>) -> bool {
        let record = self.get(key).and_then(|who| who.principal().record());
        let proved = record.and_then(|record| record.secret_version.as_deref());
        // A foreign token needs no secret of ours, but the collection of its record.
        secret_version.is_none() || proved.is_some() && proved != secret_version
    }

    /// Whether a subscriber has proved itself after this transaction, so that it is no news of it.
    fn has_seen(&self, key: SubscriberKey, transaction: Option<u64>) -> bool {
        let record = self.get(key).and_then(|who| who.principal().record());
        let seen = record.zip(transaction);
        seen.is_some_and(|(record, transaction)| record.has_seen(transaction))
    }

    /// Follows a change of an auth record, after it was delivered; returns those whose streams end
    /// because nobody knows what has become of the records behind them.
    pub(super) fn follow(&mut self, item: &FeedItem) -> Vec<SubscriberKey> {
        match item {
            FeedItem::Change(event) if event.collection.auth.is_some() => {
                self.follow_record(event);
                Vec::new()
            }
            FeedItem::Gap(gap) if gap.collection.auth.is_some() => {
                self.streams_of_all(&gap.collection.id)
            }
            FeedItem::Catalog(_)
            | FeedItem::Passed(_)
            | FeedItem::Change(_)
            | FeedItem::Message(_)
            | FeedItem::KeysChanged(_)
            | FeedItem::Gap(_) => Vec::new(),
        }
    }

    fn follow_record(&mut self, event: &ChangeEvent) {
        for key in self.streams_of(&event.collection.id, &event.id.0) {
            if self.has_seen(key, event.transaction.map(|transaction| transaction.xid)) {
                continue;
            }
            match (event.action, &event.new) {
                (Action::Delete, _) => self.make_guest(key),
                (Action::Update, _) if voids_tokens(event) => self.make_guest(key),
                (Action::Create | Action::Update, Some(image)) => {
                    self.renew(key, &event.collection, image);
                }
                (Action::Create | Action::Update, None) => {}
            }
        }
    }

    fn renew(&mut self, key: SubscriberKey, collection: &Arc<Collection>, image: &RowImage) {
        let record = self.get(key).and_then(|who| who.principal().record());
        if let Some(record) = record {
            let renewed = record.with_values(collection, image.clone());
            self.set_principal(key, Principal::Record(Arc::new(renewed)));
        }
    }

    fn make_guest(&mut self, key: SubscriberKey) {
        self.set_principal(key, Principal::Guest);
        self.set_deadline(key, None);
    }
}

/// Whether an update makes the record's tokens void: without a token key of their own, they hold the
/// email.
fn voids_tokens(event: &ChangeEvent) -> bool {
    let Some(auth) = &event.collection.auth else {
        return false;
    };
    let email = |image: &Option<RowImage>| {
        let text = image.as_ref()?.value(auth.email?)?;
        Some(text.trim_ascii().to_owned())
    };
    auth.token_key.is_none() && event.old.is_some() && email(&event.old) != email(&event.new)
}

fn instant_of(time: SystemTime) -> Instant {
    let left = time.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left.min(FAR)
}
