//! What subscribers see of the records that are related to one (contract, section 4.7).
//!
//! Expansions are looked at by what is in them: those who see the same are sent the same bytes.

mod plan;
#[cfg(test)]
mod tests;
mod walk;

use std::cell::{Cell, OnceCell, RefCell};

use indexmap::IndexSet;

pub(super) use plan::first_mistake;
use plan::{Step, plan};
use walk::{Missing, Walk};

use super::groups::Group;
use super::publish::Delivery;
use super::registry::Subscriber;
use crate::event::ChangeEvent;
use crate::record::Expansion;
use crate::rules::{RequestContext, Row};
use crate::topic::Guard;

/// Rows that are looked at for the expansions of one event, for whomever.
const ROWS_LOOKED_AT_MAX: usize = 200_000;
/// Bytes of images in all different expansions of one event.
const EVENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One of the different expansions of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ExpansionId(usize);

/// The different expansions of one event.
pub(super) struct Expansions<'e> {
    different: RefCell<IndexSet<Expansion<'e>>>,
    bytes: Cell<usize>,
    rows_left: Cell<usize>,
}

impl Default for Expansions<'_> {
    fn default() -> Self {
        Self {
            different: RefCell::default(),
            bytes: Cell::default(),
            rows_left: Cell::new(ROWS_LOOKED_AT_MAX),
        }
    }
}

impl<'e> Expansions<'e> {
    /// Calls `read` with an expansion.
    pub(super) fn with<T>(&self, id: ExpansionId, read: impl FnOnce(&Expansion<'e>) -> T) -> T {
        let different = self.different.borrow();
        read(&different[id.0])
    }

    /// The id of an expansion; `None` if there is no room for another one.
    fn intern(&self, expansion: Expansion<'e>) -> Option<ExpansionId> {
        let mut different = self.different.borrow_mut();
        if let Some(id) = different.get_index_of(&expansion) {
            return Some(ExpansionId(id));
        }
        let bytes = self.bytes.get() + expansion.image_bytes();
        if bytes > EVENT_BYTES_MAX {
            return None;
        }
        self.bytes.set(bytes);
        Some(ExpansionId(different.insert_full(expansion).0))
    }
}

/// Whoever sees the same without being looked at one by one.
#[derive(Debug, Clone, Copy)]
enum Alike {
    Guests,
    /// Everything is public, and nothing is kept back.
    Everybody,
    Superusers,
}

/// What one group of subscribers expands of one event.
pub(super) struct GroupExpand<'x, 'e> {
    delivery: &'e Delivery<'e>,
    event: &'e ChangeEvent,
    expansions: &'x Expansions<'e>,
    steps: Vec<Step<'e>>,
    superuser_steps: Vec<Step<'e>>,
    alike: [OnceCell<Option<ExpansionId>>; 3],
}

impl<'x, 'e> GroupExpand<'x, 'e> {
    /// `None` if the group does not expand.
    pub(super) fn new(
        delivery: &'e Delivery<'e>,
        event: &'e ChangeEvent,
        group: &'e Group,
        expansions: &'x Expansions<'e>,
    ) -> Option<Self> {
        let expand = group.expand.as_ref()?;
        let catalog = delivery.access.catalog();
        let steps = |superuser| plan(catalog, &event.collection, expand, superuser);
        Some(Self {
            delivery,
            event,
            expansions,
            steps: steps(false),
            superuser_steps: steps(true),
            alike: Default::default(),
        })
    }

    /// What a subscriber is shown; `None` if there is to be no `expand`.
    pub(super) fn of(
        &self,
        subscriber: &Subscriber,
        request: RequestContext<'_>,
    ) -> Option<ExpansionId> {
        match self.alike(subscriber) {
            Some(alike) => {
                *self.alike[alike as usize].get_or_init(|| self.walk(subscriber, request))
            }
            None => self.walk(subscriber, request),
        }
    }

    fn walk(&self, subscriber: &Subscriber, request: RequestContext<'_>) -> Option<ExpansionId> {
        let walk = Walk {
            delivery: self.delivery,
            subscriber,
            request: RequestContext {
                context: "expand",
                ..request
            },
            rows_left: &self.expansions.rows_left,
            records: Cell::default(),
            bytes: Cell::default(),
        };
        let expansion = walk.expand(Row::shown(self.event), self.steps(subscriber))?;
        self.expansions.intern(expansion).or_else(|| {
            let tally = self.delivery.tally;
            tally.expand_missing(Missing::TooLarge.as_str());
            self.expansions.intern(Expansion::default())
        })
    }

    fn steps(&self, subscriber: &Subscriber) -> &[Step<'e>] {
        match subscriber.principal().is_superuser() {
            true => &self.superuser_steps,
            false => &self.steps,
        }
    }

    fn alike(&self, subscriber: &Subscriber) -> Option<Alike> {
        let principal = subscriber.principal();
        if principal.is_guest() {
            return Some(Alike::Guests);
        }
        let superuser = principal.is_superuser();
        let public = self.is_public(self.steps(subscriber), subscriber, superuser);
        match superuser {
            true => public.then_some(Alike::Superusers),
            false => public.then_some(Alike::Everybody),
        }
    }

    /// Whether every record on the way is shown, and in the same way whoever asks.
    fn is_public(&self, steps: &[Step<'_>], subscriber: &Subscriber, superuser: bool) -> bool {
        steps.iter().all(|step| {
            let public = step.route.iter().all(|link| {
                let access = self.delivery.access;
                access.is_open(&subscriber.member, link.collection, Guard::View)
                    && (superuser || link.collection.auth.is_none())
            });
            public && self.is_public(&step.below, subscriber, superuser)
        })
    }
}
