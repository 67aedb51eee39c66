//! Who is connected and what each of them asked for.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use indexmap::IndexSet;
use slab::Slab;
use tokio::time::Instant;

use super::access::{auth_values, member_of};
use super::groups::{Group, Topic};
use super::index::MEMBERS_MIN;
use super::line::Line;
use super::mailbox::{ClientId, Slot};
use super::marks::Marks;
use super::points::Progress;
use super::store::Store;
use crate::auth::{Principal, SUPERUSERS_ID};
use crate::policy::Member;
use crate::rules::AuthValues;
use crate::topic::Subscription;

/// A subscriber's place in the registry; given anew after it left.
pub(super) type SubscriberKey = usize;

/// One connected subscriber.
pub(super) struct Subscriber {
    pub id: ClientId,
    pub address: IpAddr,
    /// When its stream was opened.
    pub since: SystemTime,
    /// Invariant: the roles of `principal`.
    pub member: Member,
    /// Invariant: the values of `principal` as rules see them; nothing of guests.
    pub auth: Option<AuthValues>,
    pub mailbox: Slot,
    /// Invariant: `by_principal` holds this subscriber exactly under it, unless it is a guest.
    principal: Principal,
    /// Invariant: `deadlines` holds this subscriber exactly at this time.
    deadline: Option<Instant>,
    /// Invariant: `groups` holds this subscriber exactly under these.
    subscriptions: Vec<Subscription>,
    /// Counts its lists of subscriptions.
    pub generation: u64,
    /// How far it has come.
    pub progress: Progress,
    /// How it is told positions, if it is. Only [`Registry::set_marks`] changes whether.
    pub marks: Option<Marks>,
    /// What is kept about it for filters.
    pub store: Store,
}

impl Subscriber {
    /// Who it is.
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What it asked for.
    pub(super) fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }
}

/// All subscribers and their subscriptions.
pub(super) struct Registry {
    subscribers: Slab<Subscriber>,
    by_id: HashMap<ClientId, SubscriberKey>,
    by_address: HashMap<IpAddr, usize>,
    /// Invariant: no empty topic.
    topics: HashMap<Box<str>, Topic>,
    /// Topics with as many members have indexes.
    pub index_from: usize,
    subscriptions: usize,
    /// Subscribers with marks.
    marked: usize,
    /// By the id of the auth collection, then by record id. Invariant: no
    /// empty set, no empty collection.
    by_principal: HashMap<Arc<str>, HashMap<Arc<str>, IndexSet<SubscriberKey>>>,
    deadlines: BTreeSet<(Instant, SubscriberKey)>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            subscribers: Slab::new(),
            by_id: HashMap::new(),
            by_address: HashMap::new(),
            topics: HashMap::new(),
            index_from: MEMBERS_MIN,
            subscriptions: 0,
            marked: 0,
            by_principal: HashMap::new(),
            deadlines: BTreeSet::new(),
        }
    }
}

impl Registry {
    /// Connected subscribers.
    pub(super) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// All places are below this one; some are empty.
    pub(super) fn places(&self) -> SubscriberKey {
        self.subscribers.capacity()
    }

    /// Connected subscribers from one address.
    pub(super) fn subscribers_from(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    /// Subscriptions of all of them.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Takes in a subscriber without subscriptions.
    pub(super) fn insert(&mut self, id: ClientId, address: IpAddr, mailbox: Slot, line: Arc<Line>) {
        let key = self.subscribers.insert(Subscriber {
            id: id.clone(),
            address,
            since: SystemTime::now(),
            principal: Principal::Guest,
            deadline: None,
            member: member_of(&Principal::Guest),
            auth: None,
            mailbox,
            subscriptions: Vec::new(),
            generation: 0,
            marks: None,
            store: Store::default(),
            progress: Progress::new(line),
        });
        self.by_id.insert(id, key);
        *self.by_address.entry(address).or_default() += 1;
    }

    /// The place of the subscriber with this client id.
    pub(super) fn find(&self, id: &str) -> Option<SubscriberKey> {
        self.by_id.get(id).copied()
    }

    /// The subscriber at a place, to change what is its own.
    pub(super) fn get_mut(&mut self, key: SubscriberKey) -> Option<&mut Subscriber> {
        self.subscribers.get_mut(key)
    }

    /// Begins or ends to tell a subscriber positions.
    pub(super) fn set_marks(&mut self, key: SubscriberKey, marks: Option<Marks>) {
        if let Some(subscriber) = self.subscribers.get_mut(key) {
            self.marked += usize::from(marks.is_some());
            self.marked -= usize::from(subscriber.marks.is_some());
            subscriber.marks = marks;
        }
    }

    /// Whether anybody is told positions.
    pub(super) fn has_marked(&self) -> bool {
        self.marked > 0
    }

    /// All subscribers.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SubscriberKey, &mut Subscriber)> {
        self.subscribers.iter_mut()
    }

