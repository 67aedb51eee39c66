//! Strict subscriptions: what could never fire is refused when it is asked for, with a reason.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use super::access::{Access, member_of};
use super::expand::first_mistake;
use super::handle::{SetTopics, SetTopicsError};
use super::messages::Filters;
use super::points::{RESUME, is_name, shortest_name};
use super::unfit::{Unfit, Unfitting};
use crate::auth::Principal;
use crate::catalog::{Catalog, Collection};
use crate::policy::{Member, RuleKind, topic_object};
use crate::record::Picker;
use crate::rules::{Predicate, Scope, nearest};
use crate::topic::{Expand, Guard, Subscription, WILDCARD, guard_of};

/// Reasons given for one request. Further subscriptions are not looked at.
const UNFIT_MAX: usize = 20;

/// Collections of which one must suit a filter on the topic `*`; where there are more, it is not
/// looked at.
const EVERYTHING_TRIES_MAX: usize = 32;

const BOTH: [Guard; 2] = [Guard::List, Guard::View];

/// What subscriptions are checked against, before they reach the hub's task.
#[derive(Debug, Clone)]
pub(super) struct Strict {
    pub(super) catalog: watch::Receiver<Option<Arc<Catalog>>>,
    /// Whether the topic `*` is served.
    pub(super) wildcard: bool,
}

impl Strict {
    /// Passes on a request whose subscriptions may all fire.
    pub(super) async fn check(&self, request: SetTopics) -> Result<SetTopics, SetTopicsError> {
        let mut newest = self.catalog.clone();
        let known = newest.wait_for(Option::is_some).await;
        let catalog = known.ok().and_then(|catalog| catalog.clone());
        let catalog = catalog.ok_or(SetTopicsError::Stopped)?;
        let wildcard = self.wildcard;
        // A thousand filters take a while to read, which no stream shall wait for.
        let checked = tokio::task::spawn_blocking(move || {
            match Check::new(&catalog, wildcard, &request.principal).all(&request.subscriptions) {
                unfit if unfit.is_empty() => Ok(request),
                unfit => Err(SetTopicsError::Unfit(unfit)),
            }
        });
        checked.await.unwrap_or(Err(SetTopicsError::Stopped))
    }
}

/// The check of one request.
struct Check<'c> {
    catalog: &'c Catalog,
    wildcard: bool,
    member: Member,
    superuser: bool,
    is_guest: bool,
    /// Gates of its own: those of the hub's task are as old as the change it is at.
    access: Access,
    filters: Filters,
}

impl<'c> Check<'c> {
    fn new(catalog: &'c Arc<Catalog>, wildcard: bool, principal: &Principal) -> Self {
        let mut access = Access::default();
        access.set_catalog(catalog);
        Self {
            catalog,
            wildcard,
            member: member_of(principal),
            superuser: principal.is_superuser(),
            is_guest: principal.is_guest(),
            access,
            filters: Filters::default(),
        }
    }

    fn all(&self, subscriptions: &[Subscription]) -> Vec<Unfitting> {
        let unfit = subscriptions.iter().enumerate().filter_map(|(at, wanted)| {
            let why = self.one(wanted).err()?;
            Some(Unfitting { at, why })
        });
        unfit.take(UNFIT_MAX).collect()
    }

    fn one(&self, subscription: &Subscription) -> Result<(), Unfit> {
        if subscription.text().chars().any(char::is_control) {
            return Err(Unfit::ControlCharacter);
        }
        let topic = subscription.topic();
        let guarded = self.catalog.iter().find_map(|collection| {
            let guard = guard_of(topic, collection)?;
            Some((&**collection, guard))
        });
        match guarded {
            Some((collection, guard)) => self.records(subscription, collection, guard),
            None if topic == WILDCARD => self.everything(subscription),
            None => self.custom(subscription),
        }
    }

    fn records(
        &self,
        subscription: &Subscription,
        collection: &Collection,
        guard: Guard,
    ) -> Result<(), Unfit> {
        let topic = subscription.topic();
        if guard == Guard::View && !may_be_id(topic, collection) {
            let topic = shortened(topic);
            return Err(Unfit::RecordId { topic });
        }
        if !self.access.may_ever_pass(&self.member, collection, guard) {
            return Err(Unfit::Locked { guard });
        }
        let expand = self.options(subscription)?;
        self.filter(subscription, collection)?;
        expand.map_or(Ok(()), |expand| self.expand(&expand, collection))
    }

    /// The topic of all collections: a filter must be good for one of them.
    fn everything(&self, subscription: &Subscription) -> Result<(), Unfit> {
        if !self.wildcard {
            return Err(Unfit::WildcardOff);
        }
        self.options(subscription)?;
        if !subscription.options().query.contains_key("filter") {
            return Ok(());
        }
        let listed = self.visible(&[Guard::List]);
        let mut error = None;
        for collection in listed.iter().take(EVERYTHING_TRIES_MAX) {
            match self.filter(subscription, collection) {
                Ok(()) => return Ok(()),
                Err(unfit) => error = error.or(Some(unfit)),
            }
        }
        error
            .filter(|_| listed.len() <= EVERYTHING_TRIES_MAX)
            .map_or(Ok(()), Err)
    }

