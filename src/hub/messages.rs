//! Who hears a message: those who have subscribed to its topic, may, and are who it is for.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Map;
use tokio::time::Instant;

use super::access::{SILENCE, auth_values, member_of};
use super::fragments::Fragment;
use super::groups::{Group, Topic};
use super::publish::{Delivery, Pass};
use super::registry::{Subscriber, SubscriberKey};
use super::tally::Tally;
use crate::auth::{Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
use crate::catalog::Catalog;
use crate::event::{Message, Position, PrincipalName};
use crate::frame::Frame;
use crate::policy::{Gate, GateCache, Member, Policy, RuleKind, RuleRow, topic_object};
use crate::related::Shelf;
use crate::rules::{ClientPredicate, ClientRow, RequestContext, RuleError};
use crate::topic::{WILDCARD, guard_of};

/// Texts that are kept compiled; beyond that all are compiled anew.
const TEXTS_MAX: usize = 1024;

/// What is told instead of messages that cannot be told any more, to those who go on where they were.
const LOST: &[u8] = br#"{"action":"resync"}"#;

/// Texts about streams, each compiled once: the filters of messages and the rules of topics and keys.
#[derive(Default)]
pub(super) struct Filters {
    texts: RefCell<HashMap<Arc<str>, Filter>>,
    /// Of texts, so that a gate outlives what is compiled.
    gates: RefCell<GateCache<Arc<str>>>,
}

/// A text about streams, as compiled.
struct Filter {
    compiled: Result<ClientPredicate, RuleError>,
    logged: Cell<Option<Instant>>,
}

impl Filters {
    /// Whether the policy opens an object. `passes` asks a rule.
    pub(super) fn opens(
        &self,
        policy: &Policy,
        member: &Member,
        object: &Arc<str>,
        kind: RuleKind,
        mut passes: impl FnMut(&Arc<str>) -> Option<bool>,
    ) -> bool {
        self.gate(policy, member, object, kind, |gate| {
            gate.opens(|text| passes(text))
        })
    }

    /// Whether the policy opens an object to somebody at some time or other.
    pub(super) fn may_ever_open(
        &self,
        policy: &Policy,
        member: &Member,
        object: &Arc<str>,
        kind: RuleKind,
    ) -> bool {
        self.gate(policy, member, object, kind, |gate| !gate.is_never())
    }

    fn gate<T>(
        &self,
        policy: &Policy,
        member: &Member,
        object: &Arc<str>,
        kind: RuleKind,
        ask: impl FnOnce(&Gate<Arc<str>>) -> T,
    ) -> T {
        let mut gates = self.gates.borrow_mut();
        let text = |row: &RuleRow| Some(Arc::clone(&row.rule));
        ask(gates.gate(policy, member, object, kind, text))
    }

    /// Whether a text is true of a stream; `None` if nobody can say.
    pub(super) fn passes(
        &self,
        text: &Arc<str>,
        client: Option<&ClientRow>,
        request: &RequestContext<'_>,
        tally: &Tally,
    ) -> Option<bool> {
        let mut texts = self.texts.borrow_mut();
        if !texts.contains_key(text) {
            if texts.len() >= TEXTS_MAX {
                texts.clear();
            }
            texts.insert(Arc::clone(text), Filter::new(text));
        }
        let filter = texts.get(text)?;
        let predicate = match &filter.compiled {
            Ok(predicate) => predicate,
            Err(error) => {
                tally.rule_error("invalid");
                filter.log(error);
                return None;
            }
        };
        match predicate.decide(client?, request) {
            Ok(passes) => Some(passes),
            Err(error) => {
                tally.rule_error(error.as_str());
                filter.log(&error);
                None
            }
        }
    }
}

impl Filter {
    fn new(text: &str) -> Self {
        Self {
            compiled: ClientPredicate::compile(text),
            logged: Cell::new(None),
        }
    }

    /// Says why nobody passes, but not always. The text is the application's own; what it was asked about
    /// is not shown.
    fn log(&self, error: &(dyn std::error::Error + 'static)) {
        let silent = |logged: Instant| logged.elapsed() < SILENCE;
        if !self.logged.get().is_some_and(silent) {
            self.logged.set(Some(Instant::now()));
            tracing::warn!(
                error,
                "a filter of messages, or a rule of a topic, cannot decide and keeps them back"
            );
        }
    }
}

/// Whether the policy lets somebody do something with a topic, who is no stream just now.
pub(super) fn may(policy: &Policy, principal: &Principal, topic: &str, kind: RuleKind) -> bool {
    let (filters, tally, shelf) = (Filters::default(), Tally::default(), Shelf::default());
    let (auth, nothing) = (auth_values(principal), BTreeMap::new());
    let request =
        RequestContext::realtime(auth.as_ref(), &nothing, &nothing, Timestamp::now(), &shelf);
    let nobody = ClientRow::new("", &Map::new(), std::iter::empty()).ok();
    let (member, object) = (member_of(principal), topic_object(topic));
    filters.opens(policy, &member, &object, kind, |text| {
        filters.passes(text, nobody.as_ref(), &request, &tally)
    })
}

/// A stream under one of its subscriptions, as texts see it.
struct Asked<'a> {
    delivery: &'a Delivery<'a>,
    subscriber: &'a Subscriber,
    group: &'a Group,
    client: OnceCell<Option<ClientRow>>,
}

impl Delivery<'_> {
    /// Calls `send` for everybody who hears a message.
    pub(super) fn message(&self, message: &Message, send: &mut impl FnMut(SubscriberKey, Frame)) {
        // Nothing is looked up for messages.
        if matches!(self.pass, Pass::LookAhead) || is_of_records(&message.topic, &message.catalog) {
            return;
        }
        let named = self.named(message);
        if named.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        let id = message.position.as_ref().map(Position::to_string);
        let object = topic_object(&message.topic);
        let topic = self.registry.topic(&message.topic);
        let groups = || topic.into_iter().flat_map(Topic::groups);
        let mut tell =
            |text: &str, group: &Group, keys: &mut dyn Iterator<Item = SubscriberKey>| {
                let frame = OnceCell::new();
                for key in keys {
                    let Some(subscriber) = self.registry.get(key) else {
                        continue;
                    };
                    if !self.hears(message, &object, subscriber, group) {
                        continue;
                    }
                    let frame = frame.get_or_init(|| self.told(message, id.as_deref(), text));
                    if let Some(frame) = frame {
                        send(key, frame.clone());
                    }
                }
            };
        match (self.cohort, &named) {
            (None, None) => {
                for (text, group) in groups() {
                    tell(text, group, &mut group.members.iter().copied());
                }
            }
            (None, Some(named)) => {
                for (text, group) in groups() {
                    let own = named.iter().filter(|key| group.members.contains(*key));
                    tell(text, group, &mut own.copied());
                }
            }
            (Some(cohort), named) => {
                let is_named =
                    |key: &SubscriberKey| named.as_ref().is_none_or(|named| named.contains(key));
                for (text, members) in cohort.groups(&message.topic) {
                    if let Some((text, group)) = self.registry.group(&message.topic, text) {
                        let missing = members
                            .iter()
                            .filter(|member| member.misses(message.transaction))
                            .map(|member| member.key);
                        tell(text, group, &mut missing.filter(is_named));
                    }
                }
            }
        }
    }

    /// The frame of a message for one subscription text.
    fn told(&self, message: &Message, id: Option<&str>, text: &str) -> Option<Frame> {
        let (writer, data) = (self.writer(text), message.data.as_bytes());
        match &message.template {
            Some(template) => Fragment::frame(writer, id, (self.templates, template), data),
            None => writer.write(id, data),
        }
    }

    /// Tells those who go on where they were, and cannot be told what they have missed, that there may
    /// have been messages.
    pub(super) fn messages_lost(
        &self,
        catalog: &Catalog,
        send: &mut impl FnMut(SubscriberKey, Frame),
    ) {
        let Some(cohort) = self.cohort else { return };
        for (topic, text, members) in cohort.all_groups() {
            if is_of_records(topic, catalog) {
                continue;
            }
            if let Some(frame) = Frame::event(None, text, LOST) {
                members
                    .iter()
                    .for_each(|member| send(member.key, frame.clone()));
            }
        }
    }

    /// The streams that a message names; `None` if it is for whoever has subscribed.
    fn named(&self, message: &Message) -> Option<Vec<SubscriberKey>> {
        let audience = &message.audience;
        let client = audience.client.as_ref();
        let client = client.map(|id| self.registry.find(id).into_iter().collect::<Vec<_>>());
        let principal = audience.principal.as_ref();
        let principal = principal.map(|name| self.streams_of(name, &message.catalog));
        match (client, principal) {
            (Some(mut client), Some(principal)) => {
                client.retain(|key| principal.contains(key));
                Some(client)
            }
            (client, principal) => client.or(principal),
        }
    }

    fn streams_of(&self, name: &PrincipalName, catalog: &Catalog) -> Vec<SubscriberKey> {
        let PrincipalName { collection, id } = name;
        let collection = match &**collection {
            SUPERUSERS_NAME => SUPERUSERS_ID,
            // Whom a foreign token speaks of belongs to no collection that is attached.
            other => catalog.find(other).map_or(other, |found| &found.id),
        };
        self.registry.streams_of(collection, id)
    }

    /// Whether a stream hears a message, of those that it may be for.
    fn hears(
        &self,
        message: &Message,
        object: &Arc<str>,
        subscriber: &Subscriber,
        group: &Group,
    ) -> bool {
        let asked = Asked {
            delivery: self,
            subscriber,
            group,
            client: OnceCell::new(),
        };
        let policy = message.catalog.policy();
        let member = &subscriber.member;
        let subscribe = RuleKind::Subscribe;
        let opens = self
            .filters
            .opens(policy, member, object, subscribe, |rule| asked.passes(rule));
        let filter = message.audience.filter.as_ref();
        opens && filter.is_none_or(|filter| asked.passes(filter) == Some(true))
    }
}

impl Asked<'_> {
    fn passes(&self, text: &Arc<str>) -> Option<bool> {
        let Delivery {
            now, shelf, tally, ..
        } = *self.delivery;
        let Group { options, .. } = self.group;
        let auth = self.subscriber.auth.as_ref();
        let request = RequestContext::realtime(auth, &options.query, &options.headers, now, shelf);
        let filters = self.delivery.filters;
        filters.passes(text, self.client(), &request, tally)
    }

    fn client(&self) -> Option<&ClientRow> {
        let client = self.client.get_or_init(|| self.subscriber.as_row());
        client.as_ref()
    }
}

impl Subscriber {
    /// The stream as texts see it; `None` if that is too much to look at.
    pub(super) fn as_row(&self) -> Option<ClientRow> {
        let texts = self.subscriptions().iter();
        let texts = texts.map(|subscription| &**subscription.text());
        ClientRow::new(&self.id.0, self.store.values(), texts).ok()
    }
}

/// Whether what is told under a topic are changes of records: no message can pretend to be one.
pub(super) fn is_of_records(topic: &str, catalog: &Catalog) -> bool {
    let mut collections = catalog.iter();
    topic == WILDCARD || collections.any(|collection| guard_of(topic, collection).is_some())
}
