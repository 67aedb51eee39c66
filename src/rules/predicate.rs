//! A rule or a filter, ready to decide.

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
            deleted_by: event.transaction.filter(|_| event.action == Action::Delete),
        }
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
    /// Following a relation of the principal's record needs a query.
    #[error("@request.auth.{name} holds no parts, and following relations is not supported yet")]
    AuthRelation {
        /// The member of `@request.auth`.
        name: String,
    },
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
            Self::AuthRelation { .. } => "needs_query",
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
    usage: RuleUse,
    node: Node,
    joins: Vec<Join>,
    needs: Needs,
}

impl Predicate {
    /// Compiles a text.
    ///
    /// # Errors
    /// If the text is not of the language, names what does not exist or may not be named, or needs a
    /// query to be decided.
    pub fn compile(text: &str, scope: Scope<'_>, usage: RuleUse) -> Result<Self, RuleError> {
        let Scope { collection, .. } = scope;
        let explain = |fault| RuleError::new(text, fault);
        let expression = parser::parse(text).map_err(explain)?;
        if usage == RuleUse::Filter {
            refuse_request(text).map_err(explain)?;
        }
        let mut compiler = Compiler::new(Names { collection, usage });
        let node = compiler.node(&expression).map_err(explain)?;
        Ok(Self {
            text: text.into(),
            collection: collection.key,
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
        Evaluation::new(row, request, filter, &self.joins).holds(&self.node)
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
