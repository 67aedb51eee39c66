//! A random schema with random rows: five tables that point to one another, two of them people.

use super::ast::{End, Path, Start, Step};
use super::chance::Chance;
use super::data::fill;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Uuid,
    Int4,
    Int8,
    Numeric,
    Float8,
    Bool,
    Timestamp,
    Date,
    Json,
}

impl Kind {
    pub fn sql(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Numeric => "numeric",
            Self::Float8 => "float8",
            Self::Bool => "bool",
            Self::Timestamp => "timestamptz",
            Self::Date => "date",
            Self::Json => "jsonb",
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Int4 | Self::Int8 | Self::Numeric | Self::Float8)
    }
}

/// Where a column points to: a table, and a column of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub table: usize,
    pub column: usize,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// An array of that kind.
    pub list: bool,
    pub target: Option<Target>,
    pub unique: bool,
    pub not_null: bool,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub key: Vec<usize>,
    pub auth: bool,
    /// A declared name for a path that begins here.
    pub alias: Option<(String, Vec<Step>)>,
    /// Each value as SQL.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A single column that holds ids.
    pub fn id_column(&self) -> Option<usize> {
        match self.key[..] {
            [only] => Some(only),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct World {
    pub tables: Vec<Table>,
}

/// The first tables are those of people.
pub const AUTH_TABLES: usize = 2;

/// A text as SQL.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl World {
    pub fn random(chance: &mut Chance) -> Self {
        let count = AUTH_TABLES + 1 + chance.below(2);
        let mut tables: Vec<Table> = (0..count).map(|at| plain_table(chance, at)).collect();
        let keys: Vec<(Target, Kind)> =
            (0..count).flat_map(|at| targets(&tables[at], at)).collect();
        for (at, table) in tables.iter_mut().enumerate() {
            for number in 0..1 + chance.below(3) {
                let (target, kind) = *chance.pick(&keys);
                table
                    .columns
                    .push(relation(chance, at, number, target, kind));
            }
        }
        tables.push(join_table(chance, count, &keys));
        // Rows after all tables are known: they hold one another's keys.
        let counts: Vec<usize> = tables.iter().map(|_| 3 + chance.below(6)).collect();
        for (at, table) in tables.iter_mut().enumerate() {
            fill(chance, table, at, &counts);
        }
        let mut world = Self { tables };
        for table in 0..world.tables.len() {
            world.tables[table].alias = world.alias(chance, table);
        }
        world
    }

    /// A name for a path to other records.
    fn alias(&self, chance: &mut Chance, table: usize) -> Option<(String, Vec<Step>)> {
        let mut path = Path {
            start: Start::Record(table),
            steps: Vec::new(),
            end: End::Id { lower: false },
        };
        for _ in 0..2 {
            let steps = self.steps(path.table_after(self, path.steps.len()));
            if !steps.is_empty() {
                path.steps.push(*chance.pick(&steps));
            }
        }
        let named = path.steps.len() == 2 && chance.percent(60);
        named.then(|| (format!("way{table}"), path.steps))
    }

    /// Where paths can go on from a table.
    pub fn steps(&self, table: usize) -> Vec<Step> {
        let own = self.tables[table].columns.iter().enumerate();
        let along = own
            .filter(|(_, column)| column.target.is_some())
            .map(|(at, _)| Step::Along(at));
        let tables = self.tables.iter().enumerate();
        let back = tables.flat_map(|(other, described)| {
            let pointing = described.columns.iter().enumerate();
            let points = |column: &Column| column.target.is_some_and(|to| to.table == table);
            pointing
                .filter(move |(_, column)| points(column))
                .map(move |(column, _)| {
                    Step::Back(Target {
                        table: other,
                        column,
                    })
                })
        });
        along.chain(back).collect()
    }

    /// Whether a step leads to one row at most.
    pub fn is_single(&self, table: usize, step: Step) -> bool {
        match step {
            Step::Along(column) => !self.tables[table].columns[column].list,
            Step::Back(from) => self.column(from).unique,
        }
    }

    pub fn column(&self, target: Target) -> &Column {
        &self.tables[target.table].columns[target.column]
    }

    /// Statements that make the tables, fill them and attach them.
    pub fn sql(&self) -> String {
        let create = self.tables.iter().map(create).collect::<String>();
        let insert = self.tables.iter().map(insert).collect::<String>();
        let keys = (0..self.tables.len())
            .map(|at| self.foreign_keys(at))
            .collect::<String>();
        let attach = (0..self.tables.len())
            .map(|at| self.attach(at))
            .collect::<String>();
        [create, insert, keys, attach].concat()
    }

    fn foreign_keys(&self, at: usize) -> String {
        let table = &self.tables[at];
        let foreign = table.columns.iter().filter(|column| !column.list);
        foreign
            .filter_map(|column| {
                let target = column.target?;
                let (name, to) = (&self.tables[target.table].name, &self.column(target).name);
                Some(format!(
                    "alter table {} add foreign key ({}) references {name} ({to});\n",
                    table.name, column.name
                ))
            })
            .collect()
    }

    fn attach(&self, at: usize) -> String {
        let table = &self.tables[at];
        let lists = table.columns.iter().filter(|column| column.list);
        let mut declared: Vec<String> = lists
            .filter_map(|column| {
                let target = &self.tables[column.target?.table].name;
                Some(format!("\"{}\": \"{target}\"", column.name))
            })
            .collect();
        if let Some((name, steps)) = &table.alias {
            let path = Path {
                start: Start::Record(at),
                steps: steps.clone(),
                end: End::Id { lower: false },
            };
            let path = path.prefix(self, steps.len());
            declared.push(format!("\"{name}\": \"{}\"", path.trim_end_matches('.')));
        }
        let auth = if table.auth { ", kind => 'auth'" } else { "" };
        let relations = declared.join(", ");
        format!(
            "select rowcast.attach('{}'{auth}, relations => '{{{relations}}}');\n",
            table.name
        )
    }
}

fn column(name: &str, kind: Kind, list: bool) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        list,
        target: None,
        unique: false,
        not_null: false,
    }
}

