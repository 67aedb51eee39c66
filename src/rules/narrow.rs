//! Which rows of another collection are worth fetching at all.
//!
//! `@collection.members.user ?= @request.auth.id && @collection.members.team ?= team` speaks of all
//! members, but only those of this user and team can make it true, and nothing in the language negates:
//! leaving the others out changes nothing, as long as no comparison wants to hear of every row.

use super::ast::Sign;
use super::program::{Comparison, Home, Join, Node, Reach, Rows, Source};
use crate::catalog::{Field, FieldKind, TypeClass};

/// Notes, for each join of rows that could be many, what its rows must equal.
///
/// Of a `filter`, only what the whole demands: else the rows that are left out could not be told from those
/// that its author must not see, and their values from the outcome.
pub(super) fn narrow(root: &Node, joins: &mut [Join], filter: bool) {
    for index in 0..joins.len() {
        let narrow = conditions(root, joins, index, filter);
        if let Join::Rows(rows) = &mut joins[index] {
            rows.narrow = narrow;
        }
    }
}

/// What the rows of a join must equal.
fn conditions(root: &Node, joins: &[Join], index: usize, filter: bool) -> Vec<(usize, Source)> {
    let Join::Rows(rows) = &joins[index] else {
        return Vec::new();
    };
    if !is_wide(rows) || wants_every(root, index) {
        return Vec::new();
    }
    let parts = match home_of(root, index, filter) {
        None => return Vec::new(),
        Some(Node::And(parts, _)) => parts.as_slice(),
        Some(other) => std::slice::from_ref(other),
    };
    let conditions = parts
        .iter()
        .filter_map(|part| condition(part, index, rows, joins));
    conditions.collect()
}

/// Whether there may be many rows for one key.
fn is_wide(rows: &Rows) -> bool {
    match rows.reach {
        Reach::Every { .. } => true,
        Reach::Keys { to, .. } => {
            !rows.collection.fields[to].unique && rows.collection.key_fields != [to]
        }
    }
}

/// Whether some comparison is false as soon as one row makes it so.
fn wants_every(node: &Node, join: usize) -> bool {
    match node {
        Node::And(parts, _) | Node::Or(parts, _) => {
            parts.iter().any(|part| wants_every(part, join))
        }
        Node::Comparison(comparison) => {
            let [left, right] = comparison.all_of;
            (left | right) & (1 << join) != 0
        }
        Node::Visible(..) => false,
    }
}

/// The smallest part that says all there is to say about a join; for a filter, `None` if the whole can do
/// without that part.
fn home_of(node: &Node, join: usize, filter: bool) -> Option<&Node> {
    let (Node::And(parts, _) | Node::Or(parts, _)) = node else {
        return Some(node);
    };
    if filter && matches!(node, Node::Or(..)) {
        return None;
    }
    let mut concerned = parts.iter().filter(|part| part.joins() & (1 << join) != 0);
    match (concerned.next(), concerned.next()) {
        (Some(only), None) => home_of(only, join, filter),
        _ => Some(node),
    }
}

/// The field of a row and what it must equal, if that is what a node demands and can be asked of the
/// database.
fn condition(node: &Node, join: usize, rows: &Rows, joins: &[Join]) -> Option<(usize, Source)> {
    let Node::Comparison(comparison) = node else {
        return None;
    };
    if comparison.operator.sign != Sign::Equal || comparison.joins != 1 << join {
        // Where another choice has its say, the value is not known before the rows are.
        return None;
    }
    let Comparison { left, right, .. } = comparison;
    [(left, right), (right, left)]
        .into_iter()
        .find_map(|(own, other)| {
            let field = own_field(own, join, rows)?;
            let known =
                !speaks_of(other, join, joins) && is_askable(&rows.collection.fields[field]);
            known.then(|| (field, other.clone()))
        })
}

/// The field of a join's row that a side is.
fn own_field(source: &Source, join: usize, rows: &Rows) -> Option<usize> {
    match source {
        Source::Field(Home::Joined(home), field) if *home == join => Some(field.index),
        Source::Id(Home::Joined(home)) if *home == join => match rows.collection.key_fields[..] {
            [only] => Some(only),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a value may come from the row that is sought, be it over further relations, so that nobody knows
/// it before.
fn speaks_of(source: &Source, join: usize, joins: &[Join]) -> bool {
    if let Source::Each(_) | Source::Lower(_) | Source::Distance(_) | Source::Time(_) = source {
        return true;
    }
    let mut home = source.home();
    while let Some(Home::Joined(index)) = home {
        if index == join {
            return true;
        }
        home = Some(joins[index].home());
    }
    false
}

/// Whether the database's idea of equal contains ours.
fn is_askable(field: &Field) -> bool {
    match field.column_type.class {
        TypeClass::Integer => field.kind == FieldKind::Number,
        TypeClass::Uuid | TypeClass::Text => field.kind == FieldKind::Text,
        TypeClass::Other => false,
    }
}
