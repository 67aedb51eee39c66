//! Paths from record to record (contract, sections 5.7 to 5.9).

use std::sync::Arc;

use super::error::{Problem, nearest};
use super::path::{Modifier, Step, split_modifier};
use super::predicate::RuleUse;
use super::program::{FieldRef, Home, Join, Reach, Rows, Source};
use super::resolve::{NOT_FIELDS, unknown_macro};
use crate::catalog::{Catalog, Collection, FieldKind, Link};

/// Where a path has come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'c> {
    home: Home,
    collection: &'c Collection,
    /// Relations that were followed.
    hops: usize,
    /// Declared names that were replaced.
    aliases: usize,
}

impl<'c> Spot<'c> {
    pub(super) fn new(home: Home, collection: &'c Collection) -> Self {
        Self {
            home,
            collection,
            hops: 0,
            aliases: 0,
        }
    }
}

/// Follows paths, and notes what is joined on the way.
pub(super) struct Paths<'c, 'j> {
    pub(super) catalog: &'c Catalog,
    pub(super) usage: RuleUse,
    pub(super) joins: &'j mut Vec<Join>,
}

impl<'c> Paths<'c, '_> {
    /// `@collection.NAME.…` and `@collection.NAME:alias.…`.
    pub(super) fn every(
        &mut self,
        name: &str,
        owner: &str,
        path: &[&str],
    ) -> Result<Source, Problem> {
        let (owner, alias) = match owner.split_once(':') {
            Some((_, alias)) if alias.is_empty() || alias.contains(':') => {
                return Err(unknown_macro(name));
            }
            Some((owner, alias)) => (owner, alias),
            None => (owner, ""),
        };
        if owner.is_empty() || path.is_empty() {
            return Err(unknown_macro(name));
        }
        let collection = self
            .catalog
            .find(owner)
            .ok_or_else(|| self.unknown_collection(owner))?;
        let alias = alias.to_owned();
        let spot = self.join(collection, Reach::Every { alias }, false, 0)?;
        self.walk(spot, path)
    }

    /// What stands at the end of a path.
    pub(super) fn walk(&mut self, spot: Spot<'c>, path: &[&str]) -> Result<Source, Problem> {
        let [first, rest @ ..] = path else {
            return Err(Problem::EmptyPart);
        };
        if rest.is_empty() {
            return self.field(spot, first);
        }
        if let Some(written) = spot.collection.aliases.get(*first) {
            return self.walk_alias(spot, written, rest);
        }
        match find(spot.collection, first, self.usage) {
            Ok(field) if field.kind == FieldKind::Json => {
                let steps = rest.iter().map(|segment| Step::parse(segment)).collect();
                Ok(Source::JsonPath(spot.home, field, steps))
            }
            Ok(field) => self.relation(spot, field, rest),
            Err(problem) => match self.back(spot, first)? {
                Some(next) => self.walk(next, rest),
                None => Err(problem),
            },
        }
    }

    fn walk_alias(
        &mut self,
        spot: Spot<'c>,
        written: &str,
        rest: &[&str],
    ) -> Result<Source, Problem> {
        if spot.aliases >= Catalog::ALIASES_MAX {
            return Err(Problem::TooManyRelations(Catalog::RELATIONS_MAX));
        }
        let spot = Spot {
            aliases: spot.aliases + 1,
            ..spot
        };
        let path: Vec<&str> = written.split('.').chain(rest.iter().copied()).collect();
        self.walk(spot, &path)
    }

    /// Follows the relation that a field is.
    fn relation(
        &mut self,
        spot: Spot<'c>,
        field: FieldRef,
        rest: &[&str],
    ) -> Result<Source, Problem> {
        let link = self.catalog.relation(spot.collection, field.index);
        let Some(Link {
            collection: target,
            to,
            single,
            ..
        }) = link
        else {
            return Err(Problem::NoPath {
                name: field.name.to_string(),
            });
        };
        if single && rest == ["id"] && target.key_fields == [to] {
            return Ok(Source::Key(spot.home, field));
        }
        let home = spot.home;
        let reach = Reach::Keys {
            home,
            from: field,
            to,
        };
        let next = self.join(target, reach, single, spot.hops + 1)?;
        self.walk(
            Spot {
                aliases: spot.aliases,
                ..next
            },
            rest,
        )
    }

    /// `COLLECTION_via_FIELD`: the records whose field points here; `None` if there is no such thing.
    fn back(&mut self, spot: Spot<'c>, name: &str) -> Result<Option<Spot<'c>>, Problem> {
        let Some(found) = back_relation(self.catalog, spot.collection, name, self.usage) else {
            return Ok(None);
        };
        let reach = Reach::Keys {
            home: spot.home,
            from: field_ref(spot.collection, found.from),
            to: found.to,
        };
        let next = self.join(found.collection, reach, found.single, spot.hops + 1)?;
        Ok(Some(Spot {
            aliases: spot.aliases,
            ..next
        }))
    }

    fn join(
        &mut self,
        collection: &'c Arc<Collection>,
        reach: Reach,
        single: bool,
        hops: usize,
    ) -> Result<Spot<'c>, Problem> {
        if hops > Catalog::RELATIONS_MAX {
            return Err(Problem::TooManyRelations(Catalog::RELATIONS_MAX));
        }
        let rows = Rows {
            collection: Arc::clone(collection),
            reach,
            single,
            narrow: Vec::new(),
        };
        let index = join_of(Join::Rows(rows), self.joins);
        Ok(Spot {
            home: Home::Joined(index),
            collection,
            hops,
            aliases: 0,
        })
    }

    /// A field, perhaps with a modifier.
    pub(super) fn field(&mut self, spot: Spot<'c>, segment: &str) -> Result<Source, Problem> {
        let Spot {
            home, collection, ..
        } = spot;
        let (name, modifier) = split_modifier(segment)?;
        let lower = |source| match modifier {
            Some(Modifier::Lower) => Source::Lower(Box::new(source)),
            // The others mean nothing here, and PocketBase does not mind.
            _ => source,
        };
        if name == "id" {
            return Ok(lower(Source::Id(home)));
        }
        let field = find(collection, name, self.usage).map_err(|problem| {
            let is_path = collection.aliases.contains_key(name)
                || back_relation(self.catalog, collection, name, self.usage).is_some();
            let name = name.to_owned();
            match is_path {
                true => Problem::PathEndsAtRecords { name },
                false => problem,
            }
        })?;
        let list = matches!(field.kind, FieldKind::Array(_));
        let relation = collection.fields[field.index].relation.is_some();
        Ok(match modifier {
            Some(Modifier::Length) if list || relation => Source::Length(home, field),
            Some(Modifier::Each) if list => {
                Source::Each(join_of(Join::Items(home, field), self.joins))
            }
            _ => lower(Source::Field(home, field)),
        })
    }

    fn unknown_collection(&self, name: &str) -> Problem {
        let known = self.catalog.iter().map(|collection| &*collection.name);
        Problem::UnknownCollection {
            name: name.to_owned(),
            nearest: nearest(name, known),
        }
    }
}

