//! One decision: a program, a row, a request (contract, sections 5.5 to 5.9).

use std::cell::{Cell, OnceCell};

use super::budget::Budget;
use super::compare::{Side, compare};
use super::context::RequestContext;
use super::predicate::{Row, Undecidable};
use super::program::{Comparison, Join, JoinSet, Node, Source};
use super::value::Value;

/// The state of one decision.
pub(super) struct Evaluation<'e> {
    pub(super) row: Row<'e>,
    pub(super) request: &'e RequestContext<'e>,
    /// Whether hidden fields are closed.
    pub(super) filter: bool,
    pub(super) budget: Budget,
    joins: &'e [Join],
    items: Vec<OnceCell<Vec<Value<'e>>>>,
    current: Vec<Cell<usize>>,
    /// The joins whose `current` item is chosen.
    chosen: Cell<JoinSet>,
}

impl<'e> Evaluation<'e> {
    pub(super) fn new(
        row: Row<'e>,
        request: &'e RequestContext<'e>,
        filter: bool,
        joins: &'e [Join],
    ) -> Self {
        Self {
            row,
            request,
            filter,
            budget: if filter {
                Budget::of_filter()
            } else {
                Budget::of_rule()
            },
            joins,
            items: joins.iter().map(|_| OnceCell::new()).collect(),
            current: joins.iter().map(|_| Cell::new(0)).collect(),
            chosen: Cell::new(0),
        }
    }

    /// Whether items can be chosen so that all is true. As nothing negates, a choice that matters to
    /// one part alone can be made there.
    pub(super) fn holds(&self, node: &'e Node) -> Result<bool, Undecidable> {
        self.budget.spend(1)?;
        match node {
            Node::And(parts, _) => {
                if let Some(join) = self.first_open(shared(parts)) {
                    return self.any_item(join, || self.holds(node));
                }
                for part in parts {
                    if !self.holds(part)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(parts, _) => {
                for part in parts {
                    if self.holds(part)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Comparison(comparison) => self.comparison_holds(comparison),
        }
    }

    fn first_open(&self, joins: JoinSet) -> Option<usize> {
        let open = joins & !self.chosen.get();
        (open != 0).then(|| open.trailing_zeros() as usize)
    }

    fn comparison_holds(&self, comparison: &'e Comparison) -> Result<bool, Undecidable> {
        let strict = comparison.all_of.iter().flatten();
        let checked = strict.fold(0, |joins, join| joins | 1 << join);
        // Whatever else is chosen, the check is the same: once is enough.
        let once = checked == comparison.joins;
        if checked != 0 && once && self.is_violated(comparison)? {
            return Ok(false);
        }
        self.is_satisfied(comparison, checked != 0 && !once)
    }

    /// Whether some choice makes it true, and, if asked, nothing makes it false beside.
    fn is_satisfied(&self, comparison: &'e Comparison, check: bool) -> Result<bool, Undecidable> {
        if let Some(join) = self.first_open(comparison.joins) {
            return self.any_item(join, || self.is_satisfied(comparison, check));
        }
        let left = self.side(&comparison.left)?;
        let right = self.side(&comparison.right)?;
        let satisfied = self.outcome(comparison, &left, &right)? == Some(true);
        Ok(satisfied && !(check && self.is_violated(comparison)?))
    }

    /// Whether any item of the left side and any of the right make it false.
    fn is_violated(&self, comparison: &'e Comparison) -> Result<bool, Undecidable> {
        let [left, right] = comparison.all_of;
        let lefts = self.all_sides(&comparison.left, left)?;
        let rights = self.all_sides(&comparison.right, right)?;
        for left in &lefts {
            for right in &rights {
                if self.outcome(comparison, left, right)? == Some(false) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// What a side is worth with each item of a join.
    fn all_sides(
        &self,
        source: &'e Source,
        join: Option<usize>,
    ) -> Result<Vec<Side<'e>>, Undecidable> {
        let Some(join) = join else {
            return Ok(vec![self.side(source)?]);
        };
        let current = self.current[join].get();
        let count = self.items(join)?.len().max(1);
        let sides = (0..count).map(|index| {
            self.current[join].set(index);
            self.side(source)
        });
        let sides = sides.collect();
        self.current[join].set(current);
        sides
    }

    /// Whether `holds` does for one item of a join; a list without items has one, which is NULL.
    fn any_item(
        &self,
        join: usize,
        holds: impl Fn() -> Result<bool, Undecidable>,
    ) -> Result<bool, Undecidable> {
        let count = self.items(join)?.len().max(1);
        let chosen = self.chosen.get();
        self.chosen.set(chosen | 1 << join);
        let mut outcome = Ok(false);
        for index in 0..count {
            self.current[join].set(index);
            outcome = holds();
            if !matches!(outcome, Ok(false)) {
                break;
            }
        }
        self.chosen.set(chosen);
        outcome
    }

    fn outcome(
        &self,
        comparison: &Comparison,
        left: &Side<'_>,
        right: &Side<'_>,
    ) -> Result<Option<bool>, Undecidable> {
        self.budget.spend(1)?;
        Ok(compare(left, comparison.operator, right, &self.budget)?)
    }

    /// The item of a join that is looked at.
    pub(super) fn item(&self, join: usize) -> Result<Value<'e>, Undecidable> {
        let items = self.items(join)?;
        let current = self.current[join].get();
        Ok(items.get(current).cloned().unwrap_or(Value::Null))
    }

    fn items(&self, join: usize) -> Result<&[Value<'e>], Undecidable> {
        if let Some(items) = self.items[join].get() {
            return Ok(items);
        }
        let items = match &self.joins[join] {
            Join::Field(field) => self.field_items(field)?,
            Join::Auth(name) => self.auth_items(name)?,
        };
        self.budget.spend(items.len())?;
        Ok(self.items[join].get_or_init(|| items))
    }
}

/// The joins that more than one part looks at.
fn shared(parts: &[Node]) -> JoinSet {
    let (mut once, mut twice) = (0, 0);
    for part in parts {
        twice |= once & part.joins();
        once |= part.joins();
    }
    twice
}
