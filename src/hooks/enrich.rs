//! Before a record is written to one stream.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::{Chain, HookRecord};
use crate::auth::Principal;
use crate::telemetry::Metrics;
use crate::topic::Options;

use super::chain::Bound;

/// A record that one principal is about to be shown under one subscription.
#[non_exhaustive]
pub struct Enrich<'e> {
    /// The client id of the stream.
    pub client_id: &'e str,
    /// Who is shown it.
    pub principal: &'e Principal,
    /// The subscription's text, which is the event's name.
    pub subscription: &'e str,
    /// What it asks for beside the topic: what rules know as `@request.query` and `@request.headers`.
    pub options: &'e Options,
    /// The name of the record's collection.
    pub collection: &'e str,
    /// Whether the record stands in another one's `expand`.
    pub is_expanded: bool,
    /// The record, before the subscription's `fields` are picked from it.
    pub record: HookRecord,
}

/// Which collections a hook is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collections {
    /// All of them. Then no record's bytes are shared by those who receive it.
    All,
    /// Those with these names.
    Named(BTreeSet<Arc<str>>),
}

impl Collections {
    /// Those with these names.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::Named(names.into_iter().map(Arc::from).collect())
    }

    fn concern(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// Why a hook cannot say what is to be shown; the message is dropped then, for this receiver.
pub type EnrichError = Box<dyn Error + Send + Sync>;

/// A hook and the collections it is asked about. It is called in the stream's own task, which nobody
/// else waits for, and must not wait itself.
#[derive(Clone)]
pub struct EnrichHook {
    collections: Collections,
    hook: Enriches,
}

type Enriches = Arc<dyn for<'a> Fn(&'a mut Enrich<'_>) -> Result<(), EnrichError> + Send + Sync>;

impl fmt::Debug for EnrichHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrichHook")
            .field("collections", &self.collections)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Enrich<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrich")
            .field("client_id", &self.client_id)
            .field("collection", &self.collection)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl Chain<EnrichHook> {
    /// Binds a hook, or replaces the one with this id. It must not wait.
    pub fn bind<F>(&self, id: &str, priority: i32, collections: Collections, hook: F)
    where
        F: for<'a> Fn(&'a mut Enrich<'_>) -> Result<(), EnrichError> + Send + Sync + 'static,
    {
        let hook = Arc::new(hook);
        self.insert(id, priority, EnrichHook { collections, hook });
    }

    /// All hooks as of now; `None` if there are none.
    pub(crate) fn enrichment(&self) -> Option<Enrichment> {
        (!self.is_empty()).then(|| Enrichment(self.bound()))
    }
}

/// The enrich hooks of one moment.
#[derive(Clone)]
pub struct Enrichment(Arc<[Bound<EnrichHook>]>);

impl Enrichment {
    /// Whether any hook is asked about records of a collection.
    pub fn concerns(&self, collection: &str) -> bool {
        let mut hooks = self.0.iter();
        hooks.any(|bound| bound.hook.collections.concern(collection))
    }

    /// Asks all hooks about a record; `None` if its message is to be dropped, or with a panic ended
    /// with its stream.
    ///
    /// # Errors
    /// If a hook panicked.
    pub(crate) fn run(
        &self,
        enrich: &mut Enrich<'_>,
        metrics: &Metrics,
    ) -> Result<Option<()>, EnrichPanicked> {
        for bound in self.0.iter() {
            if !bound.hook.collections.concern(enrich.collection) {
                continue;
            }
            match bound.call("enrich", metrics, |hook| (hook.hook)(enrich)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    bound.failed("enrich", "error", metrics);
                    tracing::debug!(
                        error = &*error as &dyn Error,
                        hook.id = bound.id(),
                        collection.name = enrich.collection,
                        "an enrich hook failed; the message is dropped for this receiver"
                    );
                    return Ok(None);
                }
                Err(_) => return Err(EnrichPanicked),
            }
        }
        Ok(Some(()))
    }
}

impl fmt::Debug for Enrichment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(Bound::id);
        f.debug_list().entries(ids).finish()
    }
}

/// An enrich hook has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EnrichPanicked;
