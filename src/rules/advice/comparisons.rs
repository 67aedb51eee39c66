//! Comparisons that never or always hold, whoever asks, and modifiers that do nothing.

use super::Finding;
use super::operands::{Meaning, Meanings, span_of};
use super::pair::Pair;
use crate::rules::ast::{Comparison, Expression, Operand, Span};
use crate::rules::budget::Budget;
use crate::rules::compare::{Side, compare};
use crate::rules::path::Modifier;
use crate::rules::program::AuthMember;
use crate::rules::value::Value;

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

pub(super) fn note(span: Span, what: impl Into<String>, instead: impl Into<String>) -> Finding {
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
