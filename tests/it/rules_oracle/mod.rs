//! The rule language against a judge: random rules over random tables, decided by Rowcast and by Postgres.
//!
//! The judge is a translation of rules to SQL of its own (`sql.rs`, `oracle.sql`), written from the contract
//! and naive on purpose. Every row, every principal and every rule must come out the same.
//!
//! ```text
//! ROWCAST_ORACLE_CASES=10000000 cargo test --test it rules_oracle    a longer run
//! ROWCAST_ORACLE_SEED=7 cargo test --test it rules_oracle            the run that a failure names
//! ```

mod ast;
mod chance;
mod data;
mod generate;
mod paths;
mod product;
mod schema;
mod sql;
mod values;

use std::collections::BTreeMap;
use std::env;

use jiff::Timestamp;
use tokio_postgres::Client;

use crate::support::feed::run;
use crate::support::{TestDatabase, client, database};
use ast::Expression;
use chance::Chance;
use generate::{Generator, OPTION_NAMES, OPTION_VALUES};
use product::{Asked, Asker, Gates, Product};
use schema::{AUTH_TABLES, World, quoted};
use sql::{Question, statement};

const CASES: usize = 100_000;
const SEED: u64 = 20_240_505;
/// Rules over one random world.
const RULES_PER_WORLD: usize = 200;
/// Of one kind, per world: guests, and people of each table.
const ASKERS: usize = 3;
/// Moments at which all macros are different, and some are at their ends.
const MOMENTS: &[&str] = &[
    "2024-02-29 23:05:06.789",
    "2024-05-05 10:00:00.123",
    "2023-12-31 00:00:00.000",
];

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A world in a database, and those who ask.
struct Site {
    world: World,
    product: Product,
    askers: Vec<Asker>,
    gates: Gates,
    client: Client,
    _database: TestDatabase,
}

/// A rule, and what it is about.
struct Case<'s> {
    site: &'s Site,
    table: usize,
    filter: bool,
    now: &'static str,
}

#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    rules: usize,
    yes: usize,
    /// Rules that one of the two kinds of people cannot ask.
    refused: usize,
}

/// Where the two disagree.
struct Difference {
    row: usize,
    asker: usize,
    expected: bool,
    decided: String,
}

impl Site {
    async fn new(mut chance: Chance) -> Self {
        let world = World::random(&mut chance);
        let database = database().await;
        let client = client(&database.url).await;
        run(&client, "set time zone 'UTC'; set jit = off; set join_collapse_limit = 1; set from_collapse_limit = 1").await;
        run(&client, &world.sql()).await;
        run(&client, include_str!("oracle.sql")).await;
        run(&client, &copies(&world)).await;
        let product = Product::new(&world, &database.url, &client).await;
        let mut site = Self {
            world,
            product,
            askers: Vec::new(),
            gates: Gates::default(),
            client,
            _database: database,
        };
        site.invite(&mut chance);
        site.close(&mut chance);
        let statements = [site.askers_sql(), site.visible_sql()].concat();
        run(&site.client, &statements).await;
        site
    }

    fn invite(&mut self, chance: &mut Chance) {
        let guests = std::iter::repeat_n(None, 2);
        let tables = (0..AUTH_TABLES).flat_map(|table| {
            (0..self.product.rows[table].len().min(ASKERS)).map(move |row| Some((table, row)))
        });
        for auth in guests.chain(tables) {
            let mut options = || {
                let names = OPTION_NAMES.iter().filter(|name| **name != "missing");
                let pairs = names.filter_map(|name| {
                    let value = *chance.pick(OPTION_VALUES);
                    chance
                        .percent(70)
                        .then(|| ((*name).to_owned(), value.to_owned()))
                });
                pairs.collect()
            };
            self.askers.push(Asker {
                auth,
                query: options(),
                headers: options(),
            });
        }
    }

    fn close(&mut self, chance: &mut Chance) {
        self.gates.locked = (0..self.world.tables.len())
            .filter(|_| chance.percent(10))
            .collect();
        for asker in 0..self.askers.len() {
            for (table, rows) in self.product.rows.iter().enumerate() {
                for row in rows.iter().filter(|_| chance.percent(70)) {
                    self.gates
                        .visible
                        .insert((asker, table, row.id.to_string()));
                }
            }
        }
    }

    fn askers_sql(&self) -> String {
        let json =
            |options: &BTreeMap<String, String>| quoted(&serde_json::to_string(options).unwrap());
        let askers = self.askers.iter().enumerate().map(|(ord, asker)| {
            let person = match (asker.auth, self.product.auth_values(asker)) {
                (Some((table, _)), Some(values)) => format!(
                    "{}, {}, {}, {}, {}, {}",
                    quoted(&values.collection_name),
                    quoted(&values.id),
                    quoted(&self.product.collection_id(table)),
                    quoted(&values.email),
                    values.email_visibility,
                    values.verified
                ),
                _ => "null, null, null, null, null, null".to_owned(),
            };
            format!(
                "insert into oracle.principal values ({ord}, {person}, {}, {});\n",
                json(&asker.query),
                json(&asker.headers)
            )
        });
        askers.collect()
    }

    fn visible_sql(&self) -> String {
        let rows = self.gates.visible.iter();
        let rows = rows.map(|(asker, table, id)| {
            format!(
                "insert into oracle.visible values ({asker}, 'c{table}', {});\n",
                quoted(id)
            )
        });
        rows.collect::<String>() + "analyze oracle.visible"
    }
}

