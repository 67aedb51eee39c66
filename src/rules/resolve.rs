//! What a name means for one collection (contract, sections 5.7 and 5.8).

use std::cell::Cell;

use super::error::{Problem, nearest};
use super::macros::Macro;
use super::path::{Modifier, Step, split_modifier};
use super::predicate::{RuleUse, Scope};
use super::program::{AuthMember, FieldRef, Home, Join, Place, Source};
use super::reach::{Paths, Spot, field_ref, find, join_of, leads_to_records, unknown};
use super::value::Value;
use crate::catalog::FieldKind;

/// What every record has and no rule can use.
pub(super) const NOT_FIELDS: [&str; 3] = ["collectionId", "collectionName", "expand"];

/// Gives names their meaning.
pub(super) struct Names<'c> {
    pub(super) scope: Scope<'c>,
    pub(super) usage: RuleUse,
    /// Whether a path into the principal's record was seen.
    pub(super) auth_paths: Cell<bool>,
}

impl<'c> Names<'c> {
    /// What a name stands for: a macro, a value of the request, a field, or a word like `null`.
    pub(super) fn resolve(&self, name: &str, joins: &mut Vec<Join>) -> Result<Source, Problem> {
        if let Some(found) = Macro::parse(name) {
            return Ok(Source::Macro(found));
        }
        let segments: Vec<&str> = name.split('.').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(Problem::EmptyPart);
        }
        let mut paths = self.paths(joins);
        match segments[..] {
            ["@request", "context"] => Ok(Source::Context),
            ["@request", "method"] => Ok(Source::Method),
            ["@request", "auth", member, ref path @ ..] => self.auth(name, member, path, joins),
            ["@request", "query", ref path @ .., last] => self.option(Place::Query, path, last),
            ["@request", "headers", ref path @ .., last] => self.option(Place::Headers, path, last),
            ["@request", "body", ref path @ .., last] => self.body(path, last),
            ["@client", ref path @ ..] if self.usage == RuleUse::Client && !path.is_empty() => {
                paths.walk(self.record(), path)
            }
            [only] if self.usage == RuleUse::Client && !only.starts_with('@') => word(only)
                .ok_or_else(|| Problem::OnlyClients {
                    name: clipped(name),
                }),
            ["@collection", ..] if self.usage == RuleUse::Client => Err(Problem::OnlyClients {
                name: clipped(name),
            }),
            [first, ..] if self.usage == RuleUse::Client && !first.starts_with('@') => {
                Err(Problem::OnlyClients {
                    name: clipped(name),
                })
            }
            ["@collection", owner, ref path @ ..] => paths.every(name, owner, path),
            [first, ..] if first.starts_with('@') => Err(unknown_macro(name)),
            [only] => match paths.field(self.record(), only) {
                Err(problem) => word(only).ok_or(problem),
                found => found,
            },
            _ => paths.walk(self.record(), &segments),
        }
    }

    /// The record that is decided about.
    fn record(&self) -> Spot<'c> {
        Spot::new(Home::Record, self.scope.collection)
    }

    fn paths<'j>(&self, joins: &'j mut Vec<Join>) -> Paths<'c, 'j> {
        Paths {
            catalog: self.scope.catalog,
            usage: self.usage,
            joins,
        }
    }

    /// A member of `@request.auth`, perhaps with a path into it.
    fn auth(
        &self,
        name: &str,
        member: &str,
        path: &[&str],
        joins: &mut Vec<Join>,
    ) -> Result<Source, Problem> {
        if path.is_empty() {
            return self.auth_field(member, joins);
        }
        self.auth_paths.set(true);
        if let Some(collection) = self.scope.auth
            && (leads_to_records(collection, member) || member.contains("_via_"))
        {
            let mut segments = vec![member];
            segments.extend(path);
            let spot = Spot::new(Home::Auth, collection);
            return self.paths(joins).walk(spot, &segments);
        }
        auth_path(name, member, path)
    }

    /// A member of `@request.auth` itself. Only its collection knows what can be counted and taken apart.
    fn auth_field(&self, segment: &str, joins: &mut Vec<Join>) -> Result<Source, Problem> {
        let (name, modifier) = split_modifier(segment)?;
        let counts = matches!(modifier, Some(Modifier::Length | Modifier::Each));
        if !counts || AuthMember::parse(name).is_some() {
            return auth_member(segment, joins);
        }
        self.auth_paths.set(true);
        match self.scope.auth {
            Some(collection) if find(collection, name, self.usage).is_ok() => {
                let spot = Spot::new(Home::Auth, collection);
                self.paths(joins).field(spot, segment)
            }
            _ => auth_member(segment, joins),
        }
    }

    /// What says whether an email may be looked at, if it is an email that a filter looks at.
    pub(super) fn email_flag(
        &self,
        home: Home,
        field: &FieldRef,
        joins: &[Join],
    ) -> Option<Source> {
        if self.usage == RuleUse::Rule {
            return None;
        }
        let collection = match home {
            Home::Record => self.scope.collection,
            Home::Joined(join) => match &joins[join] {
                Join::Rows(rows) => &*rows.collection,
                Join::Items(..) | Join::Auth(_) => return None,
            },
            Home::Auth | Home::Nowhere => return None,
        };
        let auth = collection.auth.as_ref()?;
        if auth.email != Some(field.index) {
            return None;
        }
        Some(match auth.email_visibility {
            Some(flag) => Source::Field(home, field_ref(collection, flag)),
            // Nobody can say that it may be seen.
            None => Source::Constant(Value::bool(false)),
        })
    }

    /// `@request.query` and `@request.headers`: texts by name, without any depth.
    fn option(&self, place: Place, path: &[&str], last: &str) -> Result<Source, Problem> {
        let (last, modifier) = split_modifier(last)?;
        let name = path.is_empty().then(|| last.to_owned());
        let number = self.is_number(last);
        match (modifier, name) {
            (Some(Modifier::IsSet), None) => Ok(Source::Constant(Value::bool(false))),
            (Some(Modifier::IsSet), Some(name)) => Ok(Source::OptionIsSet { place, name }),
            (None | Some(Modifier::Lower), None) => Ok(Source::Constant(Value::Null)),
            (None, Some(name)) => Ok(Source::Option {
                place,
                name,
                number,
            }),
            (Some(Modifier::Lower), Some(name)) => {
                let option = Source::Option {
                    place,
                    name,
                    number,
                };
                Ok(Source::Lower(Box::new(option)))
            }
            (Some(other), _) => Err(other.not_here()),
        }
    }

    fn is_number(&self, name: &str) -> bool {
        let mut fields = self.scope.collection.fields.iter();
        let reserved = name == "id" || NOT_FIELDS.contains(&name);
        !reserved && fields.any(|field| &*field.name == name && field.kind == FieldKind::Number)
    }

    /// `@request.body`: nobody sends one here.
    fn body(&self, path: &[&str], last: &str) -> Result<Source, Problem> {
        let (last, modifier) = split_modifier(last)?;
        let collection = self.scope.collection;
        let field = || match path {
            [] => find(collection, last, self.usage),
            _ => Err(unknown(collection, last, self.usage)),
        };
        let value = match modifier {
            None | Some(Modifier::Lower) => Value::Null,
            Some(Modifier::IsSet) => Value::bool(false),
            Some(Modifier::Changed) => field().map(|_| Value::bool(false))?,
            Some(modifier @ (Modifier::Length | Modifier::Each)) => match field()?.kind {
                FieldKind::Array(_) if modifier == Modifier::Length => Value::Integer(0),
                FieldKind::Array(_) => Value::Null,
                _ => return Err(modifier.not_here()),
            },
        };
        Ok(Source::Constant(value))
    }
}