fn plain_table(chance: &mut Chance, at: usize) -> Table {
    let auth = at < AUTH_TABLES;
    let key_kind = *chance.pick(&[Kind::Text, Kind::Int4, Kind::Int8, Kind::Uuid]);
    // Whatever it is called, rules know the key as `id`.
    let key_name = if chance.percent(25) { "nr" } else { "id" };
    let mut key = column(key_name, key_kind, false);
    (key.unique, key.not_null) = (true, true);
    let mut columns = vec![key];
    let kinds = [
        ("t", Kind::Text, false),
        ("u", Kind::Text, false),
        ("n", Kind::Int4, false),
        ("i", Kind::Int8, false),
        ("m", Kind::Numeric, false),
        ("f", Kind::Float8, false),
        ("b", Kind::Bool, false),
        ("d", Kind::Timestamp, false),
        ("e", Kind::Date, false),
        ("j", Kind::Json, false),
        ("s", Kind::Text, true),
        ("ns", Kind::Int4, true),
        ("w", Kind::Uuid, false),
    ];
    columns.extend(
        kinds
            .iter()
            .filter(|_| chance.percent(60))
            .map(|&(name, kind, list)| column(name, kind, list)),
    );
    if chance.percent(40) {
        let mut code = column("code", Kind::Text, false);
        (code.unique, code.not_null) = (true, true);
        columns.push(code);
    }
    if auth {
        columns.push(column("email", Kind::Text, false));
        columns.extend(
            chance
                .percent(70)
                .then(|| column("emailVisibility", Kind::Bool, false)),
        );
        columns.extend(
            chance
                .percent(70)
                .then(|| column("verified", Kind::Bool, false)),
        );
    }
    Table {
        name: format!("c{at}"),
        columns,
        key: vec![0],
        auth,
        alias: None,
        rows: Vec::new(),
    }
}

/// What foreign keys may point to.
fn targets(table: &Table, at: usize) -> Vec<(Target, Kind)> {
    let columns = table.columns.iter().enumerate();
    columns
        .filter(|(_, column)| column.unique)
        .map(|(column, described)| (Target { table: at, column }, described.kind))
        .collect()
}

fn relation(chance: &mut Chance, at: usize, number: usize, target: Target, kind: Kind) -> Column {
    // Only the key itself can be declared, and only foreign keys lead elsewhere.
    let list = target.column == 0 && chance.percent(40);
    let name = format!("{}{at}{number}", if list { "rm" } else { "r" });
    Column {
        target: Some(target),
        unique: !list && chance.percent(20),
        ..column(&name, kind, list)
    }
}

/// Keys of two tables and nothing else that identifies a row.
fn join_table(chance: &mut Chance, at: usize, keys: &[(Target, Kind)]) -> Table {
    let mut columns: Vec<Column> = (0..2)
        .map(|number| {
            let (target, kind) = *chance.pick(keys);
            Column {
                target: Some(target),
                not_null: true,
                ..column(&format!("r{at}{number}"), kind, false)
            }
        })
        .collect();
    columns.push(column("t", Kind::Text, false));
    columns.push(column("n", Kind::Int4, false));
    Table {
        name: format!("c{at}"),
        columns,
        key: vec![0, 1],
        auth: false,
        alias: None,
        rows: Vec::new(),
    }
}

fn create(table: &Table) -> String {
    let columns = table.columns.iter().map(|column| {
        let list = if column.list { "[]" } else { "" };
        let null = if column.not_null { " not null" } else { "" };
        let unique = if column.unique && column.name != table.columns[0].name {
            " unique"
        } else {
            ""
        };
        format!(
            "\"{}\" {}{list}{null}{unique}",
            column.name,
            column.kind.sql()
        )
    });
    let key: Vec<&str> = table
        .key
        .iter()
        .map(|&column| &*table.columns[column].name)
        .collect();
    let columns: Vec<String> = columns.collect();
    format!(
        "create table {} ({}, primary key ({}));\n",
        table.name,
        columns.join(", "),
        key.join(", ")
    )
}

fn insert(table: &Table) -> String {
    let rows: Vec<String> = table
        .rows
        .iter()
        .map(|row| format!("({})", row.join(", ")))
        .collect();
    format!("insert into {} values {};\n", table.name, rows.join(", "))
}
