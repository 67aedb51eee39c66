//! What is wrong with a text, and where.

use std::fmt;

use super::ast::Span;
use super::excerpt::Excerpt;
use super::parser::{CALL_NESTING_MAX, COMPARISONS_MAX, NESTING_MAX, TEXT_BYTES_MAX};

/// Why a rule or a filter cannot be used. Prints over several lines: what is wrong, the text with
/// the place marked, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    problem: Box<Problem>,
    excerpt: Box<Excerpt>,
}

impl std::error::Error for RuleError {}

impl RuleError {
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        Self {
            problem: Box::new(fault.problem),
            excerpt: Box::new(Excerpt::new(text, fault.span)),
        }
    }

    /// The first line alone: what is wrong.
    pub fn summary(&self) -> String {
        self.problem.to_string()
    }

    /// The line it is in, from 1.
    pub fn line(&self) -> usize {
        self.excerpt.line
    }

    /// The character of that line it begins with, from 1.
    pub fn column(&self) -> usize {
        self.excerpt.column
    }

    /// The word used where the names in the text may not be told.
    pub fn reason(&self) -> &'static str {
        match &*self.problem {
            Problem::UnknownField { .. } => "unknown_field",
            _ => "invalid",
        }
    }

    /// The existing name that was probably meant.
    pub fn suggestion(&self) -> Option<&str> {
        match &*self.problem {
            Problem::UnknownField { nearest, .. }
            | Problem::UnknownCollection { nearest, .. }
            | Problem::UnknownMacro { nearest, .. }
            | Problem::UnknownFunction { nearest, .. }
            | Problem::UnknownModifier { nearest, .. } => nearest.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.problem, self.excerpt)?;
        if let Some(nearest) = self.suggestion() {
            write!(f, "\nDid you mean {nearest}?")?;
        }
        if let Some(advice) = self.problem.advice() {
            write!(f, "\n{advice}")?;
        }
        Ok(())
    }
}

/// A problem and its place, before the text is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) fn new(span: Span, problem: Problem) -> Self {
        Self { span, problem }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("the text has {bytes} bytes; {TEXT_BYTES_MAX} is the most")]
    TooLong { bytes: usize },
    #[error("{0:?} has no meaning here")]
    Character(char),
    #[error("this quoted text has no end")]
    OpenText,
    #[error("a text cannot contain the character NUL")]
    Nul,
    #[error("this text contains half of a character: \\ud800 to \\udfff only stand in pairs")]
    LoneSurrogate,
    #[error("{0} is no number")]
    Number(String),
    #[error("this number is too large")]
    NumberRange,
    #[error("{0} is no operator")]
    Operator(String),
    #[error("{0} joins nothing")]
    Join(String),
    #[error("{0} is no whole name")]
    Name(String),
    #[error("a comment between parentheses cannot contain parentheses or quotes")]
    CommentInGroup,
    #[error("there is nothing to decide")]
    Empty,
    #[error("there is nothing between these parentheses")]
    EmptyGroup,
    #[error("{0} is missing here")]
    Expected(&'static str),
    #[error("this parenthesis is never closed")]
    OpenGroup,
    #[error("this parenthesis was never opened")]
    StrayClose,
    #[error("parentheses are nested deeper than {NESTING_MAX}")]
    TooDeep,
    #[error("there are more than {COMPARISONS_MAX} comparisons")]
    TooManyComparisons,
    #[error("function calls are nested deeper than {CALL_NESTING_MAX}")]
    CallsTooDeep,
    #[error("no function takes so many arguments")]
    TooManyArguments,
    #[error("{collection} has no field {name}")]
    UnknownField {
        name: String,
        collection: String,
        nearest: Option<String>,
    },
    #[error("{name} is known to records, but is no field a rule can use")]
    NotAField { name: String },
    #[error("there is nothing called {name}")]
    UnknownMacro {
        name: String,
        nearest: Option<String>,
    },
    #[error("there is no function {name}")]
    UnknownFunction {
        name: String,
        nearest: Option<String>,
    },
    #[error("{function} {wants}")]
    Arguments {
        function: &'static str,
        wants: &'static str,
    },
    #[error("there is no modifier :{name}")]
    UnknownModifier {
        name: String,
        nearest: Option<String>,
    },
    #[error("a name takes one modifier only")]
    TwoModifiers,
    #[error("the modifier :{name} cannot stand here")]
    ModifierNotHere { name: String },
    #[error("{name} has no parts: it is neither JSON nor a relation to an attached table")]
    NoPath { name: String },
    #[error("a path cannot have an empty part")]
    EmptyPart,
    #[error("a path cannot follow more than {0} relations")]
    TooManyRelations(usize),
    #[error("{name} stands for records, not for a value")]
    PathEndsAtRecords { name: String },
    #[error("there is no collection {name}")]
    UnknownCollection {
        name: String,
        nearest: Option<String>,
    },
    #[error("a filter cannot contain @request. or @collection.")]
    RequestInFilter,
    #[error("{name} cannot be named here: who hears a message is said of @client and @request")]
    OnlyClients { name: String },
    #[error("{name} is hidden, and filters cannot use hidden fields")]
    HiddenField { name: String },
    #[error("a function cannot stand to the right of ~")]
    FunctionAsPattern,
    #[error("no more than {0} lists and relations can be looked at one by one")]
    TooManyEach(usize),
}

impl Problem {
    /// What to do about it, where that is not plain.
    fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Character('\r') => "Lines end in LF alone; remove the carriage return.",
            Self::Character('`') => "Texts stand in '…' or \"…\".",
            Self::Character('/') => "A comment begins with //.",
            Self::Number(_) => "Numbers look like 5, -5 or 1.5.",
            Self::Operator(_) => {
                "Operators are = != > >= < <= ~ !~, each also with ? before it for any of several values."
            }
            Self::Join(_) => "Comparisons are joined by && or ||.",
            Self::Name(_) => "Names end in a letter, a digit or _.",
            Self::Empty => {
                "For a rule that lets everybody pass write '' (empty), for one that locks write null."
            }
            Self::PathEndsAtRecords { .. } => "Go on with the name of a field, as in .id.",
            Self::UnknownCollection { .. } => {
                "Collections are attached tables; attach the table first, or see rowcast collections."
            }
            Self::TooManyEach(_) => "Split the rule, or compute it in a column.",
            Self::OnlyClients { .. } => {
                "Write @client.store.KEY, @client.id, @client.subscriptions or @request.auth.FIELD."
            }
            Self::FunctionAsPattern => "Write it on the left side.",
            Self::TooManyComparisons => "Split the rule, or compute it in a column.",
            _ => return None,
        })
    }
}

/// The candidate that `name` was probably meant to be.
pub(crate) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<String> {
    // Distances of long texts take long.
    const LEN_MAX: usize = 64;
    if name.len() > LEN_MAX {
        return None;
    }
    let distance = |candidate: &str| {
        strsim::damerau_levenshtein(&candidate.to_ascii_lowercase(), &name.to_ascii_lowercase())
    };
    let few = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(candidate), candidate))
        .filter(|&(distance, _)| distance <= few)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate.to_owned())
}
