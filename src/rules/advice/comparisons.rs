//! Comparisons that never or always hold, whoever asks, and modifiers that do nothing.

use super::Finding;
use super::operands::{Meaning, Meanings, span_of};
use crate::catalog::{Field, FieldKind};
use crate::rules::ast::{Comparison, Expression, Operand, Sign, Span};
use crate::rules::budget::Budget;
use crate::rules::compare::{Side, compare};
use crate::rules::path::Modifier;
use crate::rules::program::AuthMember;
use crate::rules::value::{Value, real_text};

pub(super) fn check(expression: &Expression, meanings: &Meanings<'_>, found: &mut Vec<Finding>) {
    match expression {
        Expression::And(parts) | Expression::Or(parts) => {
            for part in parts {
                check(part, meanings, found);
            }
        }
        Expression::Comparison(comparison) => {
            let Comparison { left, right, .. } = comparison;
            let idle = [left, right].map(|side| idle_modifier(side, meanings));
            let is_idle = idle.iter().any(Option::is_some);
            found.extend(idle.into_iter().flatten());
            // What it compares is not what was meant, then; one thing at a time.
            if !is_idle {
                found.extend(never_or_always(comparison, meanings));
            }
        }
    }
}

fn note(span: Span, what: impl Into<String>, instead: impl Into<String>) -> Finding {
    Finding {
        span,
        what: what.into(),
        instead: instead.into(),
        about_guests: false,
    }
}

/// A modifier that is read and ignored, as PocketBase does.
fn idle_modifier(operand: &Operand, meanings: &Meanings<'_>) -> Option<Finding> {
    let written = meanings.written(operand.span);
    let modifier = match meanings.of(operand) {
        Meaning::Id { modifier } => modifier.filter(|modifier| *modifier != Modifier::Lower),
        Meaning::Field { field, modifier } => modifier.filter(|modifier| match modifier {
            Modifier::Lower => false,
            Modifier::Length | Modifier::Each => !field.is_list() && field.relation.is_none(),
            Modifier::IsSet | Modifier::Changed => true,
        }),
        Meaning::Auth {
            member, modifier, ..
        } => modifier.filter(|modifier| match modifier {
            Modifier::Lower => false,
            Modifier::Length | Modifier::Each => AuthMember::parse(member).is_some(),
            Modifier::IsSet | Modifier::Changed => true,
        }),
        Meaning::JsonPath if written.contains(':') => {
            let key = written.replace(':', "");
            let what = format!("inside JSON there are no modifiers: this is the same as {key}");
            return Some(note(operand.span, what, format!("Write: {key}")));
        }
        _ => None,
    }?;
    let plain = written.split(':').next().unwrap_or(written);
    let what = format!(
        "{written} has no :{}, so this is the same as {plain}",
        modifier.as_str()
    );
    Some(note(operand.span, what, format!("Write: {plain}")))
}

fn never_or_always(comparison: &Comparison, meanings: &Meanings<'_>) -> Option<Finding> {
    let [left, right] = [&comparison.left, &comparison.right];
    let sides = [left, right].map(|side| meanings.of(side));
    if let [Meaning::Literal(left), Meaning::Literal(right)] = &sides {
        return constant(comparison, left, right);
    }
    let [first, second] = sides;
    let forth = Pair {
        comparison,
        meanings,
        this: (left, first.clone()),
        that: (right, second.clone()),
        forwards: true,
    };
    let back = Pair {
        this: (right, second),
        that: (left, first),
        forwards: false,
        ..forth.clone()
    };
    forth.finding().or_else(|| back.finding())
}

/// Two literals, of which one need not ask.
fn constant(comparison: &Comparison, left: &Value<'_>, right: &Value<'_>) -> Option<Finding> {
    let sides = [left, right].map(|value| Side::bound(value.borrowed()));
    let outcome = compare(
        &sides[0],
        comparison.operator,
        &sides[1],
        &Budget::of_filter(),
    );
    let (what, instead) = match outcome.ok()? {
        Some(true) => (
            "this always holds",
            "Leave it out. A rule for everybody is '' (empty).",
        ),
        Some(false) | None => (
            "this never holds",
            "Leave it out. A rule for superusers alone is null (rowcast rule COLLECTION KIND --lock).",
        ),
    };
    Some(note(span_of(comparison), what, instead))
}

