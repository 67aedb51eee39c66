//! Random rules over a world, made so that they are true about as often as false.

use super::ast::{Comparison, End, Expression, Modifier, Operand, Path, Start, Step};
use super::chance::Chance;
use super::data::{DAYS, INTS, JSONS, MOMENTS, REALS, TEXTS, UUIDS};
use super::schema::{AUTH_TABLES, Kind, World};

/// Options by the names that rules ask for.
pub const OPTION_NAMES: &[&str] = &["n", "t", "x", "id", "m", "missing"];
pub const OPTION_VALUES: &[&str] = &["5", "", "abc", "-1", "10", "5.0", "ABC", "a%c", "1", "é"];

const OPERATORS: &[(usize, &str)] = &[
    (30, "="),
    (20, "!="),
    (7, ">"),
    (7, ">="),
    (7, "<"),
    (7, "<="),
    (12, "~"),
    (8, "!~"),
];
const MACROS: &[&str] = &[
    "@now",
    "@yesterday",
    "@tomorrow",
    "@todayStart",
    "@todayEnd",
    "@monthStart",
    "@monthEnd",
    "@yearStart",
    "@yearEnd",
    "@second",
    "@minute",
    "@hour",
    "@day",
    "@month",
    "@weekday",
    "@year",
];
const MEMBERS: &[&str] = &[
    "id",
    "id",
    "id",
    "collectionId",
    "collectionName",
    "email",
    "emailVisibility",
    "verified",
];
const JSON_PATHS: &[&[&str]] = &[
    &["a"],
    &["b"],
    &["b", "0"],
    &["b", "1", "a"],
    &["a:lower"],
    &["0"],
    &["1"],
    &["missing"],
    &["lon"],
];
const FORMATS: &[&str] = &["%Y", "%Y-%m-%d", "%d.%m. %H:%M", "%j", "%w", "%s"];
const SHIFTS: &[&str] = &[
    "+1 day",
    "-3 hours",
    "+90 minutes",
    "start of month",
    "start of year",
    "start of day",
];

/// Values of several rows that one rule may look at; more make too many combinations to try.
const MULTI_MAX: usize = 4;

pub struct Generator<'g> {
    pub world: &'g World,
    pub table: usize,
    /// A filter must not name the request.
    pub filter: bool,
    pub chance: Chance,
    multi: usize,
    known: Vec<Path>,
}

impl<'g> Generator<'g> {
    pub fn new(world: &'g World, table: usize, filter: bool, chance: Chance) -> Self {
        Self {
            world,
            table,
            filter,
            chance,
            multi: 0,
            known: Vec::new(),
        }
    }

    pub fn expression(&mut self) -> Expression {
        if !self.filter && self.chance.percent(15) {
            return self.membership();
        }
        let depth = self.chance.below(3);
        self.nested(depth)
    }

    fn nested(&mut self, depth: usize) -> Expression {
        if depth == 0 {
            return Expression::Comparison(self.comparison());
        }
        let parts = (0..2 + self.chance.below(2))
            .map(|_| {
                let depth = self.chance.below(depth);
                self.nested(depth)
            })
            .collect();
        match self.chance.percent(50) {
            true => Expression::And(parts),
            false => Expression::Or(parts),
        }
    }

    /// Several columns of one row of another table: what rules about members look like.
    fn membership(&mut self) -> Expression {
        let table = self.chance.below(self.world.tables.len());
        let alias = self.chance.word(&["", "x"]);
        let start = match self.chance.percent(70) {
            true => Path {
                start: Start::Every(table, alias),
                steps: Vec::new(),
                end: End::Id { lower: false },
            },
            false => self.path(),
        };
        let mut parts: Vec<Expression> = (0..2 + self.chance.below(2))
            .map(|_| {
                let table = start.table_after(self.world, start.steps.len());
                let own = Path {
                    end: self.end(table),
                    ..start.clone()
                };
                let right = self.right(&own);
                let (mut left, mut right) = (Operand::Path(own), right);
                if self.chance.percent(20) {
                    (left, right) = (right, left);
                }
                Expression::Comparison(Comparison {
                    left,
                    operator: self
                        .chance
                        .weighted(&[(6, "="), (1, "!="), (1, "~"), (1, ">=")]),
                    any: self.chance.percent(85),
                    right,
                })
            })
            .collect();
        if self.chance.percent(30) {
            parts.push(Expression::Comparison(self.comparison()));
        }
        if self.chance.percent(30) {
            let other = Expression::Comparison(self.comparison());
            let at = self.chance.below(parts.len());
            let part = parts.remove(at);
            parts.insert(at, Expression::Or(vec![part, other]));
        }
        match self.chance.percent(85) {
            true => Expression::And(parts),
            false => Expression::Or(parts),
        }
    }

