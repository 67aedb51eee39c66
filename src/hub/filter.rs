//! A subscription's own filter, compiled when first asked and kept while the collection is the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::catalog::{Catalog, Collection, CollectionKey};
use crate::rules::{Demand, Predicate, RequestContext, Row, Scope, Undecidable};
use crate::topic::Options;

/// A subscription's filter, compiled for the collections it meets: those who wrote the same text
/// share it.
#[derive(Default)]
pub(super) struct Filter(RefCell<HashMap<CollectionKey, Arc<CompiledFilter>>>);

/// A filter for one collection.
pub(super) struct CompiledFilter {
    collection: Arc<Collection>,
    plain: OnceLock<Option<Box<Predicate>>>,
    superuser: OnceLock<Option<Box<Predicate>>>,
    finding: OnceLock<Finding>,
}

/// How those are found whose filter may let a row pass; not for superusers, whose filters may say more.
pub(super) enum Finding {
    /// It lets nothing pass.
    Never,
    /// By what the row holds.
    Demands(Vec<Demand>),
    /// By asking it, once for all.
    Once,
    /// By asking it for each of them: it reaches other records, and not all may see the same.
    OneByOne,
}

impl Filter {
    /// Whether there is a filter among the options.
    pub(super) fn is_asked(&self, options: &Options) -> bool {
        options
            .query
            .get("filter")
            .is_some_and(|filter| !filter.is_empty())
    }

    /// Whether a row passes. A filter that PocketBase could not read lets nothing pass.
    ///
    /// # Errors
    /// If that cannot be said; for want of rows that were not fetched, it is to be asked again.
    pub(super) fn lets_pass(
        &self,
        collection: &Arc<Collection>,
        row: Row<'_>,
        options: &Options,
        request: &RequestContext<'_>,
        catalog: &Catalog,
        superuser: bool,
    ) -> Result<bool, Undecidable> {
        if !self.is_asked(options) {
            return Ok(true);
        }
        let filter = self.compiled(collection);
        match filter.predicate(options, catalog, superuser) {
            Some(predicate) => predicate.decide(row, request),
            None => Ok(false),
        }
    }

    /// Whether it is the same for everybody but superusers.
    pub(super) fn is_alike(
        &self,
        collection: &Arc<Collection>,
        options: &Options,
        catalog: &Catalog,
    ) -> bool {
        if !self.is_asked(options) {
            return true;
        }
        let filter = self.compiled(collection);
        let predicate = filter.predicate(options, catalog, false);
        predicate.is_none_or(|predicate| !predicate.needs().related)
    }

    /// The filter for one collection.
    pub(super) fn compiled(&self, collection: &Arc<Collection>) -> Arc<CompiledFilter> {
        let mut compiled = self.0.borrow_mut();
        let new = || CompiledFilter::new(collection);
        let filter = compiled.entry(collection.key).or_insert_with(new);
        if !Arc::ptr_eq(&filter.collection, collection) {
            *filter = new();
        }
        Arc::clone(filter)
    }
}

impl CompiledFilter {
    fn new(collection: &Arc<Collection>) -> Arc<Self> {
        Arc::new(Self {
            collection: Arc::clone(collection),
            plain: OnceLock::new(),
            superuser: OnceLock::new(),
            finding: OnceLock::new(),
        })
    }

    /// How those are found whose filter may let a row pass.
    pub(super) fn finding(&self, options: &Options, catalog: &Catalog) -> &Finding {
        self.finding.get_or_init(|| {
            let Some(predicate) = self.predicate(options, catalog, false) else {
                return Finding::Never;
            };
            match Demand::of(predicate) {
                Some(demands) => Finding::Demands(demands),
                None if predicate.needs().related => Finding::OneByOne,
                None => Finding::Once,
            }
        })
    }

    fn predicate(
        &self,
        options: &Options,
        catalog: &Catalog,
        superuser: bool,
    ) -> Option<&Predicate> {
        let predicate = match superuser {
            true => &self.superuser,
            false => &self.plain,
        };
        let predicate = predicate.get_or_init(|| {
            let scope = Scope {
                collection: &self.collection,
                catalog,
                auth: None,
            };
            compiled_filter(scope, options, superuser)
        });
        predicate.as_deref()
    }
}

fn compiled_filter(scope: Scope<'_>, options: &Options, superuser: bool) -> Option<Box<Predicate>> {
    match Predicate::of_options(&options.query, scope, superuser) {
        Ok(predicate) => predicate.map(Box::new),
        Err(error) => {
            tracing::debug!(
                collection.name = %scope.collection.name,
                error = error.summary(),
                "a subscription's filter cannot be used, so it never fires"
            );
            None
        }
    }
}