    /// The subscriber at a place.
    pub(super) fn get(&self, key: SubscriberKey) -> Option<&Subscriber> {
        self.subscribers.get(key)
    }

    /// Forgets a subscriber; its mailbox ends. Nothing happens if it is gone already.
    pub(super) fn remove(&mut self, key: SubscriberKey) {
        self.unsubscribe(key);
        self.set_principal(key, Principal::Guest);
        self.set_deadline(key, None);
        self.set_marks(key, None);
        let Some(subscriber) = self.subscribers.try_remove(key) else {
            return;
        };
        self.by_id.remove(&subscriber.id);
        if let Some(count) = self.by_address.get_mut(&subscriber.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&subscriber.address);
            }
        }
    }

    /// Replaces who a subscriber is and what it asked for. Repeated subscriptions count once.
    pub(super) fn replace(
        &mut self,
        key: SubscriberKey,
        principal: Principal,
        subscriptions: Vec<Subscription>,
    ) {
        self.unsubscribe(key);
        self.set_principal(key, principal);
        let Some(subscriber) = self.subscribers.get_mut(key) else {
            return;
        };
        subscriber.generation += 1;
        for subscription in subscriptions {
            let topic = match self.topics.get_mut(subscription.topic()) {
                Some(topic) => topic,
                None => self.topics.entry(subscription.topic().into()).or_default(),
            };
            if topic.join(key, &subscription) {
                self.subscriptions += 1;
                subscriber.subscriptions.push(subscription);
            }
        }
    }

    /// Makes a subscriber somebody else, or the same one with newer values.
    pub(super) fn set_principal(&mut self, key: SubscriberKey, principal: Principal) {
        let Some(subscriber) = self.subscribers.get_mut(key) else {
            return;
        };
        subscriber.progress.line().set_principal(principal.clone());
        subscriber.member = member_of(&principal);
        subscriber.auth = auth_values(&principal);
        let before = std::mem::replace(&mut subscriber.principal, principal.clone());
        for subscription in &subscriber.subscriptions {
            if let Some(topic) = self.topics.get_mut(subscription.topic()) {
                topic.note_principal(key, subscription.text());
            }
        }
        if let Some((collection, id)) = place_of(&before)
            && let Some(records) = self.by_principal.get_mut(&*collection)
        {
            if let Some(keys) = records.get_mut(&*id) {
                keys.swap_remove(&key);
                if keys.is_empty() {
                    records.remove(&*id);
                }
            }
            if records.is_empty() {
                self.by_principal.remove(&*collection);
            }
        }
        if let Some((collection, id)) = place_of(&principal) {
            let records = self.by_principal.entry(collection).or_default();
            records.entry(id).or_default().insert(key);
        }
    }

    /// Sets when something is due for a subscriber.
    pub(super) fn set_deadline(&mut self, key: SubscriberKey, deadline: Option<Instant>) {
        let Some(subscriber) = self.subscribers.get_mut(key) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut subscriber.deadline, deadline) {
            self.deadlines.remove(&(before, key));
        }
        self.deadlines.extend(deadline.map(|at| (at, key)));
    }

    /// For whom something is due first, and when.
    pub(super) fn first_deadline(&self) -> Option<(Instant, SubscriberKey)> {
        self.deadlines.first().copied()
    }

    /// The subscribers that are this record of this auth collection.
    pub(super) fn streams_of(&self, collection_id: &str, id: &str) -> Vec<SubscriberKey> {
        let records = self.by_principal.get(collection_id);
        let keys = records.and_then(|records| records.get(id));
        keys.into_iter().flatten().copied().collect()
    }

    /// The subscribers that are any record of this auth collection.
    pub(super) fn streams_of_all(&self, collection_id: &str) -> Vec<SubscriberKey> {
        let records = self.by_principal.get(collection_id).into_iter();
        let keys = records.flat_map(|records| records.values().flatten());
        keys.copied().collect()
    }

    /// Whether a subscriber has a subscription of this text.
    pub(super) fn has_subscribed(&self, key: SubscriberKey, text: &str) -> bool {
        let subscriber = self.subscribers.get(key);
        subscriber.is_some_and(|subscriber| {
            let mut texts = subscriber.subscriptions.iter().map(Subscription::text);
            texts.any(|own| **own == *text)
        })
    }

    /// Those who wait for a topic.
    pub(super) fn topic(&self, topic: &str) -> Option<&Topic> {
        self.topics.get(topic)
    }

    /// The group of one text.
    pub(super) fn group(&self, topic: &str, text: &str) -> Option<(&Arc<str>, &Group)> {
        self.topics.get(topic)?.group(text)
    }

    /// Holds back from a subscriber what happens, under one of its subscriptions.
    pub(super) fn hold_back(&mut self, key: SubscriberKey, topic: &str, text: &str) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.hold_back(key, text);
        }
    }

    /// Lets a subscriber receive what happens, under one of its subscriptions that was held back.
    pub(super) fn make_live(&mut self, key: SubscriberKey, topic: &str, text: &str) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.make_live(key, text);
        }
    }

    /// Every topic, with the texts that ask for it.
    pub(super) fn all_groups(&self) -> impl Iterator<Item = (&str, &Arc<str>, &Group)> {
        self.topics.iter().flat_map(|(name, topic)| {
            let groups = topic.groups();
            groups.map(move |(text, group)| (&**name, text, group))
        })
    }

    fn unsubscribe(&mut self, key: SubscriberKey) {
        let Some(subscriber) = self.subscribers.get_mut(key) else {
            return;
        };
        for subscription in std::mem::take(&mut subscriber.subscriptions) {
            self.subscriptions -= 1;
            let Some(topic) = self.topics.get_mut(subscription.topic()) else {
                continue;
            };
            topic.leave(key, subscription.text());
            if topic.is_empty() {
                self.topics.remove(subscription.topic());
            }
        }
    }
}

