//! What is kept about one stream, read and changed from outside.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::access::{auth_values, member_of};
use super::handle::{Command, HubHandle};
use super::messages::may;
use super::store::{BadKey, StoreChange, StoreError};
use super::task::Hub;
use crate::auth::Principal;
use crate::policy::{RuleKind, store_object};
use crate::rules::RequestContext;

/// Who asks to change what is kept about its own stream.
#[derive(Debug, Clone)]
pub struct StoreOwner {
    /// Where the request came from; must be where the stream came from.
    pub address: IpAddr,
    /// Who the request proved to be.
    pub principal: Principal,
}

impl HubHandle {
    /// What is kept about a stream.
    ///
    /// # Errors
    /// If there is no such stream in this process.
    pub async fn store(&self, client_id: &str) -> Result<Map<String, Value>, StoreError> {
        self.ask_to_change(client_id.to_owned(), StoreChange::new(), None)
            .await
    }

    /// Changes what is kept about a stream: each key's new value, where null forgets the key. Returns what is
    /// kept then. All of it is gone when the stream ends.
    ///
    /// # Errors
    /// If there is no such stream in this process, or something could not be kept; nothing has changed then.
    pub async fn change_store(
        &self,
        client_id: &str,
        change: StoreChange,
    ) -> Result<Map<String, Value>, StoreError> {
        self.ask_to_change(client_id.to_owned(), change, None).await
    }

    /// As [`change_store`](Self::change_store), on behalf of the stream's own client: only keys that the policy
    /// opens.
    ///
    /// # Errors
    /// As there, and if it is somebody else's stream or the policy says no.
    pub async fn change_own_store(
        &self,
        client_id: &str,
        change: StoreChange,
        owner: StoreOwner,
    ) -> Result<(), StoreError> {
        let changed = self
            .ask_to_change(client_id.to_owned(), change, Some(owner))
            .await;
        changed.map(drop)
    }

    async fn ask_to_change(
        &self,
        client_id: String,
        change: StoreChange,
        owner: Option<StoreOwner>,
    ) -> Result<Map<String, Value>, StoreError> {
        let command = |reply| Command::ChangeStore {
            client_id,
            change,
            owner,
            reply,
        };
        let changed = self.ask(command).await;
        changed.unwrap_or(Err(StoreError::Stopped))
    }

    /// Whether the newest policy lets somebody send to a topic; with `filter`, also say by a filter who hears
    /// it. `false` before the policy is known.
    pub fn may_send(&self, principal: &Principal, topic: &str, filter: bool) -> bool {
        let Some(catalog) = self.newest_catalog() else {
            return false;
        };
        let kinds = [RuleKind::Send, RuleKind::Filter];
        let mut kinds = kinds.into_iter().take(if filter { 2 } else { 1 });
        kinds.all(|kind| may(catalog.policy(), principal, topic, kind))
    }
}

impl Hub {
    pub(super) fn change_store(
        &mut self,
        client_id: &str,
        change: StoreChange,
        owner: Option<&StoreOwner>,
    ) -> Result<Map<String, Value>, StoreError> {
        let key = self.registry.find(client_id);
        let key = key.ok_or(StoreError::UnknownClient)?;
        if let Some(owner) = owner {
            self.check_owner(key, &change, owner)?;
        }
        let subscriber = self.registry.get_mut(key);
        let subscriber = subscriber.ok_or(StoreError::UnknownClient)?;
        subscriber.store.change(change)?;
        Ok(subscriber.store.values().clone())
    }

    /// The same checks as for subscriptions, and the policy's.
    fn check_owner(
        &self,
        key: usize,
        change: &StoreChange,
        owner: &StoreOwner,
    ) -> Result<(), StoreError> {
        let subscriber = self.registry.get(key).ok_or(StoreError::UnknownClient)?;
        if subscriber.address != owner.address {
            return Err(StoreError::ForeignAddress);
        }
        let known = subscriber.principal();
        if !known.is_guest() && *known != owner.principal {
            return Err(StoreError::OtherPrincipal);
        }
        let policy = self.access.catalog().policy();
        let member = member_of(&owner.principal);
        let (auth, nothing) = (auth_values(&owner.principal), BTreeMap::new());
        let now = Timestamp::now();
        let request = RequestContext::realtime(auth.as_ref(), &nothing, &nothing, now, &self.shelf);
        let client = subscriber.as_row();
        let is_open = |name: &str| {
            let object = store_object(name);
            let set = RuleKind::Set;
            self.filters.opens(policy, &member, &object, set, |rule| {
                let client = client.as_ref();
                self.filters.passes(rule, client, &request, &self.tally)
            })
        };
        let closed: Vec<_> = change
            .keys()
            .filter(|name| !is_open(name))
            .map(|name| (name.clone(), BadKey::Forbidden))
            .collect();
        match closed.is_empty() {
            true => Ok(()),
            false => Err(StoreError::Keys(closed)),
        }
    }
}