/// The place of a join among the joins; one that was named before is the same.
pub(super) fn join_of(join: Join, joins: &mut Vec<Join>) -> usize {
    let known = joins.iter().position(|other| *other == join);
    known.unwrap_or_else(|| {
        joins.push(join);
        joins.len() - 1
    })
}

/// What `COLLECTION_via_FIELD` means to whoever wrote it.
fn back_relation<'c>(
    catalog: &'c Catalog,
    collection: &Collection,
    name: &str,
    usage: RuleUse,
) -> Option<Link<'c>> {
    catalog.back_relations(collection, name).find(|link| {
        let pointing = &link.collection.fields[link.to].name;
        find(link.collection, pointing, usage).is_ok()
    })
}

/// Whether a path through this member of a record leads to other records.
pub(super) fn leads_to_records(collection: &Collection, name: &str) -> bool {
    let field = collection
        .field(name)
        .map(|index| &collection.fields[index]);
    field.is_some_and(|field| field.relation.is_some()) || collection.aliases.contains_key(name)
}

/// The field of this name, if whoever wrote the text may use it.
pub(super) fn find(
    collection: &Collection,
    name: &str,
    usage: RuleUse,
) -> Result<FieldRef, Problem> {
    if NOT_FIELDS.contains(&name) {
        let name = name.to_owned();
        return Err(Problem::NotAField { name });
    }
    let found = collection.field(name);
    let Some(index) = found.filter(|&index| knows(collection, index, usage)) else {
        return Err(unknown(collection, name, usage));
    };
    if collection.fields[index].hidden && usage != RuleUse::Rule {
        let name = name.to_owned();
        return Err(Problem::HiddenField { name });
    }
    Ok(field_ref(collection, index))
}

pub(super) fn field_ref(collection: &Collection, index: usize) -> FieldRef {
    let field = &collection.fields[index];
    FieldRef {
        index,
        name: Arc::clone(&field.name),
        kind: field.kind.clone(),
    }
}

/// Whether whoever wrote the text may know of this field.
fn knows(collection: &Collection, index: usize, usage: RuleUse) -> bool {
    !collection.fields[index].hidden || usage != RuleUse::Filter
}

pub(super) fn unknown(collection: &Collection, name: &str, usage: RuleUse) -> Problem {
    let fields = collection.fields.iter().enumerate();
    let known = fields
        .filter(|&(index, _)| knows(collection, index, usage))
        .map(|(_, field)| &*field.name);
    Problem::UnknownField {
        name: name.to_owned(),
        collection: collection.name.to_string(),
        nearest: nearest(name, known.chain(["id"])),
    }
}
