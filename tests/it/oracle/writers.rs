//! Random transactions of all kinds, from several writers in each other's way.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use super::world::{Collection, PEOPLE, TEAMS};

/// Records have keys made from the integers below this, and a little above.
const KEYS: u32 = 24;

/// One writer, and how many statements it still has to try.
pub struct Writer {
    pub url: String,
    pub seed: u64,
    pub steps: usize,
    pub collections: Vec<Collection>,
    /// Postgres 15 and later.
    pub has_merge: bool,
}

impl Writer {
    /// Writes until all steps are tried; deadlocks, broken rules and lost connections are part of the game.
    pub async fn run(self) {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut left = self.steps;
        while left > 0 {
            let Ok((client, connection)) = tokio_postgres::connect(&self.url, NoTls).await else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let driver = tokio::spawn(connection);
            let _ = client
                .batch_execute("set application_name = 'oracle writer'; set deadlock_timeout = '5ms'; set lock_timeout = '400ms'")
                .await;
            while left > 0 && !client.is_closed() {
                if self.transact(&mut rng, &client, &mut left).await.is_err() {
                    let _ = client.batch_execute("rollback").await;
                }
            }
            drop(client);
            let _ = driver.await;
        }
    }

    async fn transact(
        &self,
        rng: &mut StdRng,
        client: &Client,
        left: &mut usize,
    ) -> Result<(), tokio_postgres::Error> {
        // Drawn as a whole beforehand: what the database answers must not change what is drawn later.
        let statements = self.draw(rng);
        for statement in statements {
            *left = left.saturating_sub(usize::from(!is_bracket(&statement)));
            client.batch_execute(&statement).await?;
            if rng.random_bool(0.2) {
                sleep(Duration::from_micros(rng.random_range(0..9_000))).await;
            }
        }
        Ok(())
    }

    fn draw(&self, rng: &mut StdRng) -> Vec<String> {
        let isolation = [
            "read committed",
            "read committed",
            "read committed",
            "repeatable read",
            "serializable",
        ];
        let isolation = isolation[rng.random_range(0..isolation.len())];
        let mut statements = vec![format!("begin isolation level {isolation}")];
        for _ in 0..rng.random_range(1..=4) {
            if rng.random_bool(0.15) {
                self.savepoint(rng, isolation, 1, &mut statements);
            }
            statements.push(self.statement(rng, isolation));
        }
        let end = if rng.random_bool(0.1) {
            "rollback"
        } else {
            "commit"
        };
        statements.push(end.to_owned());
        without_returns(statements)
    }

    /// A savepoint that is kept or not, perhaps with others within.
    fn savepoint(&self, rng: &mut StdRng, isolation: &str, depth: u32, into: &mut Vec<String>) {
        into.push(format!("savepoint s{depth}"));
        into.push(self.statement(rng, isolation));
        if depth < 3 && rng.random_bool(0.3) {
            self.savepoint(rng, isolation, depth + 1, into);
            into.push(self.statement(rng, isolation));
        }
        let end = if rng.random_bool(0.6) {
            "rollback to"
        } else {
            "release"
        };
        into.push(format!("{end} s{depth}"));
    }

    fn statement(&self, rng: &mut StdRng, isolation: &str) -> String {
        let table = &self.collections[rng.random_range(0..self.collections.len())];
        let (name, k, span) = (
            table.name,
            rng.random_range(0..KEYS),
            rng.random_range(0..5),
        );
        let range = format!("k between {k} and {}", k + span);
        match rng.random_range(0..42) {
            0..=11 => insert(rng, table, k, span),
            12..=21 => format!(
                "update {name} set {} where {range}",
                assignments(rng, table)
            ),
            22..=24 => {
                // Farther than the range is wide, so that no record takes the place of another in the same statement.
                let shift = rng.random_range(5..=9);
                format!(
                    "update {name} set ({0}, k) = row({1}, k + {shift}) where {range}",
                    table.key.columns(),
                    table.key.values(&format!("k + {shift}")).join(", ")
                )
            }
            25..=30 => format!("delete from {name} where {range}"),
            31..=32 => {
                // Not the same one: a record that goes and comes in one statement of a partitioned table is
                // told as an update, because a row that moves between partitions looks like that.
                let others: Vec<_> = self
                    .collections
                    .iter()
                    .filter(|other| other.name != name)
                    .collect();
                let other = others[rng.random_range(0..others.len())];
                format!(
                    "with gone as (delete from {name} where {range} returning k) {}",
                    insert_from(rng, other, "(select distinct k from gone)")
                )
            }
            33..=35 if self.has_merge => merge(rng, table, k, span),
            36..=37 => in_a_block(rng, table, k, span),
            // A transaction with an older view of the table cannot list what it empties.
            38 if isolation == "read committed" => format!("truncate {name} cascade"),
            40 => bulk_insert(rng, table),
            41 => format!("update {name} set {}", assignments(rng, table)),
            _ => format!("update {name} set n = n + 1 where {range}"),
        }
    }
}

