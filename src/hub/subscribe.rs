//! What a subscriber asks for replaces what it asked for before.

use std::collections::HashMap;
use std::sync::Arc;

use super::handle::{Claim, Resume, SetTopics, SetTopicsError};
use super::marks::{Marks, mark_for};
use super::points::{keys_beyond, keys_of};
use super::registry::SubscriberKey;
use super::replay::From;
use super::snapshot::is_asked;
use super::task::Hub;
use crate::event::Position;
use crate::points::{FindError, PointKey};
use crate::telemetry::Metrics;
use crate::topic::Subscription;

/// Where subscriptions with keys were, if the database could say.
type Found = Result<HashMap<PointKey, Position>, FindError>;
/// Under which subscriptions a subscriber was told things until now, and from where, if not what
/// happens now.
type Before = HashMap<Arc<str>, Option<Position>>;

impl Hub {
    pub(super) fn set_topics(
        &mut self,
        request: SetTopics,
        found: Found,
    ) -> Result<(), SetTopicsError> {
        let claim = Claim {
            client_id: request.client_id,
            address: request.address,
            principal: request.principal,
        };
        let key = self.check(&claim)?;
        let Claim {
            client_id,
            principal: claimed,
            ..
        } = claim;
        let subscriber = self.registry.get(key).expect("just found");
        let principal = subscriber.principal();
        tracing::debug!(
            subscriber.id = client_id,
            subscriptions = request.subscriptions.len(),
            superuser = claimed.is_superuser(),
            "subscriptions replaced"
        );
        let before = match *principal == claimed {
            true => self.before(key),
            false => Before::new(),
        };
        let keys = keys_of(&request.subscriptions, &claimed);
        let beyond = keys_beyond(&request.subscriptions, &claimed);
        self.count_forgotten("subscriber", beyond);
        let former = self.former(key, &claimed);
        self.registry.replace(key, claimed, request.subscriptions);
        self.registry
            .expect_end(key, request.expires_at, &self.options);
        match request.resume {
            Resume::Stream(from) => self.begin_stream(key, from),
            Resume::Live => self.go_on(key, keys, &before, found),
        }
        self.begin_snapshots(key, former);
        Ok(())
    }

    /// Keys that are over a limit, so that whoever comes back by them begins at the present.
    fn count_forgotten(&self, limit: &'static str, keys: u64) {
        if keys > 0 {
            tracing::debug!(limit, keys, "resume keys are not remembered");
            Metrics::count_by(&self.metrics.resume_keys_refused, limit, keys);
        }
    }

    /// Whether subscriptions may be replaced, and whose.
    pub(super) fn check(&self, claim: &Claim) -> Result<SubscriberKey, SetTopicsError> {
        let key = self
            .registry
            .find(&claim.client_id)
            .ok_or(SetTopicsError::UnknownClient)?;
        let subscriber = self.registry.get(key).expect("just found");
        if subscriber.address != claim.address {
            return Err(SetTopicsError::ForeignAddress);
        }
        let principal = subscriber.principal();
        if !principal.is_guest() && *principal != claim.principal {
            return Err(SetTopicsError::OtherPrincipal);
        }
        Ok(key)
    }

    /// What a subscriber was told until now.
    fn before(&self, key: SubscriberKey) -> Before {
        let subscriber = self.registry.get(key);
        let subscriptions = subscriber.map_or(&[][..], |subscriber| subscriber.subscriptions());
        let mut before: Before = subscriptions
            .iter()
            .map(|subscription| (Arc::clone(subscription.text()), None))
            .collect();
        for (text, seen) in self.replays.texts_of(key) {
            before.insert(Arc::clone(text), Some(seen.clone()));
        }
        before
    }

    /// A stream whose client remembers its last id.
    fn begin_stream(&mut self, key: SubscriberKey, from: Option<Position>) {
        self.registry.set_marks(key, Some(Marks::default()));
        // Before anything else, so that a new stream that is cut early goes on, too.
        if let Some(position) = from.as_ref().or(self.history.reached().newest()) {
            let position = position.clone();
            self.outbox
                .extend(mark_for(&mut self.registry, key, &position));
            self.flush_all();
        }
        if let Some(from) = from {
            // A snapshot tells more than what was missed.
            let begun = self.begin_replay(key, From::Position(from), |one| !is_asked(one));
            let subscriber = self.registry.get_mut(key);
            if let Some(marks) = subscriber.and_then(|subscriber| subscriber.marks.as_mut()) {
                marks.set_behind(begun);
            }
        }
    }

    /// Subscriptions with keys go on where they were, and those that were being told of the past go on
    /// with it.
    fn go_on(
        &mut self,
        key: SubscriberKey,
        keys: Vec<(Arc<str>, PointKey)>,
        before: &Before,
        found: Found,
    ) {
        let newest = self.history.reached().newest().cloned();
        let mut from: HashMap<From, Vec<Arc<str>>> = HashMap::new();
        for (text, seen) in before {
            if let Some(seen) = seen {
                let place = From::Position(seen.clone());
                from.entry(place).or_default().push(Arc::clone(text));
            }
        }
        for (text, point) in &keys {
            let stored = found.as_ref().ok().and_then(|found| found.get(point));
            let known = self.book.go_on(*point, stored.cloned(), newest.as_ref());
            if newest.is_some() && !self.book.knows(point) {
                self.count_forgotten("server", 1);
            }
            let place = match (known, &found) {
                _ if before.contains_key(text) => continue,
                (Some(position), _) => From::Position(position),
                (None, Ok(_)) => continue,
                // It may have been here before, and nobody can say where it was.
                (None, Err(FindError)) => From::Unknown,
            };
            from.entry(place).or_default().push(Arc::clone(text));
        }
        if let Some(subscriber) = self.registry.get_mut(key) {
            subscriber.progress.start_over();
            subscriber.progress.keys = keys;
        }
        if !from.is_empty() {
            // Its subscriptions are at different places, so that no id can say where it is.
            self.registry.set_marks(key, None);
        }
        for (place, texts) in from {
            self.begin_replay(key, place, |one| texts.contains(one.text()));
        }
        // Those who come for the first time are to be known should we end now.
        self.book.save(super::points::Book::SAVED_MAX);
    }

    /// Tells a subscriber what it has missed under some of its subscriptions, before anything else; false if there
    /// are none of the kind.
    pub(super) fn begin_replay(
        &mut self,
        key: SubscriberKey,
        from: From,
        which: impl Fn(&Subscription) -> bool,
    ) -> bool {
        let Some(subscriber) = self.registry.get(key) else {
            return false;
        };
        let subscriptions = subscriber.subscriptions().iter();
        let subscriptions: Vec<_> = subscriptions.filter(|one| which(one)).collect();
        if subscriptions.is_empty() {
            return false;
        }
        self.replays.begin(key, subscriber, &subscriptions, from);
        let texts = self.replays.list.last().map(|replay| replay.texts.clone());
        for (topic, text) in texts.into_iter().flatten() {
            self.registry.hold_back(key, &topic, &text);
        }
        true
    }
}
