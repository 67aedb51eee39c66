//! A rule or a filter, ready to decide.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::Span;
use super::budget::Exhausted;
use super::compile::Compiler;
use super::context::RequestContext;
use super::error::{Fault, Problem, RuleError};
use super::evaluate::Evaluation;
use super::parser;
use super::program::{Join, Needs, Node};
use super::resolve::Names;
use crate::catalog::{Catalog, Collection, CollectionKey};
use crate::event::{Action, ChangeEvent, RecordId, RowImage};
use crate::related::ROWS_MAX;

/// What a text may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    /// The collection it is about.
    pub collection: &'s Collection,
    /// All collections, for those it reaches.
    pub catalog: &'s Catalog,
    /// The collection of whoever asks; `None` for guests, superusers and holders of foreign tokens.
    pub auth: Option<&'s Collection>,
}

/// Who wrote a text, which decides what it may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleUse {
    /// The owner of the collection: everything.
    Rule,
    /// A subscriber: neither the request nor other collections nor hidden fields.
    Filter,
    /// A superuser as a subscriber: no hidden fields.
    SuperuserFilter,
    /// Who sends messages: streams and their requests, and no records.
    Client,
}

/// The record that is decided about.
#[derive(Debug, Clone, Copy)]
pub struct Row<'r> {
    /// The collection as it was understood when the image was taken.
    pub collection: &'r Collection,
    /// The record's id.
    pub id: &'r RecordId,
    /// Its values.
    pub image: &'r RowImage,
    /// The transaction that deleted it: what it is related to is looked at as it was before.
    pub deleted_by: Option<u64>,
}

impl<'r> Row<'r> {
    /// The row that a change shows: after it, or before a delete.
    pub fn shown(event: &'r ChangeEvent) -> Self {
        Self {
            collection: &event.collection,
            id: &event.id,
            image: event.shown(),
            deleted_by: event
                .transaction
                .filter(|_| event.action == Action::Delete)
                .map(|transaction| transaction.xid),
        }
    }

    /// A row as it is, deleted by nobody.
    pub fn now(collection: &'r Collection, id: &'r RecordId, image: &'r RowImage) -> Self {
        Self {
            collection,
            id,
            image,
            deleted_by: None,
        }
    }

    /// The row before a change, as far as there was one; what it is related to is looked at as it is.
    pub fn before(event: &'r ChangeEvent) -> Option<Self> {
        Some(Self {
            collection: &event.collection,
            id: &event.id,
            image: event.old.as_ref()?,
            deleted_by: None,
        })
    }
}

/// Why a rule that was a good one could not decide about a row. It denies, then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecidable {
    /// The row belongs to another collection.
    #[error("the rule was made for another collection")]
    OtherCollection,
    /// The row has no such column (any more), or one of another type.
    #[error("the row has no field {name} such as the rule was made for")]
    FieldMissing {
        /// The field.
        name: String,
    },
    /// The value makes no sense.
    #[error("the value of {name} cannot be read")]
    Unreadable {
        /// The field.
        name: String,
    },
    /// A member of the principal's record has no parts.
    #[error(
        "@request.auth.{name} has no parts: it is neither JSON nor a relation to an attached table"
    )]
    AuthPath {
        /// The member of `@request.auth`.
        name: String,
    },
    /// Rows of another collection are needed that nobody has fetched yet. They are on the shelf's list, or
    /// held back.
    #[error("rows of other collections have not been fetched yet")]
    NotLoaded,
    /// Rows of another collection are needed and cannot be had.
    #[error("rows of {collection} could not be fetched")]
    NotFetched {
        /// The collection.
        collection: String,
    },
    /// More rows of another collection are needed than one decision may look at.
    #[error(
        "more than {ROWS_MAX} rows of {collection} would have to be looked at; name what they must equal with ?= \
         beside it"
    )]
    TooManyRows {
        /// The collection.
        collection: String,
    },
    /// A filter reaches rows, and nobody can say whether its author may list them.
    #[error("nobody can say which rows the filter may look at")]
    NoGates,
    /// Too much work.
    #[error("the decision takes too long")]
    TooMuchWork,
}

