//! How rows and those who ask find each other without asking about every pair.
//!
//! `owner = @request.auth.id && status != "draft"` can hold only where both sides of its first part are alike. So
//! those who ask are kept under what their side is like, a row is looked up under what its own side is like, and only
//! those found are asked for a decision. What a sieve lets through is decided in full; what it holds back would have
//! been decided with no, or with an error, which is no as well:
//!
//! * Nothing in the language negates, so a text is true only if, of an `&&`, every part is true with some choice of items,
//!   and of an `||`, one part is. A sieve takes one part of each `&&` to find by, and others to hold back by; it passes by
//!   what it does not understand. Of an `||` it must understand every part.
//! * A comparison by `=` or `?=` is true only if two values are equal, and equal values are alike (see `likeness`).
//! * Both sides are read as decisions read them. Where that fails nothing is held back, so that the error is met,
//!   counted and logged by those who decide.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::ast::Sign;
use super::compile::chain;
use super::context::RequestContext;
use super::evaluate::Evaluation;
use super::likeness::Likeness;
use super::predicate::{Predicate, Row, RuleUse, Undecidable};
use super::program::{Comparison, Home, Join, JoinSet, Node, Source};
use super::value::Value;

/// Ways in which one rule can be true; with more, a rule has no sieve.
const WAYS_MAX: usize = 16;
/// Values of one side; a row or an asker with more is not looked up by them.
const VALUES_MAX: usize = 1_000;

/// What a rule demands of rows and of those who ask for them to be alike in.
#[derive(Debug)]
pub struct Sieve {
    ways: Vec<Way>,
    joins: Vec<Join>,
}

/// One way to be true.
#[derive(Debug, Clone, Default)]
struct Way {
    /// What must hold of the row alone.
    row: Vec<Node>,
    /// What must hold of the asker alone.
    asker: Vec<Node>,
    /// The sides, of row and asker, that must be equal.
    link: Option<(Source, Source)>,
}

/// Where keys come from that are not to be taken for others'.
#[derive(Debug, Clone, Copy)]
pub struct KeySpace<'s> {
    /// Makes keys that nobody can foresee.
    pub hasher: &'s RandomState,
    /// Different for each sieve and each side of a filter.
    pub number: u32,
}

impl KeySpace<'_> {
    fn key(&self, way: usize, likeness: Option<Likeness<'_>>) -> u64 {
        self.hasher.hash_one((self.number, way, likeness))
    }
}

impl Sieve {
    /// The sieve of a rule; `None` if it would let everything through.
    pub fn of(rule: &Predicate) -> Option<Self> {
        debug_assert_eq!(rule.usage, RuleUse::Rule, "a filter has demands");
        let joins = &rule.joins;
        let ways = ways(
            &rule.node,
            &Reading {
                joins,
                filter: false,
            },
        )?;
        let joins = joins.clone();
        Some(Self { ways, joins })
    }

    /// Adds the keys under which an asker is kept. The row may be any of the collection.
    ///
    /// # Errors
    /// If that cannot be said: then it must be asked about everything.
    pub fn asker_keys(
        &self,
        row: Row<'_>,
        request: &RequestContext<'_>,
        space: KeySpace<'_>,
        keys: &mut Vec<u64>,
    ) -> Result<(), Undecidable> {
        for (number, way) in self.ways.iter().enumerate() {
            let side = way.link.as_ref().map(|(_, asker)| asker);
            self.way_keys(row, request, &way.asker, side, &mut |likeness| {
                keys.push(space.key(number, likeness));
            })?;
        }
        Ok(())
    }

    /// Adds the keys under which those are kept who may see a row.
    ///
    /// # Errors
    /// If that cannot be said: then everybody must be asked.
    pub fn row_keys(
        &self,
        row: Row<'_>,
        request: &RequestContext<'_>,
        space: KeySpace<'_>,
        keys: &mut Vec<u64>,
    ) -> Result<(), Undecidable> {
        for (number, way) in self.ways.iter().enumerate() {
            let side = way.link.as_ref().map(|(row, _)| row);
            self.way_keys(row, request, &way.row, side, &mut |likeness| {
                keys.push(space.key(number, likeness));
            })?;
        }
        Ok(())
    }

    /// Calls `add` with what one side of a way is like, or with nothing if nothing must be alike; not at all if
    /// what must hold of this side does not.
    fn way_keys(
        &self,
        row: Row<'_>,
        request: &RequestContext<'_>,
        conditions: &[Node],
        side: Option<&Source>,
        add: &mut dyn FnMut(Option<Likeness<'_>>),
    ) -> Result<(), Undecidable> {
        let evaluation = || Evaluation::new(row, request, false, &self.joins);
        for condition in conditions {
            if !evaluation().holds(condition)? {
                return Ok(());
            }
        }
        match side {
            None => add(None),
            Some(side) => each_likeness(&evaluation(), side, &self.joins, add)?,
        }
        Ok(())
    }
}

/// What a filter demands of a row: that one of its values is equal to what the filter says.
#[derive(Debug)]
pub struct Demand {
    /// The value.
    pub side: RowSide,
    value: Value<'static>,
}

/// A value of a row, as a filter reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSide {
    source: Source,
    joins: Vec<Join>,
}

