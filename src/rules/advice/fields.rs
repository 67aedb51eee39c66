//! What fields of each kind make of what they are compared with.

use super::Finding;
use super::operands::Meaning;
use super::pair::Pair;
use crate::rules::ast::Sign;
use crate::rules::value::{Value, real_text};

impl Pair<'_> {
    /// A whole list against one value.
    pub(super) fn list(&self) -> Option<Finding> {
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

    pub(super) fn text_with_number(&self) -> Option<Finding> {
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

    pub(super) fn text_with_bool(&self) -> Option<Finding> {
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

    pub(super) fn date(&self) -> Option<Finding> {
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

    pub(super) fn number(&self) -> Option<Finding> {
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

    pub(super) fn boolean(&self) -> Option<Finding> {
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

    pub(super) fn inside_json(&self) -> Option<Finding> {
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
    pub(super) fn json_with_number(&self) -> Option<Finding> {
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