    fn comparison(&mut self) -> Comparison {
        let left = self.left();
        let right = match &left {
            Operand::Path(path) => {
                let path = path.clone();
                self.right(&path)
            }
            Operand::Distance(_) => {
                Operand::Number((self.chance.word(&["0", "100.5", "2000", "9000.25"])).to_owned())
            }
            _ => self.literal_or_bound(None),
        };
        let operator = self.chance.weighted(OPERATORS);
        // A pattern cannot be a call.
        let is_call =
            |operand: &Operand| matches!(operand, Operand::Time(..) | Operand::Distance(_));
        let swap = self.chance.percent(20) && !(operator.contains('~') && is_call(&left));
        let (left, right) = if swap { (right, left) } else { (left, right) };
        Comparison {
            left,
            operator,
            any: self.chance.percent(45),
            right,
        }
    }

    fn left(&mut self) -> Operand {
        match self.chance.below(100) {
            0..80 => Operand::Path(self.path()),
            80..88 => self.time(),
            88..94 => self.distance(),
            _ => self.literal_or_bound(None),
        }
    }

    fn right(&mut self, left: &Path) -> Operand {
        if self.chance.percent(25) {
            return Operand::Path(self.path());
        }
        self.literal_or_bound(Some(left))
    }

    fn literal_or_bound(&mut self, like: Option<&Path>) -> Operand {
        let bound = if self.filter { 0 } else { 30 };
        match self.chance.below(100) {
            0..10 => Operand::Macro(self.chance.word(MACROS)),
            10..16 => Operand::Null,
            16..22 => Operand::Bool(self.chance.percent(50)),
            22..28 => Operand::Text(String::new()),
            at if at < 28 + bound => self.bound(),
            _ => self.literal(like),
        }
    }

    fn bound(&mut self) -> Operand {
        let place = self.chance.word(&["query", "query", "headers"]);
        let name = (*self.chance.pick(OPTION_NAMES)).to_owned();
        match self.chance.below(100) {
            0..45 => Operand::Member(self.chance.word(MEMBERS)),
            45..85 => Operand::Option(place, name, self.chance.percent(15)),
            85..92 => Operand::OptionIsSet(place, name),
            92..95 => Operand::Body("t".to_owned()),
            95..98 => Operand::Context,
            _ => Operand::Method,
        }
    }

    /// A value such as the column has, most of the time.
    fn literal(&mut self, like: Option<&Path>) -> Operand {
        let kind = like.and_then(|path| {
            let columns =
                &self.world.tables[path.table_after(self.world, path.steps.len())].columns;
            match &path.end {
                End::Field(_, Modifier::Length) => Some(Kind::Int4),
                End::Field(column, _) => Some(columns[*column].kind),
                End::Id { .. } => Some(columns[0].kind),
                End::Json(..) => None,
            }
        });
        let chance = &mut self.chance;
        let kind = kind.filter(|_| chance.percent(80));
        let number = |chance: &mut Chance| {
            let written = match chance.below(10) {
                0 => "9007199254740993",
                1 => "05",
                2 => "0.1",
                3 => "5.5",
                _ => chance.word(INTS),
            };
            Operand::Number(written.to_owned())
        };
        let text = |text: &str| Operand::Text(text.to_owned());
        match kind {
            Some(Kind::Uuid) => text(chance.word(UUIDS)),
            Some(Kind::Timestamp | Kind::Date) => {
                let date = chance.word(&[
                    "2024",
                    "2024-05-05",
                    "2024-05-05 10:00:00.123Z",
                    "2023-12-31 00:00:00.000Z",
                    "infinity",
                ]);
                let other = if chance.percent(50) {
                    chance.word(MOMENTS)
                } else {
                    chance.word(DAYS)
                };
                text(if chance.percent(80) { date } else { other })
            }
            Some(Kind::Bool) => Operand::Bool(chance.percent(50)),
            Some(kind) if kind.is_number() && chance.percent(60) => number(chance),
            Some(kind) if kind.is_number() => {
                let numbers = if chance.percent(70) { INTS } else { REALS };
                text(chance.word(numbers))
            }
            Some(Kind::Text) => text(match chance.below(4) {
                0 => chance.word(&["k1", "007", "x,y/z?", "K1", "%a%", "_", "a_"]),
                _ => chance.word(TEXTS),
            }),
            _ => match chance.below(10) {
                0..3 => number(chance),
                3..5 => text(chance.word(JSONS)),
                _ => text(chance.word(TEXTS)),
            },
        }
    }

