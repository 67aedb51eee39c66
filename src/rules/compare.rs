//! Equality and order as PocketBase has them on SQLite (contract, section 5.5).

use std::borrow::Cow;
use std::cmp::Ordering;

use super::ast::{Operator, Sign};
use super::budget::{Budget, Exhausted};
use super::like::Pattern;
use super::value::Value;

/// One side of a comparison, resolved.
#[derive(Debug, Clone)]
pub(super) struct Side<'v> {
    pub(super) value: Value<'v>,
    pub(super) origin: Origin,
    pub(super) affinity: Affinity,
}

/// Where a value comes from, which decides what empty means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Literals, macros, values of the request: known before a row is looked at.
    Bound,
    /// A JSON field, a path into one, a distance.
    Json,
    /// Any other field.
    Column,
}

/// What a column makes of the value it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    None,
    Text,
    Numeric,
}

/// How a side counts in an equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Empty,
    Known,
    Json,
    Column,
}

impl<'v> Side<'v> {
    /// A value that does not come from a row.
    pub(super) fn bound(value: Value<'v>) -> Self {
        Self {
            value,
            origin: Origin::Bound,
            affinity: Affinity::None,
        }
    }

    fn class(&self) -> Class {
        match self.origin {
            Origin::Json => Class::Json,
            Origin::Column => Class::Column,
            Origin::Bound if self.is_blank() => Class::Empty,
            Origin::Bound => Class::Known,
        }
    }

    /// NULL or `''`.
    fn is_blank(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            Value::Integer(_) | Value::Real(_) => false,
        }
    }
}

/// Compares two sides; `None` where SQL would say NULL.
pub(super) fn compare(
    left: &Side<'_>,
    operator: Operator,
    right: &Side<'_>,
    budget: &Budget,
) -> Result<Option<bool>, Exhausted> {
    Ok(match operator.sign {
        Sign::Equal => equal(left, right),
        Sign::NotEqual => Some(unequal(left, right)),
        Sign::Greater => order(left, right).map(Ordering::is_gt),
        Sign::GreaterOrEqual => order(left, right).map(Ordering::is_ge),
        Sign::Less => order(left, right).map(Ordering::is_lt),
        Sign::LessOrEqual => order(left, right).map(Ordering::is_le),
        Sign::Like => like(left, right, budget)?,
        Sign::NotLike => like(left, right, budget)?.map(|like| !like),
    })
}

pub(super) fn equal(left: &Side<'_>, right: &Side<'_>) -> Option<bool> {
    match (left.class(), right.class()) {
        (Class::Json, _) | (_, Class::Json) => Some(is(left, right)),
        (Class::Empty, Class::Empty) => Some(true),
        (Class::Known, _) | (_, Class::Known) => {
            order(&unnull(left), &unnull(right)).map(Ordering::is_eq)
        }
        (Class::Empty, Class::Column) => Some(right.is_blank()),
        (Class::Column, Class::Empty) => Some(left.is_blank()),
        (Class::Column, Class::Column) => Some(is_folded(left, right)),
    }
}

fn unequal(left: &Side<'_>, right: &Side<'_>) -> bool {
    match (left.class(), right.class()) {
        (Class::Json, _) | (_, Class::Json) => !is(left, right),
        (Class::Empty, Class::Empty) => false,
        (Class::Known, _) | (_, Class::Known) => !is(&unnull(left), &unnull(right)),
        (Class::Empty, Class::Column) => !right.is_blank(),
        (Class::Column, Class::Empty) => !left.is_blank(),
        (Class::Column, Class::Column) => !is_folded(left, right),
    }
}

/// An empty side that is no column stands as `''`.
fn unnull<'v>(side: &Side<'v>) -> Side<'v> {
    match side.class() {
        Class::Empty => Side::bound(Value::text("")),
        Class::Known | Class::Json | Class::Column => side.clone(),
    }
}

