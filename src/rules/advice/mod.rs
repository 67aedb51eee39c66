//! Advice about rules that compile but are probably not what was meant (contract, section 5.5).
//!
//! Looks at the text and the collection only, and says nothing where it is in doubt: advice that is
//! often wrong is not read.

mod comparisons;
mod fields;
mod guests;
mod mixed;
mod operands;
mod pair;

use std::fmt;

use super::ast::Span;
use super::excerpt::Excerpt;
use super::parser;
use crate::catalog::Collection;
use operands::Meanings;

/// Advice given about one text; more of it would not be read.
const ADVICE_MAX: usize = 20;

/// A warning about a rule that compiles. Prints over several lines, like a
/// [`RuleError`](super::RuleError): what it comes to, the text with the place marked, and what to
/// write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    what: String,
    instead: String,
    about_guests: bool,
    excerpt: Excerpt,
}

impl Advice {
    /// The first line alone: what it comes to.
    pub fn summary(&self) -> &str {
        &self.what
    }

    /// What to write instead, as a sentence.
    pub fn instead(&self) -> &str {
        &self.instead
    }

    /// The line it is about, from 1.
    pub fn line(&self) -> usize {
        self.excerpt.line
    }

    /// The character of that line it begins with, from 1.
    pub fn column(&self) -> usize {
        self.excerpt.column
    }

    /// Whether it only matters where guests are asked, and only where the rule allows.
    pub fn is_about_guests(&self) -> bool {
        self.about_guests
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n{}", self.what, self.excerpt, self.instead)
    }
}

/// Something found, before the text is at hand.
#[derive(Debug)]
struct Finding {
    span: Span,
    what: String,
    instead: String,
    about_guests: bool,
}

/// What is probably not meant in a rule of this collection, in the order of the text. Nothing for
/// a text that cannot be read: [`Predicate::compile`](super::Predicate::compile) says what is wrong
/// with that.
pub fn advise(text: &str, collection: &Collection) -> Vec<Advice> {
    let Ok(expression) = parser::parse(text) else {
        return Vec::new();
    };
    let meanings = Meanings { text, collection };
    let mut found = Vec::new();
    mixed::check(text, &expression, &mut found);
    guests::check(&expression, &meanings, true, &mut found);
    comparisons::check(&expression, &meanings, &mut found);
    found.sort_by_key(|finding| finding.span.start);
    found.truncate(ADVICE_MAX);
    let advice = found.into_iter().map(|finding| Advice {
        excerpt: Excerpt::new(text, finding.span),
        what: finding.what,
        instead: finding.instead,
        about_guests: finding.about_guests,
    });
    advice.collect()
}
