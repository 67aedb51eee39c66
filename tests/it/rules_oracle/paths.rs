//! Paths as joins.

use super::ast::{End, Modifier, Path, Start, Step};
use super::schema::{Kind, quoted};
use super::sql::{Joins, Side, Writer};
use super::values::{guarded, member, value};

impl Writer<'_> {
    pub fn is_number(&self, name: &str) -> bool {
        let columns = &self.question.world.tables[self.question.table].columns;
        let is_it = |kind: Kind, list: bool| kind.is_number() && !list;
        name != "id"
            && columns
                .iter()
                .any(|column| column.name == name && is_it(column.kind, column.list))
    }

    pub fn path(&mut self, joins: &mut Joins, path: &Path) -> Side {
        let nothing = Side {
            value: "null::jsonb".to_owned(),
            origin: 'b',
            multi: false,
            conditions: Vec::new(),
        };
        if let Some(name) = self.member_name(path) {
            let lower = matches!(
                path.end,
                End::Id { lower: true } | End::Field(_, Modifier::Lower)
            );
            let value = member(name);
            let value = if lower {
                format!("oracle.lower({value})")
            } else {
                value
            };
            return Side { value, ..nothing };
        }
        let Some(path) = &self.as_asked(path) else {
            return nothing;
        };
        let world = self.question.world;
        let steps = path.steps.len();
        if let (End::Id { lower: false }, Some(Step::Along(column))) =
            (&path.end, path.steps.last())
        {
            let table = path.table_after(world, steps - 1);
            let key = &world.tables[table].columns[*column];
            let target = key.target.unwrap();
            if !key.list && world.tables[target.table].id_column() == Some(target.column) {
                let (row, multi) = self.row(joins, path, steps - 1);
                return Side {
                    value: guarded(
                        &row,
                        &format!("to_jsonb(coalesce({row}.\"{}\"::text, ''))", key.name),
                    ),
                    origin: 't',
                    multi,
                    ..nothing
                };
            }
        }
        let (row, multi) = self.row(joins, path, steps);
        let side = Side { multi, ..nothing };
        match &path.end {
            End::Id { lower } => Side {
                value: if *lower {
                    format!("oracle.lower(to_jsonb({row}.rid))")
                } else {
                    format!("to_jsonb({row}.rid)")
                },
                origin: if *lower { 'c' } else { 't' },
                ..side
            },
            End::Json(column, segments) => {
                let table = path.table_after(world, steps);
                let name = &world.tables[table].columns[*column].name;
                let found = segments
                    .iter()
                    .fold(format!("{row}.\"{name}\""), |json, segment| {
                        match segment.parse::<usize>() {
                            Ok(at) => format!("oracle.item({json}, {at})"),
                            Err(_) => format!("({json} -> '{}')", segment.replace(':', "")),
                        }
                    });
                Side {
                    value: format!("oracle.of_json({found})"),
                    origin: 'j',
                    ..side
                }
            }
            End::Field(column, modifier) => {
                self.field(joins, path, &row, side, (*column, *modifier))
            }
        }
    }

    /// The path as it is for those who ask: their record may have a field of that name, too; `None` if it
    /// has not, or there is no record.
    fn as_asked(&self, path: &Path) -> Option<Path> {
        let Start::Auth(meant) = path.start else {
            return Some(path.clone());
        };
        let asking = self.question.auth.flatten()?;
        if asking == meant {
            return Some(path.clone());
        }
        let tables = &self.question.world.tables;
        let named = |column: usize| {
            let name = &tables[meant].columns[column].name;
            tables[asking]
                .columns
                .iter()
                .position(|column| column.name == *name)
        };
        let end = match &path.end {
            _ if !path.steps.is_empty() => return None,
            End::Field(column, modifier) => End::Field(named(*column)?, *modifier),
            End::Json(column, segments) => End::Json(named(*column)?, segments.clone()),
            End::Id { .. } => path.end.clone(),
        };
        Some(Path {
            start: Start::Auth(asking),
            steps: Vec::new(),
            end,
        })
    }

    /// One of the six members that every auth record has.
    fn member_name(&self, path: &Path) -> Option<&'static str> {
        let Start::Auth(table) = path.start else {
            return None;
        };
        let columns = &self.question.world.tables[table].columns;
        match path.end {
            _ if !path.steps.is_empty() => None,
            End::Id { .. } => Some("id"),
            End::Field(column, _) => ["email", "emailVisibility", "verified"]
                .into_iter()
                .find(|name| *name == columns[column].name),
            End::Json(..) => None,
        }
    }

    fn field(
        &mut self,
        joins: &mut Joins,
        path: &Path,
        row: &str,
        side: Side,
        end: (usize, Modifier),
    ) -> Side {
        let (column, modifier) = end;
        let world = self.question.world;
        let table = &world.tables[path.table_after(world, path.steps.len())];
        let column = &table.columns[column];
        let stored = format!("{row}.\"{}\"", column.name);
        let mut side = side;
        if self.question.locked.is_some() && table.auth && column.name == "email" {
            let shown = table
                .columns
                .iter()
                .any(|column| column.name == "emailVisibility");
            let condition = if shown {
                format!("{row}.\"emailVisibility\" is true")
            } else {
                "false".to_owned()
            };
            side.conditions.push(condition);
        }
        let with = |value: String, origin: char| Side {
            value,
            origin,
            ..side.clone()
        };
        match modifier {
            Modifier::Each if column.list => {
                let prefix = format!(
                    "{}{}:each",
                    path.prefix(world, path.steps.len()),
                    column.name
                );
                let item = self.joined(joins, &prefix, |alias| {
                    format!("left join lateral unnest({stored}) {alias} (k) on true ")
                });
                Side {
                    multi: true,
                    ..with(format!("to_jsonb({item}.k)"), 'c')
                }
            }
            Modifier::Length if column.list => {
                with(format!("to_jsonb(coalesce(cardinality({stored}), 0))"), 'c')
            }
            Modifier::Length if column.target.is_some() => with(
                format!("to_jsonb((coalesce({stored}::text, '') <> '')::int)"),
                'c',
            ),
            Modifier::None | Modifier::Lower | Modifier::Length | Modifier::Each => {
                let (value, origin) = value(column.kind, column.list, &stored);
                let value = guarded(row, &value);
                match modifier {
                    Modifier::Lower => with(
                        format!("oracle.lower({value})"),
                        if origin == 'j' { 'j' } else { 'c' },
                    ),
                    _ => with(value, origin),
                }
            }
        }
    }

    /// The alias that a prefix is joined under.
    fn joined(
        &mut self,
        joins: &mut Joins,
        prefix: &str,
        sql: impl FnOnce(&str) -> String,
    ) -> String {
        if let Some((_, alias)) = joins.known.iter().find(|(known, _)| known == prefix) {
            return alias.clone();
        }
        let alias = self.alias('j');
        joins.sql += &sql(&alias);
        joins.known.push((prefix.to_owned(), alias.clone()));
        alias
    }

    /// The row that some steps lead to, and whether there may be several.
    fn row(&mut self, joins: &mut Joins, path: &Path, steps: usize) -> (String, bool) {
        let world = self.question.world;
        let prefix = path.prefix(world, steps);
        let table = path.table_after(world, steps);
        let name = world.tables[table].name.clone();
        if steps == 0 {
            return match path.start {
                Start::Record(_) => ("r".to_owned(), false),
                Start::Auth(_) => ("a".to_owned(), false),
                Start::Every(..) => {
                    let sql = |alias: &str| format!("left join oracle.{name} {alias} on true ");
                    (self.row_joined(joins, &prefix, table, sql), true)
                }
            };
        }
        let (from, multi) = self.row(joins, path, steps - 1);
        let own = &world.tables[path.table_after(world, steps - 1)];
        match path.steps[steps - 1] {
            Step::Along(column) => {
                let column = &own.columns[column];
                let (key, to) = (&column.name, &world.column(column.target.unwrap()).name);
                let sql = |alias: &str| match column.list {
                    true => format!(
                        "left join lateral unnest({from}.\"{key}\") k{alias} (k) on true \
                         left join oracle.{name} {alias} on {alias}.\"{to}\" = k{alias}.k "
                    ),
                    false => format!(
                        "left join oracle.{name} {alias} on {alias}.\"{to}\" = {from}.\"{key}\" "
                    ),
                };
                (
                    self.row_joined(joins, &prefix, table, sql),
                    multi || column.list,
                )
            }
            Step::Back(pointing) => {
                let column = world.column(pointing);
                let (key, to) = (&column.name, &world.column(column.target.unwrap()).name);
                let sql = |alias: &str| match column.list {
                    true => format!(
                        "left join oracle.{name} {alias} on {from}.\"{to}\" = any ({alias}.\"{key}\") "
                    ),
                    false => format!(
                        "left join oracle.{name} {alias} on {alias}.\"{key}\" = {from}.\"{to}\" "
                    ),
                };
                (
                    self.row_joined(joins, &prefix, table, sql),
                    multi || column.list || !column.unique,
                )
            }
        }
    }

    fn row_joined(
        &mut self,
        joins: &mut Joins,
        prefix: &str,
        table: usize,
        sql: impl FnOnce(&str) -> String,
    ) -> String {
        let known = joins.known.len();
        let alias = self.joined(joins, prefix, sql);
        if joins.known.len() > known {
            joins.tables.push(table);
            if self.question.locked.is_some() {
                joins.conditions.push(format!(
                    "({alias}.rid is null or exists (select from oracle.visible v where v.principal = p.ord \
                     and v.collection = {} and v.rid = {alias}.rid))",
                    quoted(&self.question.world.tables[table].name)
                ));
            }
        }
        alias
    }
}
