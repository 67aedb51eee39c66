//! A subscription's own filter, compiled when first asked and kept while the collection is the same.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::{Catalog, Collection, CollectionKey};
use crate::rules::{Predicate, RequestContext, Row, Scope, Undecidable};
use crate::topic::Options;

/// A subscription's filter, compiled for the collections it meets: those who wrote the same text
/// share it.
#[derive(Default)]
pub(super) struct Filter(RefCell<HashMap<CollectionKey, CompiledFilter>>);

struct CompiledFilter {
    collection: Arc<Collection>,
    plain: OnceCell<Option<Box<Predicate>>>,
    superuser: OnceCell<Option<Box<Predicate>>>,
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
        let mut compiled = self.0.borrow_mut();
        let new = || CompiledFilter {
            collection: Arc::clone(collection),
            plain: OnceCell::new(),
            superuser: OnceCell::new(),
        };
        let filter = compiled.entry(collection.key).or_insert_with(new);
        if !Arc::ptr_eq(&filter.collection, collection) {
            *filter = new();
        }
        let predicate = match superuser {
            true => &filter.superuser,
            false => &filter.plain,
        };
        let predicate = predicate.get_or_init(|| {
            let scope = Scope {
                collection,
                catalog,
                auth: None,
            };
            compiled_filter(scope, options, superuser)
        });
        match predicate {
            Some(predicate) => predicate.decide(row, request),
            None => Ok(false),
        }
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