/// A path into a member of `@request.auth` that is no relation.
fn auth_path(name: &str, member: &str, path: &[&str]) -> Result<Source, Problem> {
    let (member, None) = split_modifier(member)? else {
        return Err(unknown_macro(name));
    };
    if AuthMember::parse(member).is_some() {
        let name = format!("@request.auth.{member}");
        return Err(Problem::NoPath { name });
    }
    Ok(Source::AuthField {
        name: member.to_owned(),
        path: path.iter().map(|segment| Step::parse(segment)).collect(),
    })
}

fn auth_member(segment: &str, joins: &mut Vec<Join>) -> Result<Source, Problem> {
    let (name, modifier) = split_modifier(segment)?;
    let (source, is_field) = match AuthMember::parse(name) {
        Some(member) => (Source::Auth(member), false),
        None => {
            let (name, path) = (name.to_owned(), Vec::new());
            (Source::AuthField { name, path }, true)
        }
    };
    Ok(match modifier {
        Some(Modifier::Lower) => Source::Lower(Box::new(source)),
        Some(Modifier::Length) if is_field => Source::AuthLength(name.to_owned()),
        Some(Modifier::Each) if is_field => {
            Source::Each(join_of(Join::Auth(name.to_owned()), joins))
        }
        _ => source,
    })
}

/// `null`, `true`, `false` in any letter case.
fn word(text: &str) -> Option<Source> {
    let value = match text.to_ascii_lowercase().as_str() {
        "null" => Value::Null,
        "true" => Value::bool(true),
        "false" => Value::bool(false),
        _ => return None,
    };
    Some(Source::Constant(value))
}

fn clipped(name: &str) -> String {
    name.chars().take(64).collect()
}

pub(super) fn unknown_macro(name: &str) -> Problem {
    const REQUEST: [&str; 3] = ["@request.auth.id", "@request.context", "@request.method"];
    let known = Macro::ALL
        .iter()
        .map(|(written, _)| *written)
        .chain(REQUEST);
    Problem::UnknownMacro {
        name: clipped(name),
        nearest: nearest(name, known),
    }
}