/// A comparison, seen from one of its sides.
#[derive(Clone)]
struct Pair<'p> {
    comparison: &'p Comparison,
    meanings: &'p Meanings<'p>,
    this: (&'p Operand, Meaning<'p>),
    that: (&'p Operand, Meaning<'p>),
    /// Whether `this` stands on the left.
    forwards: bool,
}

impl Pair<'_> {
    fn finding(&self) -> Option<Finding> {
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

    fn sign(&self) -> Sign {
        self.comparison.operator.sign
    }

    fn is_equality(&self) -> bool {
        matches!(self.sign(), Sign::Equal | Sign::NotEqual)
    }

    fn this(&self) -> &str {
        self.meanings.written(self.this.0.span)
    }

    fn that(&self) -> &str {
        self.meanings.written(self.that.0.span)
    }

    /// The same comparison with something else on the other side.
    fn with_that(&self, that: &str) -> String {
        let (this, operator) = (self.this(), self.comparison.operator);
        match self.forwards {
            true => format!("{this} {operator} {that}"),
            false => format!("{that} {operator} {this}"),
        }
    }

    /// Says what such a comparison comes to, and why.
    fn unlike(&self, why: &str, instead: &str) -> Finding {
        let outcome = match self.sign() {
            Sign::Equal => "this never holds: ",
            Sign::NotEqual => "this always holds: ",
            _ => "this is not the order of numbers: ",
        };
        self.note(format!("{outcome}{why}"), format!("Write: {instead}"))
    }

    /// Advises to put a number in quotes, which makes no order of numbers of that of texts.
    fn quoted(&self, why: &str) -> Finding {
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

    fn note(&self, what: String, instead: String) -> Finding {
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

    /// A whole list against one value.
    fn list(&self) -> Option<Finding> {
        let that = &self.that.1;
        let is_list = that.as_text().is_some_and(|text| text.starts_with('['));
        if !self.is_equality() || !that.is_single() || is_list {
            return None;
        }
        let this = self.this();
        let instead = match (that.is_blank(), self.sign()) {
            (true, Sign::Equal) => format!("{this}:length = 0"),
            (true, _) => format!("{this}:length > 0"),
            (false, Sign::Equal) => format!("{this}:each ?= {}", self.that()),
            (false, _) => format!("{this}:each != {}", self.that()),
        };
        let why = format!("{this} is a list, and compared as its JSON text");
        Some(self.unlike(&why, &instead))
    }

    fn text_with_number(&self) -> Option<Finding> {
        let Meaning::Literal(Value::Real(number)) = self.that.1 else {
            return None;
        };
        let text = real_text(number);
        let why = format!(
            "{} is text, and the number is compared as the text {text:?}",
            self.this()
        );
        Some(self.quoted(&why))
    }

    fn text_with_bool(&self) -> Option<Finding> {
        let Meaning::Literal(Value::Integer(flag)) = self.that.1 else {
            return None;
        };
        let what = format!(
            "{} is text, and {} is compared as the text \"{flag}\"",
            self.this(),
            self.that()
        );
        let word = if flag == 1 { "true" } else { "false" };
        let instead = self.with_that(&format!("\"{word}\""));
        Some(self.note(what, format!("Write: {instead}")))
    }

    fn date(&self) -> Option<Finding> {
        if self.that.1.is_number() && self.is_equality() {
            let why = format!("{} is a date, which is a text here", self.this());
            return Some(self.unlike(&why, &self.date_contains(self.that())));
        }
        let text = self.that.1.as_text()?;
        let day = text
            .split_at_checked(DAY.len())
            .filter(|(day, _)| is_like(day, DAY));
        if day.is_some_and(|(_, time)| time.starts_with(['T', 't'])) {
            return Some(self.iso_date(text));
        }
        if !self.is_equality() || is_like(text, MOMENT) {
            return None;
        }
        let why = "dates are texts like \"2025-12-31 23:59:59.999Z\", and this has another form";
        Some(self.unlike(why, &self.date_contains(text)))
    }

    /// The comparison with a part of a date.
    fn date_contains(&self, part: &str) -> String {
        let operator = match self.sign() {
            Sign::Equal => Sign::Like,
            _ => Sign::NotLike,
        };
        format!("{} {} \"{part}\"", self.this(), operator.as_str())
    }

    fn iso_date(&self, text: &str) -> Finding {
        let mut spaced = text.replacen(['T', 't'], " ", 1);
        let len = spaced.trim_end_matches(['Z', 'z']).len();
        spaced.truncate(len);
        // Seconds alone are less than the same with thousandths, as `Z` comes behind the dot.
        let full = match spaced.len() {
            SECONDS => format!("{spaced}.000Z"),
            MILLISECONDS => format!("{spaced}Z"),
            _ => spaced,
        };
        let what = "dates are texts with a space between day and time; with a T they are never equal and stand \
                    in another order";
        let instead = self.with_that(&format!("\"{full}\""));
        self.note(what.to_owned(), format!("Write, in UTC: {instead}"))
    }

    fn number(&self) -> Option<Finding> {
        let that = &self.that.1;
        if that.is_blank() && self.is_equality() {
            let why = format!(
                "{} is a number, and never empty: NULL counts as 0",
                self.this()
            );
            return Some(self.unlike(&why, &self.with_that("0")));
        }
        let text = that.as_text()?;
        if !is_no_number(text) {
            return None;
        }
        let what = format!(
            "{} is a number, {} is none, and every number is less than any text",
            self.this(),
            self.that()
        );
        Some(self.note(what, "Write a number.".to_owned()))
    }

    fn boolean(&self) -> Option<Finding> {
        let that = &self.that.1;
        if !self.is_equality() {
            return None;
        }
        let blank = that.is_blank();
        let word = match that.as_text() {
            Some(text) if text.eq_ignore_ascii_case("true") => "true",
            Some(text) if is_no_number(text) => "false",
            None if blank => "false",
            _ => return None,
        };
        let why = match blank {
            true => format!(
                "{} is true or false, and never empty: NULL counts as false",
                self.this()
            ),
            false => format!("{} is true or false, not a text", self.this()),
        };
        Some(self.unlike(&why, &self.with_that(word)))
    }

    fn inside_json(&self) -> Option<Finding> {
        if self.sign() == Sign::NotEqual && self.that.1.is_blank() && self.that() != "null" {
            let what = format!(
                "where {} is missing this holds too: missing is null, not empty",
                self.this()
            );
            return Some(self.note(what, format!("Write: {}", self.with_that("null"))));
        }
        self.json_with_number()
    }

    /// A number in JSON never equals a text that looks like it.
    fn json_with_number(&self) -> Option<Finding> {
        let text = self.that.1.as_text()?;
        if is_no_number(text) {
            return None;
        }
        let what = format!(
            "where {} is a number in the JSON it is not compared as one, as {} is a text",
            self.this(),
            self.that()
        );
        Some(self.note(what, format!("Write: {}", self.with_that(text.trim()))))
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

/// What a day looks like; every digit stands for any.
const DAY: &str = "0000-00-00";
/// What every value of a date field looks like.
const MOMENT: &str = "0000-00-00 00:00:00.000Z";
const SECONDS: usize = "0000-00-00 00:00:00".len();
const MILLISECONDS: usize = "0000-00-00 00:00:00.000".len();

fn is_like(text: &str, form: &str) -> bool {
    let fits = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

/// Whether a column of numbers cannot take this text for a number.
fn is_no_number(text: &str) -> bool {
    matches!(Value::text(text).numeric(), Value::Text(_))
}
