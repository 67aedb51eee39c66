//! One comparison, seen from one of its sides: what that side makes of the other.

use super::Finding;
use super::comparisons::note;
use super::operands::{Meaning, Meanings, span_of};
use crate::catalog::{Field, FieldKind};
use crate::rules::ast::{Comparison, Operand, Sign};
use crate::rules::path::Modifier;
use crate::rules::program::AuthMember;

/// A comparison, seen from one of its sides.
#[derive(Clone)]
pub(super) struct Pair<'p> {
    pub(super) comparison: &'p Comparison,
    pub(super) meanings: &'p Meanings<'p>,
    pub(super) this: (&'p Operand, Meaning<'p>),
    pub(super) that: (&'p Operand, Meaning<'p>),
    /// Whether `this` stands on the left.
    pub(super) forwards: bool,
}

impl Pair<'_> {
    pub(super) fn finding(&self) -> Option<Finding> {
        if matches!(self.sign(), Sign::Like | Sign::NotLike) {
            return self.part_of_id();
        }
        match &self.this.1 {
            Meaning::Field {
                modifier: Some(Modifier::Lower),
                ..
            }
            | Meaning::Id {
                modifier: Some(Modifier::Lower),
            }
            | Meaning::Auth {
                modifier: Some(Modifier::Lower),
                ..
            } => self.lower_with_upper(),
            Meaning::Field {
                modifier: Some(_), ..
            } => None,
            Meaning::Field { field, .. } => self.field(field),
            Meaning::Id { .. } => self.text_with_number(),
            Meaning::JsonPath => self.inside_json(),
            Meaning::Auth {
                member,
                has_path: false,
                ..
            } => self.auth(member),
            Meaning::Option { number: false } if self.that.1.is_number() => {
                Some(self.quoted("options are texts, and every number is less than any text"))
            }
            _ => None,
        }
    }

    pub(super) fn sign(&self) -> Sign {
        self.comparison.operator.sign
    }

    pub(super) fn is_equality(&self) -> bool {
        matches!(self.sign(), Sign::Equal | Sign::NotEqual)
    }

    pub(super) fn this(&self) -> &str {
        self.meanings.written(self.this.0.span)
    }

    pub(super) fn that(&self) -> &str {
        self.meanings.written(self.that.0.span)
    }

    /// The same comparison with something else on the other side.
    pub(super) fn with_that(&self, that: &str) -> String {
        let (this, operator) = (self.this(), self.comparison.operator);
        match self.forwards {
            true => format!("{this} {operator} {that}"),
            false => format!("{that} {operator} {this}"),
        }
    }

    /// Says what such a comparison comes to, and why.
    pub(super) fn unlike(&self, why: &str, instead: &str) -> Finding {
        let outcome = match self.sign() {
            Sign::Equal => "this never holds: ",
            Sign::NotEqual => "this always holds: ",
            _ => "this is not the order of numbers: ",
        };
        self.note(format!("{outcome}{why}"), format!("Write: {instead}"))
    }

    /// Advises to put a number in quotes, which makes no order of numbers of that of texts.
    pub(super) fn quoted(&self, why: &str) -> Finding {
        let instead = self.with_that(&format!("\"{}\"", self.that()));
        let finding = self.unlike(why, &instead);
        match self.is_equality() {
            true => finding,
            false => Finding {
                instead: "Only a column of a number type has the order of numbers.".to_owned(),
                ..finding
            },
        }
    }

    pub(super) fn note(&self, what: String, instead: String) -> Finding {
        note(span_of(self.comparison), what, instead)
    }

    fn field(&self, field: &Field) -> Option<Finding> {
        match &field.kind {
            FieldKind::Array(_) => self.list(),
            FieldKind::Text => self.text_with_number().or_else(|| self.text_with_bool()),
            FieldKind::Date => self.date(),
            FieldKind::Number => self.number(),
            FieldKind::Bool => self.boolean(),
            FieldKind::Json => self.json_with_number(),
        }
    }

    fn auth(&self, member: &str) -> Option<Finding> {
        let that = &self.that.1;
        match AuthMember::parse(member)? {
            AuthMember::Verified | AuthMember::EmailVisibility => {
                let text = that.as_text().filter(|_| self.is_equality())?;
                let word = if text.eq_ignore_ascii_case("true") {
                    "true"
                } else {
                    "false"
                };
                let why = format!("{} is true or false, not a text", self.this());
                Some(self.unlike(&why, &self.with_that(word)))
            }
            _ if that.is_number() => {
                let why = format!(
                    "{} is a text, and every number is less than any text",
                    self.this()
                );
                Some(self.quoted(&why))
            }
            _ => None,
        }
    }

    fn lower_with_upper(&self) -> Option<Finding> {
        let text = self.that.1.as_text().filter(|_| self.is_equality())?;
        if !text.contains(|c: char| c.is_ascii_uppercase()) {
            return None;
        }
        let why = format!("{} has no capital letters", self.this());
        let lower = self.that().to_ascii_lowercase();
        Some(self.unlike(&why, &self.with_that(&lower)))
    }

    /// Ids in ids: 1 is found in 12.
    fn part_of_id(&self) -> Option<Finding> {
        if !self.forwards || self.sign() != Sign::Like || !self.that.1.is_auth_id() {
            return None;
        }
        let (this, that) = (self.this(), self.that());
        let any = if self.comparison.operator.any {
            "?"
        } else {
            ""
        };
        let instead = match &self.this.1 {
            Meaning::Field {
                field,
                modifier: None,
            } if field.is_list() => format!("{this}:each ?= {that}"),
            Meaning::Field { .. } | Meaning::Id { .. } | Meaning::Other => {
                format!("{this} {any}= {that}")
            }
            _ => return None,
        };
        let what = format!("~ also finds parts: the id 1 is found where {this} has 12");
        Some(self.note(
            what,
            format!("Write: (@request.auth.id != \"\" && {instead})"),
        ))
    }
}
