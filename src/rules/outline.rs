//! A rule taken apart, so that somebody can be shown which part of it decided.

use super::ast::{Expression, Operand, OperandKind};
use super::error::RuleError;
use super::parser;

/// A part of a rule. Its text is a rule by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The part as a text; a comparison as it was written.
    pub text: String,
    /// What it is made of.
    pub kind: OutlineKind,
}

/// What a part of a rule is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutlineKind {
    /// All of these must hold.
    All(Vec<Outline>),
    /// One of these must hold.
    Any(Vec<Outline>),
    /// A single comparison.
    Comparison {
        /// The names in it that stand for values, in the order of the text, each once.
        names: Vec<String>,
    },
}

impl Outline {
    /// Takes a text apart.
    ///
    /// # Errors
    /// If it is not of the language.
    pub fn of(text: &str) -> Result<Self, RuleError> {
        let expression = parser::parse(text).map_err(|fault| RuleError::new(text, fault))?;
        Ok(Self::new(text, &expression))
    }

    fn new(text: &str, expression: &Expression) -> Self {
        let parts = |parts: &[Expression]| parts.iter().map(|part| Self::new(text, part)).collect();
        let (written, kind) = match expression {
            Expression::And(all) => (expression.to_string(), OutlineKind::All(parts(all))),
            Expression::Or(any) => (expression.to_string(), OutlineKind::Any(parts(any))),
            Expression::Comparison(comparison) => {
                let mut names = Vec::new();
                add_names(&comparison.left, &mut names);
                add_names(&comparison.right, &mut names);
                let span = comparison.left.span.to(comparison.right.span);
                let written = text.get(span.start..span.end).unwrap_or_default();
                (written.to_owned(), OutlineKind::Comparison { names })
            }
        };
        Self {
            text: written,
            kind,
        }
    }
}

fn add_names(operand: &Operand, names: &mut Vec<String>) {
    match &operand.kind {
        OperandKind::Name(name) if !names.contains(name) => names.push(name.clone()),
        OperandKind::Call(call) => {
            for argument in &call.arguments {
                add_names(argument, names);
            }
        }
        OperandKind::Name(_) | OperandKind::Number(_) | OperandKind::Text(_) => {}
    }
}
