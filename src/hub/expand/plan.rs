//! Where the names of an `expand` lead, seen from one collection.

use crate::catalog::{Catalog, Collection, Link};
use crate::topic::Expand;

/// A name that leads to records, and what is wanted of those.
pub(super) struct Step<'p> {
    pub(super) name: &'p str,
    /// Never empty.
    pub(super) route: Vec<Link<'p>>,
    /// Empty only if nothing more was asked for.
    pub(super) below: Vec<Step<'p>>,
}

/// The steps of all paths without a mistake. A path with a mistake is none, wherever in it that is.
pub(super) fn plan<'p>(
    catalog: &'p Catalog,
    from: &Collection,
    expand: &'p Expand,
    superuser: bool,
) -> Vec<Step<'p>> {
    let steps = expand.names().filter_map(|(name, below)| {
        let route = route(catalog, from, name, superuser)?;
        let steps = plan(catalog, route.last()?.collection, below, superuser);
        (below.is_empty() || !steps.is_empty()).then_some(Step {
            name,
            route,
            below: steps,
        })
    });
    steps.collect()
}

/// The first path with a mistake, up to the name that is one. `opens` says whether somebody may see
/// records of a collection at all.
pub(in crate::hub) fn first_mistake(
    catalog: &Catalog,
    from: &Collection,
    expand: &Expand,
    superuser: bool,
    opens: &dyn Fn(&Collection) -> bool,
) -> Option<String> {
    expand.names().find_map(|(name, below)| {
        let route = route(catalog, from, name, superuser)
            .filter(|route| route.iter().all(|link| opens(link.collection)));
        let Some(target) = route.as_ref().and_then(|route| route.last()) else {
            return Some(name.to_owned());
        };
        let inside = first_mistake(catalog, target.collection, below, superuser, opens)?;
        Some(format!("{name}.{inside}"))
    })
}

fn route<'p>(
    catalog: &'p Catalog,
    from: &Collection,
    name: &str,
    superuser: bool,
) -> Option<Vec<Link<'p>>> {
    catalog.route(from, name, |collection, field| {
        superuser || is_shown(collection, field)
    })
}

/// Whether everybody who sees a record sees this value of it. One who does not would learn it from the
/// records it leads to.
fn is_shown(collection: &Collection, field: usize) -> bool {
    let email = collection.auth.as_ref().and_then(|auth| auth.email);
    collection.key_fields == [field] || !collection.fields[field].hidden && email != Some(field)
}
