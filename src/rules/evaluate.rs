//! One decision: a program, a row, a request (contract, sections 5.5 to 5.9).

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use super::budget::Budget;
use super::compare::{Side, compare};
use super::compile::chain;
use super::context::RequestContext;
use super::predicate::{Row, Undecidable};
use super::program::{Comparison, Home, Join, JoinSet, Node, Source};
use super::value::Value;
use crate::related::RelatedRow;

/// The state of one decision.
pub(super) struct Evaluation<'e> {
    pub(super) row: Row<'e>,
    pub(super) request: &'e RequestContext<'e>,
    /// Whether hidden fields are closed.
    pub(super) filter: bool,
    pub(super) budget: Budget,
    joins: &'e [Join],
    /// The items of joins that depend on no choice.
    items: Vec<OnceCell<Rc<[Item<'e>]>>>,
    current: Vec<Cell<usize>>,
    /// The joins whose `current` item is chosen.
    chosen: Cell<JoinSet>,
}

/// What a join may choose.
#[derive(Debug, Clone)]
pub(super) enum Item<'e> {
    Value(Value<'e>),
    /// `None` is nobody's row: all its values are NULL.
    Row(Option<&'e RelatedRow>),
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
    ///
    /// Where rows have not been fetched yet, the other parts are looked at all the same: they may
    /// decide, or want rows of their own.
    pub(super) fn holds(&self, node: &'e Node) -> Result<bool, Undecidable> {
        self.budget.spend(1)?;
        match node {
            Node::And(parts, _) => {
                let shared = shared(parts);
                match self.first_open(shared) {
                    Some(join) => self.any_item_of_all(join, shared, node),
                    None => decided(parts, false, |part| self.holds(part)),
                }
            }
            Node::Or(parts, _) => decided(parts, true, |part| self.holds(part)),
            Node::Comparison(comparison) => self.comparison_holds(comparison),
            Node::Visible(join, joins) => match self.first_open(*joins) {
                Some(open) => self.any_item(open, || self.holds(node)),
                None => self.is_visible(*join),
            },
        }
    }

    /// Whether an item of a join makes all parts of a node true, of which several share these joins.
    fn any_item_of_all(
        &self,
        join: usize,
        shared: JoinSet,
        node: &'e Node,
    ) -> Result<bool, Undecidable> {
        let mark = self.request.shelf.mark();
        match self.items(join) {
            Ok(items) => self.any_of(join, items.len(), || self.holds(node)),
            Err(_) if self.fails_anyway(node, shared & !self.chosen.get()) => {
                self.request.shelf.forget_since(mark);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a node is false whatever these joins may choose, as far as its parts that look at none of them tell.
    ///
    /// Asked where the items are not to be had: `@request.auth.id != ""` decides for guests, for whom
    /// `@collection.members.user ?= @request.auth.id` does not narrow what would be looked up in vain.
    fn fails_anyway(&self, node: &'e Node, joins: JoinSet) -> bool {
        match node {
            _ if node.joins() & joins == 0 => self.holds(node) == Ok(false),
            Node::And(parts, _) => parts.iter().any(|part| self.fails_anyway(part, joins)),
            Node::Or(parts, _) => parts.iter().all(|part| self.fails_anyway(part, joins)),
            Node::Comparison(_) | Node::Visible(..) => false,
        }
    }

    fn first_open(&self, joins: JoinSet) -> Option<usize> {
        let open = joins & !self.chosen.get();
        (open != 0).then(|| open.trailing_zeros() as usize)
    }

    fn comparison_holds(&self, comparison: &'e Comparison) -> Result<bool, Undecidable> {
        let [left, right] = comparison.all_of;
        let checked = left | right;
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
        let (left, right) = (self.side(&comparison.left), self.side(&comparison.right));
        // Both are looked at first, so that both say what they want.
        let satisfied = self.outcome(comparison, &left?, &right?)? == Some(true);
        Ok(satisfied && !(check && self.is_violated(comparison)?))
    }

    /// Whether any item of the left side and any of the right make it false.
    fn is_violated(&self, comparison: &'e Comparison) -> Result<bool, Undecidable> {
        let [left, right] = comparison.all_of;
        let [left_shown, right_shown] = &comparison.shown;
        let lefts = self.all_sides(&comparison.left, left, left_shown.as_deref());
        let rights = self.all_sides(&comparison.right, right, right_shown.as_deref())?;
        for left in &lefts? {
            for right in &rights {
                if self.outcome(comparison, left, right)? == Some(false) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// What a side is worth with each choice of these joins. What a filter may not see is no choice.
    pub(super) fn all_sides(
        &self,
        source: &'e Source,
        joins: JoinSet,
        shown: Option<&'e Source>,
    ) -> Result<Vec<Side<'e>>, Undecidable> {
        let mut sides = Vec::new();
        self.each_choice(joins, &mut |evaluation| {
            if evaluation.is_open(source, shown)? {
                sides.push(evaluation.side(source)?);
            }
            Ok(())
        })?;
        Ok(sides)
    }

    /// Calls `visit` for each choice of these joins, whatever is chosen now. Where rows are missing, it goes
    /// on, so that all that are missing are noted at once.
    fn each_choice(
        &self,
        joins: JoinSet,
        visit: &mut dyn FnMut(&Self) -> Result<(), Undecidable>,
    ) -> Result<(), Undecidable> {
        if joins == 0 {
            return visit(self);
        }
        let join = joins.trailing_zeros() as usize;
        let others = joins & !(1 << join);
        let current = self.current[join].get();
        let items = self.items(join)?;
        let mut outcome = Ok(());
        for index in 0..items.len() {
            self.current[join].set(index);
            match self.each_choice(others, visit) {
                Ok(()) => {}
                missing @ Err(Undecidable::NotLoaded) => outcome = missing,
                other => {
                    outcome = other;
                    break;
                }
            }
        }
        self.current[join].set(current);
        outcome
    }

    /// Whether a filter may look at a value: at every row on the way to it, also those with nothing to
    /// choose, and at the value itself.
    fn is_open(&self, source: &'e Source, shown: Option<&'e Source>) -> Result<bool, Undecidable> {
        if !self.filter {
            return Ok(true);
        }
        let mut home = source.origin();
        while let Some(Home::Joined(join)) = home {
            if matches!(self.joins[join], Join::Rows(_)) && !self.is_visible(join)? {
                return Ok(false);
            }
            home = Some(self.joins[join].home());
        }
        let flag = shown.map(|shown| self.side(shown)).transpose()?;
        Ok(flag.is_none_or(|flag| flag.value == Value::bool(true)))
    }

    /// Whether `holds` does for one item of a join; where there is none, one that is NULL.
    fn any_item(
        &self,
        join: usize,
        holds: impl Fn() -> Result<bool, Undecidable>,
    ) -> Result<bool, Undecidable> {
        let count = self.items(join)?.len();
        self.any_of(join, count, holds)
    }

    /// Whether `holds` does for one of so many items of a join.
    fn any_of(
        &self,
        join: usize,
        count: usize,
        holds: impl Fn() -> Result<bool, Undecidable>,
    ) -> Result<bool, Undecidable> {
        let chosen = self.chosen.get();
        self.chosen.set(chosen | 1 << join);
        let outcome = decided(0..count, true, |index| {
            self.current[join].set(index);
            holds()
        });
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

    /// The item of a join that is looked at; of those with nothing to choose, the only one.
    pub(super) fn item(&self, join: usize) -> Result<Item<'e>, Undecidable> {
        let items = self.items(join)?;
        let current = self.current[join].get();
        Ok(items.get(current).cloned().unwrap_or(Item::Row(None)))
    }

    pub(super) fn join(&self, join: usize) -> &'e Join {
        &self.joins[join]
    }

    /// What a join may choose; never nothing.
    fn items(&self, join: usize) -> Result<Rc<[Item<'e>]>, Undecidable> {
        if let Some(items) = self.items[join].get() {
            return Ok(Rc::clone(items));
        }
        let items = match &self.joins[join] {
            Join::Items(home, field) => values(self.field_items(*home, field)?),
            Join::Auth(name) => values(self.auth_items(name)?),
            Join::Rows(rows) => self.rows(rows)?,
        };
        self.budget.spend(items.len())?;
        // What depends on a choice is another with the next one.
        if chain(self.joins, self.joins[join].home()) == 0 {
            return Ok(Rc::clone(self.items[join].get_or_init(|| items)));
        }
        Ok(items)
    }
}

fn values(values: Vec<Value<'_>>) -> Rc<[Item<'_>]> {
    if values.is_empty() {
        return Rc::from([Item::Value(Value::Null)]);
    }
    values.into_iter().map(Item::Value).collect()
}

/// Whether one of these comes to `end`, which decides; if none does, the opposite, unless one could not
/// be told for want of rows.
fn decided<T>(
    parts: impl IntoIterator<Item = T>,
    end: bool,
    mut holds: impl FnMut(T) -> Result<bool, Undecidable>,
) -> Result<bool, Undecidable> {
    let mut wanting = false;
    for part in parts {
        match holds(part) {
            Ok(outcome) if outcome == end => return Ok(end),
            Ok(_) => {}
            Err(Undecidable::NotLoaded) => wanting = true,
            Err(other) => return Err(other),
        }
    }
    if wanting {
        return Err(Undecidable::NotLoaded);
    }
    Ok(!end)
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
