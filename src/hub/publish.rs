//! Who receives an event, and which bytes: encoded once per subscription text and visibility.

use std::cell::{LazyCell, OnceCell};

use super::HubOptions;
use super::access::Access;
use super::registry::{Registry, SubscriberKey};
use crate::catalog::Collection;
use crate::event::{ChangeEvent, FeedItem, Gap, Position};
use crate::frame::Frame;
use crate::record::{Visibility, encode_change, encode_gap};
use crate::telemetry::Metrics;
use crate::topic::{Guard, WILDCARD, guard_of, visit_topics};

/// The delivery of one feed item.
pub(super) struct Delivery<'a> {
    pub registry: &'a Registry,
    pub access: &'a Access,
    pub options: &'a HubOptions,
    pub metrics: &'a Metrics,
}

/// An event's data, encoded when somebody first needs it.
struct Encoded<'e> {
    event: &'e ChangeEvent,
    plain: OnceCell<Vec<u8>>,
    full: OnceCell<Vec<u8>>,
}

impl<'e> Encoded<'e> {
    fn new(event: &'e ChangeEvent) -> Self {
        Self {
            event,
            plain: OnceCell::new(),
            full: OnceCell::new(),
        }
    }

    fn data(&self, visibility: Visibility) -> &[u8] {
        let cell = match visibility {
            Visibility::Plain => &self.plain,
            Visibility::Full => &self.full,
        };
        cell.get_or_init(|| encode_change(self.event, visibility))
    }
}

impl Delivery<'_> {
    /// Calls `send` for every subscriber and frame, in the order of the groups.
    pub(super) fn publish(&self, item: &FeedItem, mut send: impl FnMut(SubscriberKey, &Frame)) {
        match item {
            FeedItem::Change(event) => self.change(event, &mut send),
            FeedItem::Gap(gap) => self.gap(gap, &mut send),
        }
    }

    fn change(&self, event: &ChangeEvent, send: &mut impl FnMut(SubscriberKey, &Frame)) {
        let encoded = Encoded::new(event);
        visit_topics(&event.collection, &event.id, |topic, guard| {
            self.to_topic(topic, guard, &encoded, send);
        });
        if self.options.wildcard {
            self.to_topic(WILDCARD, Guard::List, &encoded, send);
        }
    }

    fn to_topic(
        &self,
        topic: &str,
        guard: Guard,
        encoded: &Encoded<'_>,
        send: &mut impl FnMut(SubscriberKey, &Frame),
    ) {
        let event = encoded.event;
        let id = event.position.as_ref().map(|Position(text)| &**text);
        for (text, group) in self.registry.groups(topic) {
            if group.mute {
                continue;
            }
            let frames = [Visibility::Plain, Visibility::Full].map(|visibility| {
                LazyCell::new(move || {
                    let frame = Frame::event(id, text, encoded.data(visibility));
                    if frame.is_none() {
                        self.metrics.unwritable_frames.inc();
                    }
                    frame
                })
            });
            for &key in &group.members {
                let Some(visibility) = self.visibility(key, &event.collection, guard) else {
                    continue;
                };
                let frame = match visibility {
                    Visibility::Plain => &frames[0],
                    Visibility::Full => &frames[1],
                };
                if let Some(frame) = &**frame {
                    send(key, frame);
                }
            }
        }
    }

    /// What a subscriber may see of a record; `None` for nothing.
    fn visibility(
        &self,
        key: SubscriberKey,
        collection: &Collection,
        guard: Guard,
    ) -> Option<Visibility> {
        let subscriber = self.registry.get(key)?;
        if !self.access.may_see(&subscriber.member, collection, guard) {
            return None;
        }
        Some(match subscriber.principal.is_superuser() {
            true => Visibility::Full,
            false => Visibility::Plain,
        })
    }

    /// Tells everybody who waits for records of a collection that some changes will not come.
    fn gap(&self, gap: &Gap, send: &mut impl FnMut(SubscriberKey, &Frame)) {
        let data = encode_gap(&gap.collection);
        for (topic, text, group) in self.registry.all_groups() {
            let guard = match guard_of(topic, &gap.collection) {
                Some(guard) => guard,
                None if topic == WILDCARD && self.options.wildcard => Guard::List,
                None => continue,
            };
            let Some(frame) = Frame::event(None, text, &data) else {
                continue;
            };
            for &key in &group.members {
                if self.visibility(key, &gap.collection, guard).is_some() {
                    send(key, &frame);
                }
            }
        }
    }
}
