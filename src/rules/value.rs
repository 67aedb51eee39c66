//! Values as SQLite knows them, and how one becomes another (contract, section 5.5).

use std::borrow::Cow;
use std::fmt::Write;

/// What a side of a comparison is worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'v> {
    Null,
    Integer(i64),
    /// Never NaN, which SQLite takes for NULL.
    Real(f64),
    Text(Cow<'v, str>),
}

impl<'v> Value<'v> {
    pub(super) fn text(text: impl Into<Cow<'v, str>>) -> Self {
        Self::Text(text.into())
    }

    /// A result of arithmetic.
    pub(super) fn real(number: f64) -> Self {
        if number.is_nan() {
            return Self::Null;
        }
        Self::Real(number)
    }

    /// A number as JSON spells it, kept whole where it is whole.
    pub(super) fn json_number(spelling: &str) -> Option<Self> {
        if let Ok(integer) = spelling.parse() {
            return Some(Self::Integer(integer));
        }
        spelling.parse().ok().map(Self::real)
    }

    pub(super) fn bool(flag: bool) -> Self {
        Self::Integer(flag.into())
    }

    /// The same value, borrowed from nothing.
    pub(super) fn into_static(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(integer) => Value::Integer(integer),
            Self::Real(real) => Value::Real(real),
            Self::Text(text) => Value::Text(text.into_owned().into()),
        }
    }

    /// The same value, borrowed from this one.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(integer) => Value::Integer(*integer),
            Self::Real(real) => Value::Real(*real),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value as text; NULL has none.
    pub(super) fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Integer(integer) => Some(integer.to_string().into()),
            Self::Real(real) => Some(real_text(*real).into()),
            Self::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// The value as text in lower case, ASCII only.
    pub(super) fn lower(self) -> Self {
        match self.to_text() {
            None => Self::Null,
            Some(text) => Self::text(text.to_ascii_lowercase()),
        }
    }

    /// What a column of numbers makes of it: text that looks like a number is one.
    pub(super) fn numeric(self) -> Self {
        match &self {
            Self::Text(text) => number_in(text).unwrap_or(self),
            _ => self,
        }
    }

    /// The value as a number, or `None` where it is none.
    pub(super) fn to_f64(&self) -> Option<f64> {
        match self.clone().numeric() {
            #[expect(clippy::cast_precision_loss, reason = "SQLite does the same")]
            Self::Integer(integer) => Some(integer as f64),
            Self::Real(real) => Some(real),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// What a column of numbers stores: `5.0` becomes `5`.
    pub(super) fn stored_number(self) -> Self {
        /// Beyond these a double is no `i64`.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        match self {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within limits")]
            Self::Real(real) if real.fract() == 0.0 && real.abs() < LIMIT => {
                Self::Integer(real as i64)
            }
            other => other,
        }
    }
}

/// The number that a text is, spaces around it aside.
fn number_in(text: &str) -> Option<Value<'static>> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r');
    let number = text.trim_matches(blank);
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    // Rust reads `inf` and `nan`, too.
    let plausible = digits.starts_with(|c: char| c == '.' || c.is_ascii_digit());
    plausible.then(|| Value::json_number(number)).flatten()
}

/// A number with a fraction as SQLite writes it: 15 digits, always with a dot.
pub(super) fn real_text(real: f64) -> String {
    const DIGITS: i32 = 15;
    if real.is_infinite() {
        return if real > 0.0 { "Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{real:.14e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let places = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return with_dot(&format!("{real:.places$}"));
    }
    let mut text = with_dot(mantissa);
    // Writing to a text cannot fail.
    let _ = write!(text, "e{}{:02}", sign(exponent), exponent.unsigned_abs());
    text
}

fn sign(exponent: i32) -> char {
    if exponent < 0 { '-' } else { '+' }
}

/// Without idle zeros, but with one digit after the dot.
fn with_dot(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole == "-0" && fraction.is_empty() {
        "0"
    } else {
        whole
    };
    format!(
        "{whole}.{}",
        if fraction.is_empty() { "0" } else { fraction }
    )
}
