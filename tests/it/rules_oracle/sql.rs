//! Rules as statements: one for all rows of a table and all principals. Written from the contract.

use super::ast::{Comparison, Expression, Operand};
use super::schema::{World, quoted};
use super::values::{clock, member, moment_text};

/// What a statement is made for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    pub world: &'q World,
    /// The table whose rows are decided about.
    pub table: usize,
    /// For the principals of which table; `None`: for all of them.
    pub auth: Option<Option<usize>>,
    /// Tables that a filter must not reach; `None`: it is a rule.
    pub locked: Option<&'q [usize]>,
    /// The moment it is, as a timestamp.
    pub now: &'q str,
}

/// One side of a comparison.
#[derive(Debug, Clone)]
pub struct Side {
    pub value: String,
    /// See `oracle.sql`.
    pub origin: char,
    /// Whether the path to it may lead to several values.
    pub multi: bool,
    /// Conditions under which a filter may look at it.
    pub conditions: Vec<String>,
}

/// What is joined on the way to values. The same prefix is the same row.
#[derive(Debug, Default)]
pub struct Joins {
    pub sql: String,
    pub known: Vec<(String, String)>,
    pub conditions: Vec<String>,
    pub tables: Vec<usize>,
}

/// A statement that gives row, principal, and whether the rule holds for them.
pub fn statement(question: Question<'_>, expression: &Expression) -> String {
    let mut writer = Writer {
        question,
        next: 0,
        prelude: String::new(),
    };
    let mut joins = Joins::default();
    let condition = writer.expression(&mut joins, expression);
    let closed = question
        .locked
        .is_some_and(|locked| joins.tables.iter().any(|table| locked.contains(table)));
    let holds = match closed {
        true => "false".to_owned(),
        false => format!(
            "exists (select from (values (1)) o (x) {}{} where ({condition}){})",
            writer.prelude,
            joins.sql,
            and(&joins.conditions)
        ),
    };
    let name = |table: usize| &question.world.tables[table].name;
    let (join, filter) = match question.auth {
        None => (String::new(), "true".to_owned()),
        Some(None) => (String::new(), "p.auth is null".to_owned()),
        Some(Some(auth)) => (
            format!("join oracle.{} a on a.rid = p.id", name(auth)),
            format!("p.auth = {}", quoted(name(auth))),
        ),
    };
    format!(
        "select r.ord, p.ord, {holds} from oracle.{} r cross join oracle.principal p {join} where {filter}",
        name(question.table)
    )
}

fn and(conditions: &[String]) -> String {
    conditions
        .iter()
        .map(|condition| format!(" and {condition}"))
        .collect()
}

pub struct Writer<'q> {
    pub question: Question<'q>,
    next: usize,
    /// What is worked out before anything is joined.
    prelude: String,
}

impl Writer<'_> {
    pub fn alias(&mut self, letter: char) -> String {
        self.next += 1;
        format!("{letter}{}", self.next)
    }

    fn expression(&mut self, joins: &mut Joins, expression: &Expression) -> String {
        let (parts, join) = match expression {
            Expression::And(parts) => (parts, " and "),
            Expression::Or(parts) => (parts, " or "),
            Expression::Comparison(comparison) => return self.comparison(joins, comparison),
        };
        let parts: Vec<String> = parts
            .iter()
            .map(|part| self.expression(joins, part))
            .collect();
        format!("({})", parts.join(join))
    }

    /// True if the values at hand make it so and, without a question mark, none that can be reached makes it
    /// false.
    fn comparison(&mut self, joins: &mut Joins, comparison: &Comparison) -> String {
        let (left, right) = (
            self.side(joins, &comparison.left),
            self.side(joins, &comparison.right),
        );
        let mut holds = holds(comparison, &left, &right);
        if !comparison.any && (left.multi || right.multi) {
            let violated = self.violated(comparison, &left, &right);
            holds = format!("({holds} and not {violated})");
        }
        let conditions = [left.conditions, right.conditions].concat();
        format!("({holds}{})", and(&conditions))
    }

    /// Whether some pair of values that can be reached makes it false.
    fn violated(&mut self, comparison: &Comparison, left: &Side, right: &Side) -> String {
        let mut again = [Joins::default(), Joins::default()];
        let [lefts, rights] = &mut again;
        // A distance is content with the points at hand.
        let is_distance = |operand| matches!(operand, &Operand::Distance(_));
        let left = match is_distance(&comparison.left) {
            true => left.clone(),
            false => self.side(lefts, &comparison.left),
        };
        let right = match is_distance(&comparison.right) {
            true => right.clone(),
            false => self.side(rights, &comparison.right),
        };
        let conditions = again
            .iter()
            .flat_map(|joins| &joins.conditions)
            .chain(&left.conditions)
            .chain(&right.conditions);
        let conditions: Vec<String> = conditions.cloned().collect();
        let violated = format!(
            "exists (select from (values (1)) o (x) {}{} where {} is false{})",
            again[0].sql,
            again[1].sql,
            holds(comparison, &left, &right),
            and(&conditions)
        );
        if is_distance(&comparison.left) || is_distance(&comparison.right) {
            return violated;
        }
        let alias = self.alias('v');
        self.prelude +=
            &format!("left join lateral (select {violated} as yes offset 0) {alias} on true ");
        format!("{alias}.yes")
    }

    fn side(&mut self, joins: &mut Joins, operand: &Operand) -> Side {
        let bound = |value: String| Side {
            value,
            origin: 'b',
            multi: false,
            conditions: Vec::new(),
        };
        match operand {
            Operand::Number(written) => bound(format!("oracle.real({}::float8)", quoted(written))),
            Operand::Text(text) => bound(format!("to_jsonb({}::text)", quoted(text))),
            Operand::Null => bound("null::jsonb".to_owned()),
            Operand::Bool(flag) => bound(format!("to_jsonb({})", i32::from(*flag))),
            Operand::Macro(name) => bound(clock(name, self.question.now)),
            Operand::Context => bound("to_jsonb('realtime'::text)".to_owned()),
            Operand::Method => bound("to_jsonb('GET'::text)".to_owned()),
            Operand::Option(place, name, lower) => {
                let option = format!(
                    "oracle.option(p.{place} ->> '{name}', {})",
                    self.is_number(name)
                );
                bound(if *lower {
                    format!("oracle.lower({option})")
                } else {
                    option
                })
            }
            Operand::OptionIsSet(place, name) => {
                bound(format!("to_jsonb((p.{place} ? '{name}')::int)"))
            }
            Operand::Body(_) => bound("null::jsonb".to_owned()),
            Operand::Member(name) => bound(member(name)),
            Operand::Path(path) => self.path(joins, path),
            Operand::Time(format, time, shifts) => {
                let time = self.side(joins, time);
                Side {
                    value: moment_text(format, &time.value, shifts),
                    origin: 'c',
                    ..time
                }
            }
            Operand::Distance(points) => {
                let points: Vec<Side> =
                    points.iter().map(|point| self.side(joins, point)).collect();
                let values: Vec<&str> = points.iter().map(|point| &*point.value).collect();
                Side {
                    value: format!("oracle.distance({})", values.join(", ")),
                    origin: 'j',
                    multi: false,
                    conditions: points
                        .iter()
                        .flat_map(|point| point.conditions.clone())
                        .collect(),
                }
            }
        }
    }
}

fn holds(comparison: &Comparison, left: &Side, right: &Side) -> String {
    format!(
        "oracle.holds('{}', {}, '{}', {}, '{}')",
        comparison.operator, left.value, left.origin, right.value, right.origin
    )
}