/// Under which collection id and record id a principal is found.
fn place_of(principal: &Principal) -> Option<(Arc<str>, Arc<str>)> {
    match principal {
        Principal::Guest => None,
        Principal::Superuser { id } => Some((SUPERUSERS_ID.into(), Arc::clone(id))),
        Principal::Record(record) => {
            Some((Arc::clone(&record.collection_id), Arc::clone(&record.id)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::mailbox::unread;

    fn registry(ids: &[&str]) -> Registry {
        let mut registry = Registry::default();
        for id in ids {
            let (id, slot) = unread(id);
            registry.insert(id, [127, 0, 0, 1].into(), slot, Arc::default());
        }
        registry
    }

    fn subscribe(registry: &mut Registry, id: &str, topics: &[&str]) {
        let key = registry.find(id).expect("it has joined");
        let subscriptions = topics
            .iter()
            .map(|text| Subscription::parse(text))
            .collect();
        registry.replace(key, Principal::Guest, subscriptions);
    }

    fn members(registry: &Registry, topic: &str) -> Vec<(String, usize)> {
        let mut members: Vec<_> = registry
            .topic(topic)
            .into_iter()
            .flat_map(Topic::groups)
            .map(|(text, group)| (text.to_string(), group.members.len()))
            .collect();
        members.sort();
        members
    }

    #[test]
    fn subscriptions_are_grouped_by_topic_and_by_their_whole_text() {
        let mut registry = registry(&["a", "b"]);
        subscribe(
            &mut registry,
            "a",
            &["posts/*", "posts/*", "posts/*?x=1", "chat"],
        );
        subscribe(&mut registry, "b", &["posts/*"]);
        assert_eq!(
            members(&registry, "posts/*"),
            [("posts/*".to_owned(), 2), ("posts/*?x=1".to_owned(), 1)]
        );
        assert_eq!(registry.subscriptions(), 4);
    }

    #[test]
    fn replacing_and_leaving_leave_nothing_behind() {
        let mut registry = registry(&["a", "b"]);
        subscribe(&mut registry, "a", &["posts/*", "chat"]);
        subscribe(&mut registry, "a", &["chat?x"]);
        assert_eq!(members(&registry, "posts/*"), []);
        assert_eq!(members(&registry, "chat"), [("chat?x".to_owned(), 1)]);
        let key = registry.find("a").expect("it has joined");
        registry.remove(key);
        registry.remove(key);
        assert!(registry.topics.is_empty());
        assert_eq!((registry.subscribers(), registry.subscriptions()), (1, 0));
        assert_eq!(registry.subscribers_from([127, 0, 0, 1].into()), 1);
        assert_eq!(registry.find("a"), None);
    }
}
