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

use super::compile::chain;
use super::context::RequestContext;
use super::evaluate::Evaluation;
use super::likeness::Likeness;
use super::predicate::{Predicate, Row, RuleUse, Undecidable};
use super::program::{Home, Join, JoinSet, Node, Source};
use super::value::Value;
use super::ways::{Reading, Way, ways};

/// Values of one side; a row or an asker with as many is not looked up by them.
const VALUES_MAX: usize = 1_000;

/// What a rule demands of rows and of those who ask for them to be alike in.
#[derive(Debug)]
pub struct Sieve {
    ways: Vec<Way>,
    joins: Vec<Join>,
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
            Some(side) => {
                let mut room = VALUES_MAX;
                each_likeness(&evaluation(), side, &self.joins, &mut |likeness| {
                    room = room.saturating_sub(1);
                    add(likeness);
                })?;
                if room == 0 {
                    return Err(Undecidable::TooMuchWork);
                }
            }
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
