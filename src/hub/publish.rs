//! Who receives an event, and which bytes: encoded once per subscription text and visibility.

use std::cell::{LazyCell, OnceCell};

use jiff::Timestamp;

use super::HubOptions;
use super::gate::{Gate, auth_values};
use super::registry::{Group, Registry, SubscriberKey};
use crate::auth::Principal;
use crate::event::{ChangeEvent, FeedItem, Gap, Position};
use crate::frame::Frame;
use crate::record::{Visibility, encode_change, encode_gap};
use crate::rules::{AuthValues, RequestContext, Row};
use crate::telemetry::Metrics;
use crate::topic::{Guard, Options, WILDCARD, guard_of, visit_topics};

/// The delivery of one feed item.
pub(super) struct Delivery<'a> {
    pub registry: &'a Registry,
    pub options: &'a HubOptions,
    pub metrics: &'a Metrics,
    /// Of the collection that the item is about.
    pub gate: &'a Gate,
    pub now: Timestamp,
}

/// An event's data, encoded when somebody first needs it.
struct Encoded<'e> {
    event: &'e ChangeEvent,
    plain: OnceCell<Vec<u8>>,
    full: OnceCell<Vec<u8>>,
    /// What the list and the view rule say to guests, where options do not matter.
    guests: [OnceCell<bool>; 2],
}

impl<'e> Encoded<'e> {
    fn new(event: &'e ChangeEvent) -> Self {
        Self {
            event,
            plain: OnceCell::new(),
            full: OnceCell::new(),
            guests: Default::default(),
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
            let verdict = Verdict {
                delivery: self,
                encoded,
                group,
                guard,
                guest: OnceCell::new(),
            };
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
                let principal = self.registry.get(key).map(|member| &member.principal);
                let Some(visibility) = principal.and_then(|principal| verdict.of(principal)) else {
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
                let member = self.registry.get(key);
                let is_superuser = member.is_some_and(|member| member.principal.is_superuser());
                if is_superuser || self.gate.is_ever_open(guard) {
                    send(key, &frame);
                }
            }
        }
    }
}

/// What one group may see of one event.
struct Verdict<'v> {
    delivery: &'v Delivery<'v>,
    encoded: &'v Encoded<'v>,
    group: &'v Group,
    guard: Guard,
    /// All guests of a group see the same.
    guest: OnceCell<bool>,
}

impl Verdict<'_> {
    /// What a principal may see; `None` for nothing.
    fn of(&self, principal: &Principal) -> Option<Visibility> {
        if principal.is_superuser() {
            let auth = auth_values(principal);
            let passes = self.passes_filter(&self.request(auth.as_ref()), true);
            return passes.then_some(Visibility::Full);
        }
        let passes = match auth_values(principal) {
            None => *self.guest.get_or_init(|| {
                self.guests_pass_rule() && self.passes_filter(&self.request(None), false)
            }),
            Some(auth) => {
                let request = self.request(Some(&auth));
                self.passes_rule(&request) && self.passes_filter(&request, false)
            }
        };
        passes.then_some(Visibility::Plain)
    }

    fn request<'r>(&'r self, auth: Option<&'r AuthValues>) -> RequestContext<'r> {
        let Options { query, headers } = &self.group.options;
        RequestContext::realtime(auth, query, headers, self.delivery.now)
    }

    fn guests_pass_rule(&self) -> bool {
        let decide = || self.passes_rule(&self.request(None));
        if !self.delivery.gate.ignores_options(self.guard) {
            return decide();
        }
        let [list, view] = &self.encoded.guests;
        let known = match self.guard {
            Guard::List => list,
            Guard::View => view,
        };
        *known.get_or_init(decide)
    }

    fn passes_rule(&self, request: &RequestContext<'_>) -> bool {
        let row = Row::shown(self.encoded.event);
        let Delivery { gate, metrics, .. } = self.delivery;
        gate.lets_pass(self.guard, row, request, metrics)
    }

    fn passes_filter(&self, request: &RequestContext<'_>, superuser: bool) -> bool {
        let Group {
            filter, options, ..
        } = self.group;
        let event = self.encoded.event;
        let row = Row::shown(event);
        filter.lets_pass(&event.collection, row, options, request, superuser)
    }
}
