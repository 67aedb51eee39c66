//! A compiled rule: every name is resolved, nothing has a value yet.

use std::sync::Arc;

use super::ast::Operator;
use super::functions::{Format, Modifier as TimeModifier};
use super::macros::Macro;
use super::path::Step;
use super::value::Value;
use crate::catalog::{Collection, FieldKind};

/// A set of joins by number.
pub(super) type JoinSet = u64;

/// Lists and paths that one rule can take apart.
pub(super) const JOINS_MAX: usize = JoinSet::BITS as usize;

/// Items or rows that a rule looks at one by one. All comparisons that name the same look at the same
/// one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Join {
    /// The items of a list.
    Items(Home, FieldRef),
    /// The items of a member of `@request.auth` that is known by name only.
    Auth(String),
    /// Rows of another collection.
    Rows(Rows),
}

impl Join {
    /// Where it starts.
    pub(super) fn home(&self) -> Home {
        match self {
            Self::Items(home, _) => *home,
            Self::Auth(_) => Home::Auth,
            Self::Rows(rows) => match &rows.reach {
                Reach::Keys { home, .. } => *home,
                Reach::Every { .. } => Home::Nowhere,
            },
        }
    }

    /// Whether there is one at most, so that nothing is to be chosen.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::Rows(rows) if rows.single)
    }
}

/// Whose field is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// The record that is decided about.
    Record,
    /// The principal's record.
    Auth,
    /// The row that a join has chosen.
    Joined(usize),
    /// Nobody's: all rows of a collection.
    Nowhere,
}

/// Rows of another collection.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) collection: Arc<Collection>,
    pub(super) reach: Reach,
    /// Whether there is one at most.
    pub(super) single: bool,
    /// What a row must equal to be of any use, beside the keys: fields by position.
    pub(super) narrow: Vec<(usize, Source)>,
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        self.collection.key == other.collection.key && self.reach == other.reach
    }
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those whose field `to` equals the value of `from`; of a list, each of its items.
    Keys {
        home: Home,
        from: FieldRef,
        to: usize,
    },
    /// All, once for each alias.
    Every { alias: String },
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    And(Vec<Node>, JoinSet),
    Or(Vec<Node>, JoinSet),
    Comparison(Comparison),
    /// Whoever wrote the filter may see the row of this join.
    Visible(usize, JoinSet),
}

impl Node {
    /// The joins that it looks at.
    pub(super) fn joins(&self) -> JoinSet {
        match self {
            Self::And(_, joins) | Self::Or(_, joins) | Self::Visible(_, joins) => *joins,
            Self::Comparison(comparison) => comparison.joins,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub(super) left: Source,
    pub(super) operator: Operator,
    pub(super) right: Source,
    pub(super) joins: JoinSet,
    /// The joins of each side whose every item must do, not only one.
    pub(super) all_of: [JoinSet; 2],
    /// For each side, what must be true of a row for a filter to look at its value.
    pub(super) shown: [Option<Box<Source>>; 2],
}

/// A field of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldRef {
    /// Where it stood.
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) kind: FieldKind,
}

impl FieldRef {
    /// Whether it holds several values.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.kind, FieldKind::Array(_))
    }
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
    /// The record's id.
    Id(Home),
    Field(Home, FieldRef),
    /// The key that a field holds, as the id it is.
    Key(Home, FieldRef),
    JsonPath(Home, FieldRef, Vec<Step>),
    Length(Home, FieldRef),
    /// The current item of a join.
    Each(usize),
    Lower(Box<Source>),
    Distance(Box<[Source; 4]>),
    Time(Box<TimeCall>),
}

impl Source {
    /// As [`home`](Self::home), of what a value is made of, too.
    pub(super) fn origin(&self) -> Option<Home> {
        match self {
            Self::Each(join) => Some(Home::Joined(*join)),
            Self::Lower(inner) => inner.origin(),
            Self::Time(call) => call.time.as_ref()?.origin(),
            other => other.home(),
        }
    }

    /// Whose value it is, if it is a value of somebody's row.
    pub(super) fn home(&self) -> Option<Home> {
        match self {
            Self::Id(home)
            | Self::Field(home, _)
            | Self::Key(home, _)
            | Self::JsonPath(home, ..)
            | Self::Length(home, _) => Some(*home),
            _ => None,
        }
    }
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
    /// Rows of other collections.
    pub related: bool,
    /// Where the principal's fields point to: such a text is compiled for each auth collection.
    pub auth_collection: bool,
}

impl Needs {
    /// Something of this home is read.
    pub(super) fn add_home(&mut self, home: Home) {
        match home {
            Home::Record => self.row = true,
            Home::Auth => self.auth = true,
            // What it was reached from was added when the join was made.
            Home::Joined(_) | Home::Nowhere => {}
        }
    }

    /// A join was made.
    pub(super) fn add_join(&mut self, join: &Join) {
        self.add_home(join.home());
        if let Join::Rows(_) = join {
            self.related = true;
        }
    }

    pub(super) fn add(&mut self, source: &Source) {
        match source {
            Source::Constant(_) | Source::Context | Source::Method => {}
            Source::Macro(_) => self.clock = true,
            Source::Option { place, .. } | Source::OptionIsSet { place, .. } => match place {
                Place::Query => self.query = true,
                Place::Headers => self.headers = true,
            },
            Source::Auth(_) | Source::AuthField { .. } | Source::AuthLength(_) => self.auth = true,
            Source::Id(home)
            | Source::Field(home, _)
            | Source::Key(home, _)
            | Source::JsonPath(home, ..)
            | Source::Length(home, _) => self.add_home(*home),
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