impl Demand {
    /// What a filter demands, in one way or another; `None` if it may be true without anything of the kind.
    pub fn of(filter: &Predicate) -> Option<Vec<Self>> {
        debug_assert_ne!(filter.usage, RuleUse::Rule, "a rule has a sieve");
        let reading = Reading {
            joins: &filter.joins,
            filter: true,
        };
        let ways = ways(&filter.node, &reading)?;
        let demand = |way: Way| match way.link? {
            (source, Source::Constant(value)) => Some(Self {
                side: RowSide::new(source, &filter.joins)?,
                value,
            }),
            _ => None,
        };
        ways.into_iter().map(demand).collect()
    }

    /// The key under which those are kept who demand this. The space is the side's.
    pub fn key(&self, space: KeySpace<'_>) -> u64 {
        space.key(0, Some(Likeness::of(&self.value)))
    }
}

impl RowSide {
    /// Keeps no more of the joins than the side needs, so that the sides of different filters can be the same.
    fn new(mut source: Source, joins: &[Join]) -> Option<Self> {
        let mut innermost = &mut source;
        while let Source::Lower(inner) = innermost {
            innermost = inner;
        }
        let joins = match innermost {
            Source::Each(join) => {
                let own = vec![joins.get(*join)?.clone()];
                *join = 0;
                own
            }
            Source::Distance(_) | Source::Time(_) => return None,
            _ => Vec::new(),
        };
        Some(Self { source, joins })
    }

    /// Adds the keys under which those are kept whose demand a row meets.
    ///
    /// # Errors
    /// If that cannot be said: then no such filter lets the row pass.
    pub fn keys(
        &self,
        row: Row<'_>,
        request: &RequestContext<'_>,
        space: KeySpace<'_>,
        keys: &mut Vec<u64>,
    ) -> Result<(), Undecidable> {
        let evaluation = Evaluation::new(row, request, true, &self.joins);
        each_likeness(&evaluation, &self.source, &self.joins, &mut |likeness| {
            keys.push(space.key(0, likeness));
        })
    }
}

/// Calls `add` with what a side is like, for each choice of items.
fn each_likeness<'e>(
    evaluation: &Evaluation<'e>,
    source: &'e Source,
    joins: &[Join],
    add: &mut dyn FnMut(Option<Likeness<'_>>),
) -> Result<(), Undecidable> {
    let sides = evaluation.all_sides(source, chosen_in(source, joins), None)?;
    if sides.len() > VALUES_MAX {
        return Err(Undecidable::TooMuchWork);
    }
    for side in &sides {
        add(Some(Likeness::of(&side.value)));
    }
    Ok(())
}

/// The joins that a side makes a choice of.
fn chosen_in(source: &Source, joins: &[Join]) -> JoinSet {
    match source {
        Source::Each(join) => chain(joins, Home::Joined(*join)),
        Source::Lower(inner) => chosen_in(inner, joins),
        Source::Distance(points) => points
            .iter()
            .fold(0, |chosen, point| chosen | chosen_in(point, joins)),
        Source::Time(call) => call.time.as_ref().map_or(0, |time| chosen_in(time, joins)),
        _ => 0,
    }
}

/// How a text is taken apart.
struct Reading<'r> {
    joins: &'r [Join],
    /// Of a filter, only what must equal a constant is understood: its conditions would have to be tried for
    /// every filter there is.
    filter: bool,
}

/// In which ways a node can be true; `None` if that is not understood.
fn ways(node: &Node, reading: &Reading<'_>) -> Option<Vec<Way>> {
    let knows = reading.of_node(node);
    if !reading.filter && knows.is_row_only() {
        return Some(vec![Way {
            row: vec![node.clone()],
            ..Way::default()
        }]);
    }
    if !reading.filter && knows.is_asker_only() {
        return Some(vec![Way {
            asker: vec![node.clone()],
            ..Way::default()
        }]);
    }
    match node {
        Node::And(parts, _) => ways_of_all(parts, reading),
        Node::Or(parts, _) => {
            let ways = parts.iter().map(|part| ways(part, reading));
            let ways: Vec<_> = ways.collect::<Option<Vec<_>>>()?.concat();
            (ways.len() <= WAYS_MAX).then_some(ways)
        }
        Node::Comparison(comparison) => {
            let link = Some(link(comparison, reading)?);
            Some(vec![Way {
                link,
                ..Way::default()
            }])
        }
        Node::Visible(..) => None,
    }
}