impl Undecidable {
    /// The word used in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OtherCollection => "other_collection",
            Self::FieldMissing { .. } => "field_missing",
            Self::Unreadable { .. } => "unreadable",
            Self::AuthPath { .. } => "auth_path",
            Self::NotLoaded => "not_loaded",
            Self::NotFetched { .. } => "not_fetched",
            Self::TooManyRows { .. } => "too_many_rows",
            Self::NoGates => "no_gates",
            Self::TooMuchWork => "too_much_work",
        }
    }
}

impl From<Exhausted> for Undecidable {
    fn from(Exhausted: Exhausted) -> Self {
        Self::TooMuchWork
    }
}

/// A text of the rule language, compiled for one collection.
#[derive(Debug)]
pub struct Predicate {
    text: Arc<str>,
    collection: CollectionKey,
    pub(super) usage: RuleUse,
    pub(super) node: Node,
    pub(super) joins: Vec<Join>,
    needs: Needs,
}

impl Predicate {
    /// Compiles a text.
    ///
    /// # Errors
    /// If the text is not of the language, names what does not exist or may not be named, or needs a
    /// query to be decided.
    pub fn compile(text: &str, scope: Scope<'_>, usage: RuleUse) -> Result<Self, RuleError> {
        let explain = |fault| RuleError::new(text, fault);
        let expression = parser::parse(text).map_err(explain)?;
        if usage == RuleUse::Filter {
            refuse_request(text).map_err(explain)?;
        }
        let mut compiler = Compiler::new(Names {
            scope,
            usage,
            auth_paths: Cell::default(),
        });
        let node = compiler.program(&expression).map_err(explain)?;
        Ok(Self {
            text: text.into(),
            collection: scope.collection.key,
            usage,
            node,
            joins: compiler.joins,
            needs: compiler.needs,
        })
    }

    /// Compiles the filter among a subscription's options, if there is one (contract, section 4.6).
    ///
    /// # Errors
    /// As for [`compile`](Self::compile), and where `sort` contains what filters may not.
    pub fn of_options(
        query: &BTreeMap<String, String>,
        scope: Scope<'_>,
        superuser: bool,
    ) -> Result<Option<Self>, RuleError> {
        let Some(filter) = query.get("filter").filter(|filter| !filter.is_empty()) else {
            return Ok(None);
        };
        let usage = if superuser {
            RuleUse::SuperuserFilter
        } else {
            let sort = query.get("sort").map_or("", String::as_str);
            refuse_request(sort).map_err(|fault| RuleError::new(sort, fault))?;
            RuleUse::Filter
        };
        Self::compile(filter, scope, usage).map(Some)
    }

    /// Decides about a row.
    ///
    /// # Errors
    /// If it cannot; then the answer to whoever asks is no.
    pub fn decide(&self, row: Row<'_>, request: &RequestContext<'_>) -> Result<bool, Undecidable> {
        if row.collection.key != self.collection {
            return Err(Undecidable::OtherCollection);
        }
        let filter = self.usage != RuleUse::Rule;
        if filter && !self.reaches_open_collections(request)? {
            return Ok(false);
        }
        let mark = request.shelf.mark();
        let outcome = Evaluation::new(row, request, filter, &self.joins).holds(&self.node);
        if outcome.is_ok() {
            // Some part missed rows, and another decided.
            request.shelf.forget_since(mark);
        }
        outcome
    }

    /// Whether a filter keeps to collections that its author may list at all (contract, section 4.6).
    fn reaches_open_collections(&self, request: &RequestContext<'_>) -> Result<bool, Undecidable> {
        for join in &self.joins {
            if let Join::Rows(rows) = join {
                let gates = request.gates.ok_or(Undecidable::NoGates)?;
                if !gates.may_ever_list(&rows.collection) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What its outcome depends on.
    pub fn needs(&self) -> Needs {
        self.needs
    }
}

/// The text of an expression as it is printed, if it is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn printed(text: &str) -> Result<String, RuleError> {
    let expression = parser::parse(text).map_err(|fault| RuleError::new(text, fault))?;
    Ok(expression.to_string())
}

/// Filters cannot mention the request or other collections, not even inside a quoted text.
fn refuse_request(text: &str) -> Result<(), Fault> {
    for forbidden in ["@request.", "@collection."] {
        if let Some(at) = text.find(forbidden) {
            let span = Span::new(at, at + forbidden.len());
            return Err(Fault::new(span, Problem::RequestInFilter));
        }
    }
    Ok(())
}
