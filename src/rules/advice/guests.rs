//! What guests pass: everything in `@request.auth` is empty for them, and empty equals empty.

use super::Finding;
use super::operands::{Meaning, Meanings, span_of};
use crate::catalog::{Field, FieldKind};
use crate::rules::ast::{Comparison, Expression, Sign};
use crate::rules::path::Modifier;

/// What a comparison comes to for a guest.
#[derive(Debug, PartialEq, Eq)]
enum ForGuests {
    Never,
    Always,
    /// Where the other side is empty.
    WhereEmpty,
    /// Where it is not.
    WhereFilled,
    /// It does not ask who they are.
    Unrelated,
}

/// `whole` says that the expression is the whole text.
pub(super) fn check(
    expression: &Expression,
    meanings: &Meanings<'_>,
    whole: bool,
    found: &mut Vec<Finding>,
) {
    // Whatever stands beside a condition that no guest meets is asked of no guest.
    if never_for_guests(expression, meanings) {
        return;
    }
    match expression {
        Expression::And(parts) | Expression::Or(parts) => {
            for part in parts {
                check(part, meanings, false, found);
            }
        }
        Expression::Comparison(comparison) => {
            found.extend(finding(comparison, meanings, whole));
        }
    }
}

fn never_for_guests(expression: &Expression, meanings: &Meanings<'_>) -> bool {
    let never = |part| never_for_guests(part, meanings);
    match expression {
        Expression::And(parts) => parts.iter().any(never),
        Expression::Or(parts) => parts.iter().all(never),
        Expression::Comparison(comparison) => {
            let sides = [&comparison.left, &comparison.right].map(|side| meanings.of(side));
            for_guests(&sides, comparison.operator.sign) == ForGuests::Never
        }
    }
}

fn finding(comparison: &Comparison, meanings: &Meanings<'_>, whole: bool) -> Option<Finding> {
    let operands = [&comparison.left, &comparison.right];
    let sides = operands.map(|side| meanings.of(side));
    let auth = sides.iter().position(Meaning::is_auth)?;
    let member = meanings.written(operands[auth].span);
    let other = meanings.written(operands[1 - auth].span);
    let asks_for_guests = sides[1 - auth].is_blank() && is_identity(&sides[auth]);
    let what = match for_guests(&sides, comparison.operator.sign) {
        ForGuests::Always if !asks_for_guests => {
            format!("this holds for every guest, because {member} is empty for them")
        }
        ForGuests::WhereEmpty => format!(
            "for guests this holds where {other} is empty, because {member} is empty for them"
        ),
        ForGuests::WhereFilled => format!(
            "for guests this holds where {other} is not empty, because {member} is empty for them"
        ),
        _ => return None,
    };
    let written = meanings.written_comparison(comparison);
    let guarded = format!("@request.auth.id != \"\" && {written}");
    let instead = match whole {
        true => format!("Write: {guarded}"),
        false => format!("Write: ({guarded})"),
    };
    Some(Finding {
        span: span_of(comparison),
        what,
        instead,
        about_guests: true,
    })
}

/// Whether an empty one says nothing else than that a guest asks.
fn is_identity(side: &Meaning<'_>) -> bool {
    matches!(
        side,
        Meaning::Auth {
            member: "id" | "collectionId" | "collectionName",
            ..
        }
    )
}

fn for_guests(sides: &[Meaning<'_>; 2], sign: Sign) -> ForGuests {
    let other = match sides {
        [auth, other] if auth.is_auth() => other,
        [other, auth] if auth.is_auth() => other,
        _ => return ForGuests::Unrelated,
    };
    let equal = match other {
        Meaning::Auth { .. } => ForGuests::Always,
        other if other.is_blank() => ForGuests::Always,
        Meaning::Literal(_) | Meaning::Macro | Meaning::Id { .. } => ForGuests::Never,
        Meaning::Field { field, modifier } => field_is_empty(field, *modifier),
        Meaning::Option { .. } | Meaning::JsonPath | Meaning::Other => ForGuests::WhereEmpty,
    };
    match (sign, equal) {
        (Sign::Equal, equal) => equal,
        (Sign::NotEqual, ForGuests::Always) => ForGuests::Never,
        (Sign::NotEqual, ForGuests::WhereEmpty) => ForGuests::WhereFilled,
        (Sign::NotEqual, _) => ForGuests::Always,
        // Nothing is greater than what is not there, nor like it or unlike it.
        _ => ForGuests::Never,
    }
}

/// NULL is read as 0 from a column of numbers, and as `[]` from one of lists.
fn field_is_empty(field: &Field, modifier: Option<Modifier>) -> ForGuests {
    match (&field.kind, modifier) {
        (FieldKind::Array(_), Some(Modifier::Each)) => ForGuests::WhereEmpty,
        (FieldKind::Number | FieldKind::Bool | FieldKind::Array(_), _) => ForGuests::Never,
        (FieldKind::Text | FieldKind::Date | FieldKind::Json, _) => ForGuests::WhereEmpty,
    }
}
