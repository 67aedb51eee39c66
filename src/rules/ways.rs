//! In which ways a text can be true: what it demands of the row, of whoever asks, and of both together.

use super::ast::Sign;
use super::program::{Comparison, Home, Join, Node, Source};

/// Ways in which one text can be true; with more, it is not taken apart.
const WAYS_MAX: usize = 16;

/// One way to be true.
#[derive(Debug, Clone, Default)]
pub(super) struct Way {
    /// What must hold of the row alone.
    pub(super) row: Vec<Node>,
    /// What must hold of the asker alone.
    pub(super) asker: Vec<Node>,
    /// The sides, of row and asker, that must be equal.
    pub(super) link: Option<(Source, Source)>,
}

/// How a text is taken apart.
pub(super) struct Reading<'r> {
    pub(super) joins: &'r [Join],
    /// Of a filter, only what must equal a constant is understood: its conditions would have to be tried for
    /// every filter there is.
    pub(super) filter: bool,
}

/// In which ways a node can be true; `None` if that is not understood.
pub(super) fn ways(node: &Node, reading: &Reading<'_>) -> Option<Vec<Way>> {
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