/// Takes the part that holds back most to find by, and all that is about one side alone as a condition.
fn ways_of_all(parts: &[Node], reading: &Reading<'_>) -> Option<Vec<Way>> {
    let (mut row, mut asker, mut best): (_, _, Option<Vec<Way>>) = (vec![], vec![], None);
    for part in parts {
        let knows = reading.of_node(part);
        match ways(part, reading) {
            None => {}
            Some(_) if !reading.filter && knows.is_row_only() => row.push(part.clone()),
            Some(_) if !reading.filter && knows.is_asker_only() => asker.push(part.clone()),
            Some(ways) if best.as_ref().is_none_or(|best| cost(&ways) < cost(best)) => {
                best = Some(ways);
            }
            Some(_) => {}
        }
    }
    let conditions = !row.is_empty() || !asker.is_empty();
    let mut ways = best.or_else(|| conditions.then(|| vec![Way::default()]))?;
    for way in &mut ways {
        way.row.extend(row.iter().cloned());
        way.asker.extend(asker.iter().cloned());
    }
    Some(ways)
}

/// What lets fewer through comes first.
fn cost(ways: &[Way]) -> (usize, usize) {
    let wide = ways.iter().filter(|way| way.link.is_none()).count();
    (wide, ways.len())
}

/// The sides of row and asker, if that is what is compared, and for being equal.
fn link(comparison: &Comparison, reading: &Reading<'_>) -> Option<(Source, Source)> {
    let Comparison { left, right, .. } = comparison;
    if comparison.operator.sign != Sign::Equal {
        return None;
    }
    let fits = |row: &Source, other: &Source| {
        let (row, other_knows) = (reading.of(row), reading.of(other));
        let other_fits = match reading.filter {
            true => matches!(other, Source::Constant(_)),
            false => other_knows.is_asker_only(),
        };
        row.row && row.is_row_only() && !row.clock && other_fits
    };
    let (row, other) = match (fits(left, right), fits(right, left)) {
        (true, _) => (left, right),
        (_, true) => (right, left),
        _ => return None,
    };
    Some((row.clone(), other.clone()))
}

/// What must be known for a value.
#[derive(Debug, Clone, Copy, Default)]
struct Knows {
    row: bool,
    /// Whoever asks, with the options of its subscription.
    asker: bool,
    clock: bool,
    /// Rows of other collections.
    related: bool,
}

impl Knows {
    /// Also of what is always the same.
    fn is_row_only(self) -> bool {
        !self.asker && !self.related
    }

    fn is_asker_only(self) -> bool {
        self.asker && !self.row && !self.clock && !self.related
    }

    fn and(self, other: Self) -> Self {
        Self {
            row: self.row || other.row,
            asker: self.asker || other.asker,
            clock: self.clock || other.clock,
            related: self.related || other.related,
        }
    }
}

impl Reading<'_> {
    fn of_node(&self, node: &Node) -> Knows {
        let all = |parts: &[Node]| {
            let parts = parts.iter().map(|part| self.of_node(part));
            parts.fold(Knows::default(), Knows::and)
        };
        match node {
            Node::And(parts, _) | Node::Or(parts, _) => all(parts),
            Node::Comparison(Comparison { left, right, .. }) => self.of(left).and(self.of(right)),
            Node::Visible(..) => RELATED,
        }
    }

    fn of(&self, source: &Source) -> Knows {
        match source {
            Source::Constant(_) | Source::Context | Source::Method => Knows::default(),
            Source::Macro(_) => CLOCK,
            Source::Option { .. }
            | Source::OptionIsSet { .. }
            | Source::Auth(_)
            | Source::AuthField { .. }
            | Source::AuthLength(_) => ASKER,
            Source::Id(home)
            | Source::Field(home, _)
            | Source::Key(home, _)
            | Source::JsonPath(home, ..)
            | Source::Length(home, _) => of_home(*home),
            Source::Each(join) => match &self.joins[*join] {
                Join::Items(home, _) => of_home(*home),
                Join::Auth(_) => ASKER,
                Join::Rows(_) => RELATED,
            },
            Source::Lower(inner) => self.of(inner),
            Source::Distance(points) => {
                let points = points.iter().map(|point| self.of(point));
                points.fold(Knows::default(), Knows::and)
            }
            Source::Time(call) => {
                let time = call.time.as_ref();
                time.map_or(CLOCK, |time| self.of(time).and(CLOCK))
            }
        }
    }
}

const NOTHING: Knows = Knows {
    row: false,
    asker: false,
    clock: false,
    related: false,
};
const ASKER: Knows = Knows {
    asker: true,
    ..NOTHING
};
const CLOCK: Knows = Knows {
    clock: true,
    ..NOTHING
};
const RELATED: Knows = Knows {
    related: true,
    ..NOTHING
};

fn of_home(home: Home) -> Knows {
    match home {
        Home::Record => Knows {
            row: true,
            ..NOTHING
        },
        Home::Auth => ASKER,
        Home::Joined(_) | Home::Nowhere => RELATED,
    }
}
