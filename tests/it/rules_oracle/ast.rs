//! Rules as the oracle knows them, and their text in the rule language.

use std::fmt::{self, Display, Formatter};

use super::schema::{Target, World};

#[derive(Debug, Clone)]
pub enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Comparison(Comparison),
}

#[derive(Debug, Clone)]
pub struct Comparison {
    pub left: Operand,
    /// Without its `?`.
    pub operator: &'static str,
    pub any: bool,
    pub right: Operand,
}

#[derive(Debug, Clone)]
pub enum Operand {
    /// As it is written.
    Number(String),
    Text(String),
    Null,
    Bool(bool),
    Macro(&'static str),
    Context,
    Method,
    /// `@request.query` or `@request.headers`, the name, and `:lower`.
    Option(&'static str, String, bool),
    OptionIsSet(&'static str, String),
    /// `@request.body`, which is empty.
    Body(String),
    /// One of the six members that every auth record has.
    Member(&'static str),
    Path(Path),
    /// A format, a time, and shifts.
    Time(&'static str, Box<Operand>, Vec<&'static str>),
    Distance(Box<[Operand; 4]>),
}

/// From somewhere, over relations, to a value.
#[derive(Debug, Clone)]
pub struct Path {
    pub start: Start,
    pub steps: Vec<Step>,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The record of this table that is decided about.
    Record(usize),
    /// The principal's record, if it is of this table.
    Auth(usize),
    /// Every row of a table, under an alias.
    Every(usize, &'static str),
}

impl Start {
    pub fn table(&self) -> usize {
        match self {
            Self::Record(table) | Self::Auth(table) | Self::Every(table, _) => *table,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Along a column of the table that the path has come to.
    Along(usize),
    /// To the rows that point to it with this column.
    Back(Target),
}

#[derive(Debug, Clone)]
pub enum End {
    Id { lower: bool },
    Field(usize, Modifier),
    Json(usize, Vec<&'static str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modifier {
    None,
    Lower,
    Length,
    Each,
}

impl Path {
    /// The table that the steps up to here lead to.
    pub fn table_after(&self, world: &World, steps: usize) -> usize {
        self.steps[..steps]
            .iter()
            .fold(self.start.table(), |table, step| match step {
                Step::Along(column) => world.tables[table].columns[*column].target.unwrap().table,
                Step::Back(from) => from.table,
            })
    }

    /// The start and the first steps as text; where they are the same, the row is.
    pub fn prefix(&self, world: &World, steps: usize) -> String {
        let mut text = match &self.start {
            Start::Record(_) => String::new(),
            Start::Auth(_) => "@request.auth.".to_owned(),
            Start::Every(table, "") => format!("@collection.{}.", world.tables[*table].name),
            Start::Every(table, alias) => {
                format!("@collection.{}:{alias}.", world.tables[*table].name)
            }
        };
        for (at, step) in self.steps[..steps].iter().enumerate() {
            match step {
                Step::Along(column) => {
                    let table = self.table_after(world, at);
                    text += &world.tables[table].columns[*column].name;
                }
                Step::Back(from) => {
                    text += &format!(
                        "{}_via_{}",
                        world.tables[from.table].name,
                        world.column(*from).name
                    );
                }
            }
            text.push('.');
        }
        text
    }

    pub fn text(&self, world: &World) -> String {
        let columns = &world.tables[self.table_after(world, self.steps.len())].columns;
        let end = match &self.end {
            End::Id { lower: false } => "id".to_owned(),
            End::Id { lower: true } => "id:lower".to_owned(),
            End::Field(column, modifier) => format!("{}{modifier}", columns[*column].name),
            End::Json(column, path) => format!("{}.{}", columns[*column].name, path.join(".")),
        };
        let mut prefix = self.prefix(world, self.steps.len());
        if let Some((name, steps)) = &world.tables[self.start.table()].alias
            && self.steps.starts_with(steps)
        {
            // The name says the same as the path.
            let (start, way) = (self.prefix(world, 0), self.prefix(world, steps.len()));
            prefix = prefix.replacen(&way, &format!("{start}{name}."), 1);
        }
        format!("{prefix}{end}")
    }
}

impl Display for Modifier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "",
            Self::Lower => ":lower",
            Self::Length => ":length",
            Self::Each => ":each",
        })
    }
}

impl Expression {
    /// In the rule language.
    pub fn text(&self, world: &World) -> String {
        let joined = |parts: &[Self], join: &str| {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| match part {
                    Self::Comparison(_) => part.text(world),
                    Self::And(_) | Self::Or(_) => format!("({})", part.text(world)),
                })
                .collect();
            parts.join(join)
        };
        match self {
            Self::And(parts) => joined(parts, " && "),
            Self::Or(parts) => joined(parts, " || "),
            Self::Comparison(Comparison {
                left,
                operator,
                any,
                right,
            }) => {
                let mark = if *any { "?" } else { "" };
                format!(
                    "{} {mark}{operator} {}",
                    left.text(world),
                    right.text(world)
                )
            }
        }
    }

    pub fn operands(&self) -> Vec<&Operand> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::operands).collect(),
            Self::Comparison(comparison) => {
                let sides = [&comparison.left, &comparison.right];
                sides.into_iter().flat_map(Operand::with_inner).collect()
            }
        }
    }