/// Copies of the tables with what the oracle adds: the record's id, and its place among the rows.
fn copies(world: &World) -> String {
    let copy = |table: &schema::Table| {
        let key = table.key.iter().map(|&column| {
            let text = format!("\"{}\"::text", table.columns[column].name);
            match table.key.len() {
                1 => text,
                _ => format!("replace(replace(replace(replace({text}, '%', '%25'), ',', '%2C'), '/', '%2F'), '?', '%3F')"),
            }
        });
        let id = key.collect::<Vec<_>>().join(" || ',' || ");
        format!(
            "create table oracle.{0} as select *, true as found, {id} as rid,
                (row_number() over (order by ({id}) collate \"C\") - 1)::int as ord from public.{0};\n",
            table.name
        )
    };
    world.tables.iter().map(copy).collect()
}

impl Case<'_> {
    fn moment(&self) -> Timestamp {
        format!("{}Z", self.now).parse().unwrap()
    }

    /// Asks both about all rows and principals.
    async fn compare(&self, expression: &Expression, tally: &mut Tally) -> Option<Difference> {
        let scopes: Vec<Option<Option<usize>>> = match expression.looks_into_auth() {
            true => [None, Some(0), Some(1)].into_iter().map(Some).collect(),
            false => vec![None],
        };
        for scope in scopes {
            if let Some(difference) = self.compare_in(scope, expression, tally).await {
                return Some(difference);
            }
        }
        None
    }

    async fn compare_in(
        &self,
        scope: Option<Option<usize>>,
        expression: &Expression,
        tally: &mut Tally,
    ) -> Option<Difference> {
        let site = self.site;
        let text = expression.text(&site.world);
        let asked = Asked {
            text: &text,
            table: self.table,
            scope: scope.flatten(),
            filter: self.filter.then_some(&site.gates),
            now: self.moment(),
        };
        let askers = site.askers.iter().enumerate();
        let askers: Vec<_> = askers
            .filter(|(_, asker)| scope.is_none_or(|table| asker.auth.map(|auth| auth.0) == table))
            .collect();
        let decided = match site.product.decide(&asked, &askers).await {
            Ok(decided) => decided,
            Err(error) => {
                // Of all that is refused, only what nobody but the others has: rows that point to them.
                let others = expression.looks_into_auth() && scope.flatten().is_some();
                assert!(
                    others && error.summary().contains("_via_"),
                    "{text}: {error}"
                );
                tally.refused += 1;
                return None;
            }
        };
        let question = Question {
            world: &site.world,
            table: self.table,
            auth: scope,
            locked: self.filter.then_some(&site.gates.locked),
            now: self.now,
        };
        let sql = statement(question, expression);
        let rows = match site.client.query(&sql, &[]).await {
            Ok(rows) => rows,
            Err(error) => panic!("{text}\n{sql}\n{error:?}"),
        };
        assert_eq!(rows.len(), decided.len() * askers.len(), "{text}\n{sql}");
        tally.rules += 1;
        tally.cases += rows.len();
        let mut difference = None;
        for row in rows {
            let (ord, asker, expected): (i32, i32, bool) = (row.get(0), row.get(1), row.get(2));
            let (ord, asker) = (
                usize::try_from(ord).unwrap(),
                usize::try_from(asker).unwrap(),
            );
            let at = askers
                .iter()
                .position(|(place, _)| *place == asker)
                .unwrap();
            tally.yes += usize::from(expected);
            match &decided[ord][at] {
                Ok(decided) if *decided == expected => {}
                // No rule here is too much: what is not decided is wrong, too.
                other => {
                    difference = difference.or(Some(Difference {
                        row: ord,
                        asker,
                        expected,
                        decided: format!("{other:?}"),
                    }));
                }
            }
        }
        difference
    }

    /// Leaves parts out as long as the two disagree.
    async fn shrink(
        &self,
        mut expression: Expression,
        mut difference: Difference,
    ) -> (Expression, Difference) {
        'smaller: loop {
            for smaller in expression.smaller() {
                if let Some(found) = self.compare(&smaller, &mut Tally::default()).await {
                    (expression, difference) = (smaller, found);
                    continue 'smaller;
                }
            }
            return (expression, difference);
        }
    }

    async fn report(&self, expression: Expression, difference: Difference) -> String {
        let (expression, difference) = self.shrink(expression, difference).await;
        let site = self.site;
        let row = &site.product.rows[self.table][difference.row];
        let asker = &site.askers[difference.asker];
        format!(
            "{} of c{}: {}\n  row {}\n  asker {asker:?} {:?}\n  expected {}, decided {}\n",
            if self.filter { "filter" } else { "rule" },
            self.table,
            expression.text(&site.world),
            row.image.json(),
            site.product
                .auth_values(asker)
                .map(|values| serde_json::to_string(&values.fields).unwrap()),
            difference.expected,
            difference.decided
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_decides_as_postgres_does() {
    let seed = setting("ROWCAST_ORACLE_SEED", SEED);
    let wanted = setting("ROWCAST_ORACLE_CASES", CASES);
    let reports_max = setting("ROWCAST_ORACLE_REPORTS", 5);
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    while tally.cases < wanted && wrong.len() < reports_max {
        let site = Site::new(chance.branch()).await;
        for _ in 0..RULES_PER_WORLD {
            let mut chance = chance.branch();
            let case = Case {
                site: &site,
                table: chance.below(site.world.tables.len()),
                filter: chance.percent(20),
                now: chance.word(MOMENTS),
            };
            let expression =
                Generator::new(&site.world, case.table, case.filter, chance).expression();
            if let Some(difference) = case.compare(&expression, &mut tally).await {
                wrong.push(case.report(expression, difference).await);
                if wrong.len() >= reports_max {
                    break;
                }
            }
        }
    }
    println!("seed {seed}: {tally:?}");
    assert!(
        wrong.is_empty(),
        "ROWCAST_ORACLE_SEED={seed}\n{}",
        wrong.join("\n")
    );
}