/// Many rows at once, most of which are there already or will be moved there.
fn bulk_insert(rng: &mut StdRng, table: &Collection) -> String {
    let (from, count) = (rng.random_range(0..20), rng.random_range(30..60));
    let source = format!("generate_series({from}, {}) k", from + count);
    let statement = insert_from(rng, table, &source);
    format!("{statement} on conflict do nothing")
}

/// A record of a partitioned table that goes and comes back in one transaction, with nothing in between, is told
/// as an update, because a row that moves between partitions looks like that. Here what is gone stays gone.
fn without_returns(mut statements: Vec<String>) -> Vec<String> {
    let takes = |statement: &str| {
        ["delete from parts", "truncate parts", "merge into parts"]
            .iter()
            .any(|verb| statement.contains(verb))
    };
    let gives = |statement: &str| {
        ["insert into parts", "merge into parts"]
            .iter()
            .any(|verb| statement.contains(verb))
    };
    let mut taken = false;
    statements.retain(|statement| {
        let returns = taken && gives(statement);
        taken |= takes(statement);
        !returns
    });
    statements
}

/// Begins, ends and savepoints are no steps.
fn is_bracket(statement: &str) -> bool {
    ["begin", "commit", "rollback", "savepoint", "release"]
        .iter()
        .any(|word| statement.starts_with(word))
}

/// Random values for all columns that are no key: names, then values.
fn values(rng: &mut StdRng, table: &Collection) -> Vec<(&'static str, String)> {
    let titles = [
        "'ab'",
        "'Abba'",
        "'x<y> & \"é\"'",
        "''",
        "null",
        "'red'",
        "'blue'",
    ];
    let statuses = ["'open'", "'closed'", "'new'"];
    let owner = if rng.random_bool(0.8) {
        format!("'{}'", PEOPLE[rng.random_range(0..PEOPLE.len())])
    } else {
        "null".to_owned()
    };
    let watchers: Vec<_> = PEOPLE
        .iter()
        .filter(|_| rng.random_bool(0.3))
        .copied()
        .collect();
    let mut values = vec![
        ("n", format!("{}", rng.random_range(0..20))),
        (
            "title",
            titles[rng.random_range(0..titles.len())].to_owned(),
        ),
        (
            "status",
            statuses[rng.random_range(0..statuses.len())].to_owned(),
        ),
        ("owner", owner),
        ("watchers", format!("'{{{}}}'", watchers.join(","))),
        ("secret", format!("'s{}'", rng.random_range(0..3))),
    ];
    if table.is_child {
        values.push((
            "box",
            format!(
                "(select id from boxes where k = {})",
                rng.random_range(0..KEYS)
            ),
        ));
    }
    values
}

fn assignments(rng: &mut StdRng, table: &Collection) -> String {
    let mut values = values(rng, table);
    let keep = rng.random_range(1..=values.len());
    while values.len() > keep {
        values.remove(rng.random_range(0..values.len()));
    }
    let each: Vec<_> = values
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    each.join(", ")
}

fn insert(rng: &mut StdRng, table: &Collection, k: u32, span: u32) -> String {
    let source = format!("generate_series({k}, {}) k", k + span);
    let statement = insert_from(rng, table, &source);
    let (key, more) = (table.key.columns(), rng.random_range(0..5));
    match more {
        0 => statement,
        1 | 2 => format!("{statement} on conflict do nothing"),
        _ => format!(
            "{statement} on conflict ({key}) do update set {}",
            assignments(rng, table)
        ),
    }
}

fn insert_from(rng: &mut StdRng, table: &Collection, source: &str) -> String {
    let (names, values): (Vec<_>, Vec<_>) = values(rng, table).into_iter().unzip();
    let from = if source.starts_with('(') {
        format!("{source} s")
    } else {
        source.to_owned()
    };
    // The stamp comes from the trigger.
    format!(
        "insert into {} ({}, k, {}, v) select {}, k, {}, 0 from {from}",
        table.name,
        table.key.columns(),
        names.join(", "),
        table.key.values("k").join(", "),
        values.join(", "),
    )
}

fn merge(rng: &mut StdRng, table: &Collection, k: u32, span: u32) -> String {
    let (names, values): (Vec<_>, Vec<_>) = values(rng, table).into_iter().unzip();
    format!(
        "merge into {0} t using generate_series({k}, {1}) s (i) on t.k = s.i
         when matched and t.n % 3 = 0 then delete
         when matched then update set {2}
         when not matched then insert ({3}, k, {4}, v) values ({5}, i, {6}, 0)",
        table.name,
        k + span,
        assignments(rng, table),
        table.key.columns(),
        names.join(", "),
        table.key.values("i").join(", "),
        values.join(", "),
    )
}

/// Statements in a loop, each in a subtransaction, some of which fail.
fn in_a_block(rng: &mut StdRng, table: &Collection, k: u32, span: u32) -> String {
    let insert = insert_from(rng, table, "generate_series(i, i) k");
    let team = TEAMS[rng.random_range(0..TEAMS.len())];
    format!(
        "do $$ begin for i in {k}..{} loop
            begin {insert}; exception when unique_violation then
                update {} set title = '{team}' where k = i;
            end;
         end loop; end $$",
        k + span,
        table.name,
    )
}