/// `IS`: equal, and NULL equals NULL.
fn is(left: &Side<'_>, right: &Side<'_>) -> bool {
    match (left.value.is_null(), right.value.is_null()) {
        (true, true) => true,
        (false, false) => order(left, right).is_some_and(Ordering::is_eq),
        _ => false,
    }
}

/// Equality with NULL as `''`, which is an expression and so forgets what columns they were.
fn is_folded(left: &Side<'_>, right: &Side<'_>) -> bool {
    order_values(folded(&left.value), folded(&right.value)).is_some_and(Ordering::is_eq)
}

fn folded<'s, 'v>(value: &'s Value<'v>) -> &'s Value<'v> {
    const BLANK: &Value<'_> = &Value::Text(Cow::Borrowed(""));
    if value.is_null() { BLANK } else { value }
}

/// The order of two sides after each column had its say; `None` if one is NULL.
fn order(left: &Side<'_>, right: &Side<'_>) -> Option<Ordering> {
    let affinity = match (left.affinity, right.affinity) {
        (Affinity::Numeric, _) | (_, Affinity::Numeric) => Affinity::Numeric,
        // Two columns of text are what they are.
        (Affinity::Text, _) | (_, Affinity::Text) => Affinity::Text,
        (Affinity::None, Affinity::None) => Affinity::None,
    };
    match affinity {
        Affinity::None => order_values(&left.value, &right.value),
        Affinity::Text | Affinity::Numeric => {
            order_values(&applied(affinity, left), &applied(affinity, right))
        }
    }
}

/// What a column makes of a value.
fn applied<'s>(affinity: Affinity, side: &'s Side<'_>) -> Value<'s> {
    let value = side.value.borrowed();
    match (affinity, &value) {
        (Affinity::Numeric, _) => value.numeric(),
        (Affinity::Text, Value::Integer(_) | Value::Real(_)) => {
            let text = side.value.to_text();
            text.map_or(Value::Null, Value::Text)
        }
        _ => value,
    }
}

/// Numbers before texts, texts by their bytes; NULL has no place.
fn order_values(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    use Value::{Integer, Null, Real, Text};
    match (left, right) {
        (Null, _) | (_, Null) => None,
        (Integer(left), Integer(right)) => Some(left.cmp(right)),
        (Real(left), Real(right)) => left.partial_cmp(right),
        (Integer(left), Real(right)) => Some(order_mixed(*left, *right)),
        (Real(left), Integer(right)) => Some(order_mixed(*right, *left).reverse()),
        (Text(left), Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Integer(_) | Real(_), Text(_)) => Some(Ordering::Less),
        (Text(_), Integer(_) | Real(_)) => Some(Ordering::Greater),
    }
}

/// Exact, also where a double cannot hold the integer.
fn order_mixed(integer: i64, real: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if real >= LIMIT {
        return Ordering::Less;
    }
    if real < -LIMIT {
        return Ordering::Greater;
    }
    #[expect(clippy::cast_possible_truncation, reason = "within limits")]
    let whole = real.trunc() as i64;
    let by_fraction = || {
        0.0_f64
            .partial_cmp(&real.fract())
            .unwrap_or(Ordering::Equal)
    };
    integer.cmp(&whole).then_with(by_fraction)
}

/// `~`: the right side is a pattern, or what must be contained.
fn like(left: &Side<'_>, right: &Side<'_>, budget: &Budget) -> Result<Option<bool>, Exhausted> {
    let (Some(text), Some(sought)) = (left.value.to_text(), right.value.to_text()) else {
        return Ok(None);
    };
    let pattern = match right.origin {
        Origin::Bound => Pattern::of_value(&go_text(&right.value).unwrap_or(sought)),
        Origin::Json | Origin::Column => Pattern::of_column(&sought),
    };
    pattern.matches(&text, budget).map(Some)
}

/// A bound number is written by Go before it becomes a pattern: without an idle fraction.
fn go_text<'v>(value: &Value<'v>) -> Option<Cow<'v, str>> {
    match value {
        Value::Real(real) => Some(real.to_string().into()),
        Value::Null | Value::Integer(_) | Value::Text(_) => None,
    }
}
