//! A compiled rule: every name is resolved, nothing has a value yet.

use std::sync::Arc;

use super::ast::Operator;
use super::functions::{Format, Modifier as TimeModifier};
use super::macros::Macro;
use super::path::Step;
use super::value::Value;
use crate::catalog::FieldKind;

/// A set of joins by number.
pub(super) type JoinSet = u64;

/// List fields that one rule can take apart.
pub(super) const JOINS_MAX: usize = JoinSet::BITS as usize;

/// A list whose items a rule looks at one by one. All comparisons that name the same list look at the
/// same item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Join {
    Field(FieldRef),
    Auth(String),
}

#[derive(Debug)]
pub(super) enum Node {
    And(Vec<Node>, JoinSet),
    Or(Vec<Node>, JoinSet),
    Comparison(Comparison),
}

impl Node {
    /// The joins that it looks at.
    pub(super) fn joins(&self) -> JoinSet {
        match self {
            Self::And(_, joins) | Self::Or(_, joins) => *joins,
            Self::Comparison(comparison) => comparison.joins,
        }
    }
}

#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) left: Source,
    pub(super) operator: Operator,
    pub(super) right: Source,
    pub(super) joins: JoinSet,
    /// The joins of each side whose every item must do, not only one.
    pub(super) all_of: [Option<usize>; 2],
}

/// A field of the collection that the rule was compiled for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldRef {
    /// Where it stood.
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) kind: FieldKind,
}

/// Where a side gets its value from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A literal, or what can never be anything else.
    Constant(Value<'static>),
    Macro(Macro),
    Context,
    Method,
    Option {
        place: Place,
        name: String,
        /// The name is that of a field of numbers, so that a text is read as one.
        number: bool,
    },
    OptionIsSet {
        place: Place,
        name: String,
    },
    Auth(AuthMember),
    AuthField {
        name: String,
        path: Vec<Step>,
    },
    AuthLength(String),
    Id,
    Field(FieldRef),
    JsonPath(FieldRef, Vec<Step>),
    Length(FieldRef),
    /// The current item of a join.
    Each(usize),
    Lower(Box<Source>),
    Distance(Box<[Source; 4]>),
    Time(Box<TimeCall>),
}

/// A call of `strftime`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimeCall {
    pub(super) format: Format,
    /// `None` for the current time.
    pub(super) time: Option<Source>,
    pub(super) modifiers: Vec<TimeModifier>,
}

/// Where an option stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Headers,
}

/// The members of `@request.auth` that every auth record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthMember {
    Id,
    CollectionId,
    CollectionName,
    Email,
    EmailVisibility,
    Verified,
}

impl AuthMember {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "collectionId" => Self::CollectionId,
            "collectionName" => Self::CollectionName,
            "email" => Self::Email,
            "emailVisibility" => Self::EmailVisibility,
            "verified" => Self::Verified,
            _ => return None,
        })
    }
}

/// What a rule's outcome depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The row.
    pub row: bool,
    /// Who asks.
    pub auth: bool,
    /// The subscription's `query`.
    pub query: bool,
    /// The subscription's `headers`.
    pub headers: bool,
    /// What time it is.
    pub clock: bool,
}

impl Needs {
    pub(super) fn add(&mut self, source: &Source) {
        match source {
            Source::Constant(_) | Source::Context | Source::Method => {}
            Source::Macro(_) => self.clock = true,
            Source::Option { place, .. } | Source::OptionIsSet { place, .. } => match place {
                Place::Query => self.query = true,
                Place::Headers => self.headers = true,
            },
            Source::Auth(_) | Source::AuthField { .. } | Source::AuthLength(_) => self.auth = true,
            Source::Id | Source::Field(_) | Source::JsonPath(..) | Source::Length(_) => {
                self.row = true;
            }
            // What it is a join of was added when the join was made.
            Source::Each(_) => {}
            Source::Lower(inner) => self.add(inner),
            Source::Distance(points) => points.iter().for_each(|point| self.add(point)),
            Source::Time(call) => {
                // A text or a field may say `now`.
                self.clock = true;
                call.time.iter().for_each(|time| self.add(time));
            }
        }
    }
}
