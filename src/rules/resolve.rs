//! What a name means for one collection (contract, sections 5.7 and 5.8).

use super::error::{Problem, nearest};
use super::macros::Macro;
use super::path::{Modifier, Step, split_modifier};
use super::predicate::RuleUse;
use super::program::{AuthMember, FieldRef, Join, Place, Source};
use super::value::Value;
use crate::catalog::{Collection, FieldKind};

/// Relations in one path, as in PocketBase.
const RELATIONS_MAX: usize = 6;

/// What every record has and no rule can use.
const NOT_FIELDS: [&str; 3] = ["collectionId", "collectionName", "expand"];

/// Gives names their meaning.
pub(super) struct Names<'c> {
    pub(super) collection: &'c Collection,
    pub(super) usage: RuleUse,
}

impl Names<'_> {
    /// What a name stands for: a macro, a value of the request, a field, or a word like `null`.
    pub(super) fn resolve(&self, name: &str, joins: &mut Vec<Join>) -> Result<Source, Problem> {
        if let Some(found) = Macro::parse(name) {
            return Ok(Source::Macro(found));
        }
        let segments: Vec<&str> = name.split('.').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(Problem::EmptyPart);
        }
        match segments[..] {
            ["@request", "context"] => Ok(Source::Context),
            ["@request", "method"] => Ok(Source::Method),
            ["@request", "auth", member, ref path @ ..] => auth(name, member, path, joins),
            ["@request", "query", ref path @ .., last] => self.option(Place::Query, path, last),
            ["@request", "headers", ref path @ .., last] => self.option(Place::Headers, path, last),
            ["@request", "body", ref path @ .., last] => self.body(path, last),
            ["@collection", owner, ref path @ ..] => other_collection(name, owner, path),
            [first, ..] if first.starts_with('@') => Err(unknown_macro(name)),
            [only] => self.field(only, joins),
            [first, ref path @ ..] => self.path(name, first, path),
            [] => Err(Problem::EmptyPart),
        }
    }

    /// A name without dots.
    fn field(&self, segment: &str, joins: &mut Vec<Join>) -> Result<Source, Problem> {
        let (name, modifier) = split_modifier(segment)?;
        let lower = |source| match modifier {
            Some(Modifier::Lower) => Source::Lower(Box::new(source)),
            // The others mean nothing here, and PocketBase does not mind.
            _ => source,
        };
        if name == "id" {
            return Ok(lower(Source::Id));
        }
        let field = match self.find(name) {
            Ok(field) => field,
            Err(problem) => return word(segment).ok_or(problem),
        };
        let list = matches!(field.kind, FieldKind::Array(_));
        Ok(match modifier {
            Some(Modifier::Length) if list => Source::Length(field),
            Some(Modifier::Each) if list => each(Join::Field(field), joins),
            _ => lower(Source::Field(field)),
        })
    }

    fn path(&self, name: &str, first: &str, path: &[&str]) -> Result<Source, Problem> {
        let field = match self.find(first) {
            Ok(field) => field,
            Err(_) if first.contains("_via_") => {
                return Err(needs_query(name, path, "through a back relation"));
            }
            Err(problem) => return Err(problem),
        };
        match &field.kind {
            FieldKind::Json => {
                let steps = path.iter().map(|segment| Step::parse(segment)).collect();
                Ok(Source::JsonPath(field, steps))
            }
            kind if first != "id" && may_be_relation(kind) => {
                Err(needs_query(name, path, "if this field is a relation"))
            }
            _ => Err(Problem::NoPath {
                name: first.to_owned(),
            }),
        }
    }

    fn find(&self, name: &str) -> Result<FieldRef, Problem> {
        if NOT_FIELDS.contains(&name) {
            let name = name.to_owned();
            return Err(Problem::NotAField { name });
        }
        let fields = &self.collection.fields;
        let position = fields.iter().position(|field| &*field.name == name);
        let Some(index) = position.filter(|&index| self.knows(index)) else {
            return Err(self.unknown(name));
        };
        let field = &fields[index];
        if field.hidden && self.usage != RuleUse::Rule {
            let name = name.to_owned();
            return Err(Problem::HiddenField { name });
        }
        Ok(FieldRef {
            index,
            name: field.name.clone(),
            kind: field.kind.clone(),
        })
    }

    /// Whoever writes the text may know of this field.
    fn knows(&self, index: usize) -> bool {
        !self.collection.fields[index].hidden || self.usage != RuleUse::Filter
    }

    fn unknown(&self, name: &str) -> Problem {
        let fields = self.collection.fields.iter().enumerate();
        let known = fields
            .filter(|&(index, _)| self.knows(index))
            .map(|(_, field)| &*field.name);
        Problem::UnknownField {
            name: name.to_owned(),
            collection: self.collection.name.to_string(),
            nearest: nearest(name, known.chain(["id"])),
        }
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
        let mut fields = self.collection.fields.iter();
        let reserved = name == "id" || NOT_FIELDS.contains(&name);
        !reserved && fields.any(|field| &*field.name == name && field.kind == FieldKind::Number)
    }

    /// `@request.body`: nobody sends one here.
    fn body(&self, path: &[&str], last: &str) -> Result<Source, Problem> {
        let (last, modifier) = split_modifier(last)?;
        let field = || match path {
            [] => self.find(last),
            _ => Err(self.unknown(last)),
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

/// A member of `@request.auth`, perhaps with a path into it.
fn auth(name: &str, member: &str, path: &[&str], joins: &mut Vec<Join>) -> Result<Source, Problem> {
    if path.is_empty() {
        return auth_member(member, joins);
    }
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
        Some(Modifier::Each) if is_field => each(Join::Auth(name.to_owned()), joins),
        _ => source,
    })
}

/// The item of a list; one that is named before is the same.
fn each(join: Join, joins: &mut Vec<Join>) -> Source {
    let known = joins.iter().position(|other| *other == join);
    Source::Each(known.unwrap_or_else(|| {
        joins.push(join);
        joins.len() - 1
    }))
}

fn other_collection(name: &str, owner: &str, path: &[&str]) -> Result<Source, Problem> {
    let mut alias = owner.splitn(2, ':');
    let whole = alias.all(|part| !part.is_empty() && !part.contains(':'));
    match path {
        [_, hops @ ..] if whole => Err(needs_query(name, hops, "those of another collection")),
        _ => Err(unknown_macro(name)),
    }
}

/// `path` is what follows the first record.
fn needs_query(name: &str, path: &[&str], what: &'static str) -> Problem {
    if path.len() > RELATIONS_MAX {
        return Problem::TooManyRelations(RELATIONS_MAX);
    }
    let path = name.to_owned();
    Problem::NeedsQuery { path, what }
}

/// Whether a value may be the key of another record, or several.
fn may_be_relation(kind: &FieldKind) -> bool {
    match kind {
        FieldKind::Text | FieldKind::Number => true,
        FieldKind::Array(element) => matches!(**element, FieldKind::Text | FieldKind::Number),
        FieldKind::Bool | FieldKind::Date | FieldKind::Json => false,
    }
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

fn unknown_macro(name: &str) -> Problem {
    const REQUEST: [&str; 3] = ["@request.auth.id", "@request.context", "@request.method"];
    let known = Macro::ALL
        .iter()
        .map(|(written, _)| *written)
        .chain(REQUEST);
    Problem::UnknownMacro {
        name: name.chars().take(64).collect(),
        nearest: nearest(name, known),
    }
}