    fn time(&mut self) -> Operand {
        let world = self.world;
        let dated = (0..8).map(|_| self.path()).find(|path| {
            let columns = &world.tables[path.table_after(world, path.steps.len())].columns;
            matches!(&path.end, End::Field(column, Modifier::None)
                if matches!(columns[*column].kind, Kind::Timestamp | Kind::Date) && !columns[*column].list)
        });
        let time = match dated {
            Some(path) if self.chance.percent(80) => Operand::Path(path),
            _ if self.chance.percent(50) => Operand::Macro(self.chance.word(&MACROS[..9])),
            _ => Operand::Text(
                (*self
                    .chance
                    .pick(&["2024-02-29 12:30:45.678Z", "2024-01-31", "", "x"]))
                .to_owned(),
            ),
        };
        let shifts = (0..self.chance.below(3))
            .map(|_| self.chance.word(SHIFTS))
            .collect();
        Operand::Time(self.chance.word(FORMATS), Box::new(time), shifts)
    }

    fn distance(&mut self) -> Operand {
        let mut point = || {
            if self.chance.percent(40) {
                return Operand::Number(
                    (self.chance.word(&["23.3", "42.7", "0", "-10", "100.5"])).to_owned(),
                );
            }
            let path = self.path();
            let columns =
                &self.world.tables[path.table_after(self.world, path.steps.len())].columns;
            match columns.iter().position(|column| column.kind == Kind::Json) {
                Some(json) => Operand::Path(Path {
                    end: End::Json(json, vec![self.chance.word(&["lon", "lat"])]),
                    ..path
                }),
                None => Operand::Path(path),
            }
        };
        Operand::Distance(Box::new([point(), point(), point(), point()]))
    }

    /// A path from somewhere; now and then along one that the rule has taken before.
    fn path(&mut self) -> Path {
        if !self.known.is_empty() && (self.multi >= MULTI_MAX || self.chance.percent(35)) {
            let known = self.chance.pick(&self.known).clone();
            let table = known.table_after(self.world, known.steps.len());
            return Path {
                end: self.end(table),
                ..known
            };
        }
        let every = if self.filter || self.multi >= MULTI_MAX {
            0
        } else {
            12
        };
        let start = match self.chance.below(100) {
            at if at < every => {
                self.multi += 2;
                Start::Every(
                    self.chance.below(self.world.tables.len()),
                    self.chance.word(&["", "", "x"]),
                )
            }
            12..30 if !self.filter => Start::Auth(self.chance.below(AUTH_TABLES)),
            _ => Start::Record(self.table),
        };
        let mut path = Path {
            start,
            steps: Vec::new(),
            end: End::Id { lower: false },
        };
        let steps = self.chance.weighted(&[(45, 0), (30, 1), (17, 2), (8, 3)]);
        let alias = self.world.tables[path.start.table()].alias.as_ref();
        if let Some((_, steps)) =
            alias.filter(|_| self.multi < MULTI_MAX && self.chance.percent(10))
        {
            path.steps.clone_from(steps);
            self.multi += 2;
        }
        for _ in 0..steps {
            let table = path.table_after(self.world, path.steps.len());
            path.steps.extend(self.step(table));
        }
        let table = path.table_after(self.world, path.steps.len());
        path.end = self.end(table);
        self.known.push(path.clone());
        path
    }

    fn step(&mut self, table: usize) -> Option<Step> {
        let few = self.multi >= MULTI_MAX;
        let single = |step: &Step| self.world.is_single(table, *step);
        let mut steps = self.world.steps(table);
        steps.retain(|step| !few || single(step));
        if steps.is_empty() {
            return None;
        }
        let step = *self.chance.pick(&steps);
        self.multi += usize::from(!single(&step));
        Some(step)
    }

    fn end(&mut self, table: usize) -> End {
        let columns = &self.world.tables[table].columns;
        if self.chance.percent(15) {
            return End::Id {
                lower: self.chance.percent(10),
            };
        }
        let at = self.chance.below(columns.len());
        let column = &columns[at];
        if column.name == "id" {
            return End::Id { lower: false };
        }
        if column.kind == Kind::Json && self.chance.percent(65) {
            return End::Json(at, self.chance.pick(JSON_PATHS).to_vec());
        }
        let modifier = match (column.list, column.target.is_some()) {
            (true, _) if self.multi < MULTI_MAX => self.chance.weighted(&[
                (4, Modifier::Each),
                (2, Modifier::None),
                (2, Modifier::Length),
                (1, Modifier::Lower),
            ]),
            (true, _) => self.chance.weighted(&[
                (2, Modifier::None),
                (2, Modifier::Length),
                (1, Modifier::Lower),
            ]),
            (false, true) => self.chance.weighted(&[
                (8, Modifier::None),
                (1, Modifier::Length),
                (1, Modifier::Lower),
            ]),
            (false, false) => self.chance.weighted(&[
                (20, Modifier::None),
                (3, Modifier::Lower),
                (1, Modifier::Length),
                (1, Modifier::Each),
            ]),
        };
        self.multi += usize::from(modifier == Modifier::Each && column.list);
        End::Field(at, modifier)
    }
}