    /// Whether it looks into the principal's record, so that it means another thing for each collection.
    pub fn looks_into_auth(&self) -> bool {
        self.operands()
            .iter()
            .any(|operand| matches!(operand, Operand::Path(path) if matches!(path.start, Start::Auth(_))))
    }

    /// The same with one part less, in each way.
    pub fn smaller(&self) -> Vec<Self> {
        let (Self::And(parts) | Self::Or(parts)) = self else {
            return Vec::new();
        };
        let same = |parts: Vec<Self>| match self {
            _ if parts.len() == 1 => parts.into_iter().next().unwrap(),
            Self::And(_) => Self::And(parts),
            _ => Self::Or(parts),
        };
        let mut smaller = parts.clone();
        for at in 0..parts.len() {
            let mut fewer = parts.clone();
            fewer.remove(at);
            smaller.push(same(fewer));
            for part in parts[at].smaller() {
                let mut changed = parts.clone();
                changed[at] = part;
                smaller.push(same(changed));
            }
        }
        smaller
    }
}

impl Operand {
    fn with_inner(&self) -> Vec<&Self> {
        match self {
            Self::Time(_, inner, _) => vec![self, inner],
            Self::Distance(points) => points.iter().chain([self]).collect(),
            _ => vec![self],
        }
    }

    pub fn text(&self, world: &World) -> String {
        match self {
            Self::Number(written) => written.clone(),
            Self::Text(text) => quoted(text),
            Self::Null => "null".to_owned(),
            Self::Bool(flag) => flag.to_string(),
            Self::Macro(name) => (*name).to_owned(),
            Self::Context => "@request.context".to_owned(),
            Self::Method => "@request.method".to_owned(),
            Self::Option(place, name, lower) => {
                format!(
                    "@request.{place}.{name}{}",
                    if *lower { ":lower" } else { "" }
                )
            }
            Self::OptionIsSet(place, name) => format!("@request.{place}.{name}:isset"),
            Self::Body(name) => format!("@request.body.{name}"),
            Self::Member(name) => format!("@request.auth.{name}"),
            Self::Path(path) => path.text(world),
            Self::Time(format, time, shifts) => {
                let shifts: String = shifts.iter().map(|shift| format!(", '{shift}'")).collect();
                format!("strftime('{format}', {}{shifts})", time.text(world))
            }
            Self::Distance(points) => {
                let points: Vec<String> = points.iter().map(|point| point.text(world)).collect();
                format!("geoDistance({})", points.join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}