    /// What names no collection is a custom topic, unless it looks like a mistake: a slash, a question mark
    /// that brings no options, or a collection's name but for case was not meant as one.
    fn custom(&self, subscription: &Subscription) -> Result<(), Unfit> {
        let (text, topic) = (subscription.text(), subscription.topic());
        let (policy, object) = (self.catalog.policy(), topic_object(topic));
        let subscribe = RuleKind::Subscribe;
        if !self
            .filters
            .may_ever_open(policy, &self.member, &object, subscribe)
        {
            return Err(Unfit::ClosedTopic);
        }
        // A topic of the application's own that the policy speaks of is no mistake, and neither are the
        // options of one that does not look like a collection's.
        if policy.names_topic(topic) || !topic.contains('/') && text.contains("?options=") {
            return self.options(subscription).map(drop);
        }
        let owner = topic.split('/').next().unwrap_or_default();
        let same = |collection: &&Arc<Collection>| {
            let meant = owner.trim();
            collection.name.eq_ignore_ascii_case(meant) && self.sees(collection, &BOTH)
        };
        let meant = self.catalog.iter().find(same);
        if meant.is_none() && !text.contains(['/', '?']) {
            return Ok(());
        }
        let names = || {
            self.visible(&BOTH)
                .into_iter()
                .map(|collection| &*collection.name)
        };
        Err(Unfit::UnknownCollection {
            name: shortened(owner),
            nearest: match meant {
                Some(collection) => Some(collection.name.to_string()),
                None => nearest(owner, names()),
            },
        })
    }

    /// The collections of which somebody may see something, in order of their names.
    fn visible(&self, guards: &[Guard]) -> Vec<&'c Collection> {
        let collections = self.catalog.iter().map(|collection| &**collection);
        let mut visible: Vec<_> = collections
            .filter(|collection| self.sees(collection, guards))
            .collect();
        visible.sort_unstable_by_key(|collection| &collection.name);
        visible
    }

    fn sees(&self, collection: &Collection, guards: &[Guard]) -> bool {
        let mut guards = guards.iter();
        guards.any(|&guard| self.access.may_ever_pass(&self.member, collection, guard))
    }

    /// The options as far as they are about no collection; returns the only one that has to be read for
    /// the rest.
    fn options(&self, subscription: &Subscription) -> Result<Option<Expand>, Unfit> {
        subscription.check_options()?;
        self.resume(subscription)?;
        let query = &subscription.options().query;
        if let Some(fields) = query.get("fields") {
            Picker::parse(fields)?;
        }
        let expand = query.get("expand").map(|expand| Expand::parse(expand));
        Ok(expand.transpose()?.flatten())
    }

    fn resume(&self, subscription: &Subscription) -> Result<(), Unfit> {
        let name = subscription.options().query.get(RESUME);
        match name.is_none_or(|name| is_name(name, self.is_guest)) {
            true => Ok(()),
            false => Err(Unfit::Resume {
                shortest: shortest_name(self.is_guest),
            }),
        }
    }

    /// Every path must lead to records, of collections that are not locked.
    fn expand(&self, expand: &Expand, collection: &Collection) -> Result<(), Unfit> {
        let opens = |collection: &Collection| self.sees(collection, &[Guard::View]);
        let Some(path) = first_mistake(self.catalog, collection, expand, self.superuser, &opens)
        else {
            return Ok(());
        };
        let relations = collection.fields.iter().filter(|field| {
            let relation = field.relation.as_ref();
            let target = relation.and_then(|relation| self.catalog.get(relation.collection));
            (self.superuser || !field.hidden) && target.is_some_and(|target| opens(target))
        });
        Err(Unfit::Expand {
            nearest: nearest(&path, relations.map(|field| &*field.name)),
            path: shortened(&path),
        })
    }

    fn filter(&self, subscription: &Subscription, collection: &Collection) -> Result<(), Unfit> {
        let scope = Scope {
            collection,
            catalog: self.catalog,
            auth: None,
        };
        let query = &subscription.options().query;
        Predicate::of_options(query, scope, self.superuser)?;
        Ok(())
    }
}

/// Whether a record of the collection may have the id that a topic names: not where it is missing,
/// and not where only `*` can have been meant.
fn may_be_id(topic: &str, collection: &Collection) -> bool {
    let owners = [&*collection.name, &*collection.id];
    let id = owners
        .into_iter()
        .find_map(|owner| topic.strip_prefix(owner)?.strip_prefix('/'))
        .unwrap_or_default();
    let id = percent_decode_str(id).decode_utf8_lossy();
    let id = id.split('#').next().unwrap_or_default();
    !matches!(id.trim().trim_end_matches('/'), "" | "*")
}

fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    text.chars().take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests;
