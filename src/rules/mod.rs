//! The rule language: PocketBase's filter expressions, decided in memory.
//!
//! *Owns* the language (contract, section 5): its texts, its errors, its idea of equality.
//! *Takes* a text and the collection it is about; then a row image and a request.
//! *Gives* a [`Predicate`], or a [`RuleError`] that shows the place; then yes, no, or [`Undecidable`].
//! *Never* asks a database, and never says yes where it is in doubt.

mod advice;
mod ast;
mod auth_values;
mod budget;
mod client;
mod compare;
mod compile;
mod context;
mod error;
mod evaluate;
mod excerpt;
mod functions;
mod lexer;
mod like;
mod likeness;
mod macros;
mod narrow;
mod outline;
mod parser;
mod path;
mod predicate;
mod program;
mod reach;
mod read;
mod resolve;
mod sides;
mod sieve;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod wants;
mod ways;

pub use advice::{Advice, advise};
pub use client::{ClientPredicate, ClientRow};
pub use context::{AuthValues, RelatedGates, RequestContext};
pub use error::RuleError;
pub(crate) use error::nearest;
pub use outline::{Outline, OutlineKind};
pub use predicate::{Predicate, Row, RuleUse, Scope, Undecidable};
pub use program::Needs;
pub use sieve::{Demand, KeySpace, RowSide, Sieve};

#[cfg(any(test, fuzzing))]
pub(crate) use predicate::printed;
