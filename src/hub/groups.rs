//! Those who wait for one topic, grouped by what they wrote.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexSet;
use slab::Slab;

use super::filter::Filter;
use super::index::Indexes;
use super::registry::SubscriberKey;
use crate::record::Picker;
use crate::topic::{Expand, Options, Subscription};

/// A group's place in its topic; given anew after the group is gone.
pub(super) type GroupNumber = usize;

/// All who wrote the same subscription, byte for byte: they receive the same frames.
#[derive(Default)]
pub(super) struct Group {
    /// Those who receive what happens as it happens.
    pub members: IndexSet<SubscriberKey>,
    /// Those who are still told what they have missed.
    behind: IndexSet<SubscriberKey>,
    /// What they ask for beside the topic.
    pub options: Options,
    /// The filter among the options, if any.
    pub filter: Filter,
    /// What is wanted of a record; `None` for all of it.
    pub picker: Option<Picker>,
    /// What is wanted of the records that are related to a record.
    pub expand: Option<Expand>,
    /// Whether they are told when a record leaves what they see.
    pub leave: bool,
    /// Whether they want records as HTML, as far as collections have templates.
    pub html: bool,
}

impl Group {
    fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            picker: picker_of(options),
            expand: expand_of(options),
            leave: options.is_set("leave"),
            html: options.is_set("html"),
            ..Self::default()
        }
    }
}

/// The groups of one topic. Invariant: no empty group.
#[derive(Default)]
pub(super) struct Topic {
    groups: Slab<(Arc<str>, Group)>,
    by_text: HashMap<Arc<str>, GroupNumber>,
    /// Members of all groups, once for each.
    members: usize,
    /// Groups that are told when a record leaves.
    leaving: usize,
    /// Who is concerned by what. Invariant: told of everyone whose membership changes, or whose principal.
    pub indexes: RefCell<Indexes>,
}

impl Topic {
    /// Adds a subscriber; returns whether it is new.
    pub(super) fn join(&mut self, key: SubscriberKey, subscription: &Subscription) -> bool {
        let text = subscription.text();
        let number = match self.by_text.get(text) {
            Some(number) => *number,
            None => self.add(text, Group::new(subscription.options())),
        };
        let group = &mut self.groups[number].1;
        let is_new = group.members.insert(key);
        if is_new {
            self.members += 1;
            self.indexes.get_mut().note(number, key);
        }
        is_new
    }

    fn add(&mut self, text: &Arc<str>, group: Group) -> GroupNumber {
        self.leaving += usize::from(group.leave);
        let number = self.groups.insert((Arc::clone(text), group));
        self.by_text.insert(Arc::clone(text), number);
        number
    }

    /// Removes a subscriber.
    pub(super) fn leave(&mut self, key: SubscriberKey, text: &str) {
        let Some((number, group)) = self.group_mut(text) else {
            return;
        };
        let was_live = group.members.swap_remove(&key);
        group.behind.swap_remove(&key);
        let is_empty = group.members.is_empty() && group.behind.is_empty();
        self.members -= usize::from(was_live);
        self.indexes.get_mut().note(number, key);
        if is_empty {
            self.by_text.remove(text);
            let (_, group) = self.groups.remove(number);
            self.leaving -= usize::from(group.leave);
        }
    }

    /// Holds back from a subscriber what happens.
    pub(super) fn hold_back(&mut self, key: SubscriberKey, text: &str) {
        if let Some((number, group)) = self.group_mut(text)
            && group.members.swap_remove(&key)
        {
            group.behind.insert(key);
            self.members -= 1;
            self.indexes.get_mut().note(number, key);
        }
    }

    /// Lets a subscriber receive what happens that was held back from it.
    pub(super) fn make_live(&mut self, key: SubscriberKey, text: &str) {
        if let Some((number, group)) = self.group_mut(text)
            && group.behind.swap_remove(&key)
        {
            group.members.insert(key);
            self.members += 1;
            self.indexes.get_mut().note(number, key);
        }
    }

    /// A subscriber has become somebody else, or has other values.
    pub(super) fn note_principal(&mut self, key: SubscriberKey, text: &str) {
        if let Some(number) = self.by_text.get(text) {
            self.indexes.get_mut().note(*number, key);
        }
    }

    /// The groups with their texts.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter().map(|(_, (text, group))| (text, group))
    }

    /// The groups with their places.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (GroupNumber, &Group)> {
        self.groups
            .iter()
            .map(|(number, (_, group))| (number, group))
    }

    /// The group of one text.
    pub(super) fn group(&self, text: &str) -> Option<(&Arc<str>, &Group)> {
        self.at(*self.by_text.get(text)?)
    }

    /// The group at a place.
    pub(super) fn at(&self, number: GroupNumber) -> Option<(&Arc<str>, &Group)> {
        let (text, group) = self.groups.get(number)?;
        Some((text, group))
    }

    /// Members of all groups, once for each.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Whether anybody is told when a record leaves.
    pub(super) fn has_leaving(&self) -> bool {
        self.leaving > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn group_mut(&mut self, text: &str) -> Option<(GroupNumber, &mut Group)> {
        let number = *self.by_text.get(text)?;
        Some((number, &mut self.groups.get_mut(number)?.1))
    }
}

/// What is wanted of a record. A list of fields that cannot be read asks for all, as with PocketBase.
fn picker_of(options: &Options) -> Option<Picker> {
    let fields = options.query.get("fields")?;
    Picker::parse(fields).ok().flatten()
}

/// Which related records are wanted. A list that is too long asks for none.
fn expand_of(options: &Options) -> Option<Expand> {
    Expand::parse(options.query.get("expand")?).ok().flatten()
}
