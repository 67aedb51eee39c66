//! Casbin's way to `rowcast.casbin_rule`, so that its management API edits the policy that we serve.

use std::error::Error as StdError;

use async_trait::async_trait;
use casbin::error::AdapterError;
use casbin::{Adapter, Enforcer, Filter, Model};

use super::reference;
use super::rows::{PolicyRows, Values};
use crate::db::Database;

const ADD_ROW: &str = include_str!("../../sql/policy/add_row.sql");
const REMOVE_ROW: &str = include_str!("../../sql/policy/remove_row.sql");
const REMOVE_MATCHING: &str = include_str!("../../sql/policy/remove_matching.sql");
const CLEAR: &str = include_str!("../../sql/policy/clear.sql");

/// An enforcer over our model whose edits (`add_policy`, `add_role_for_user`, …) are written to the
/// database and reach open streams from there.
///
/// What it was loaded with does not change when others edit; call its `load_policy` again.
///
/// # Errors
/// If the policy cannot be loaded.
pub async fn enforcer(database: &Database) -> casbin::Result<Enforcer> {
    reference::over(PolicyAdapter::new(database.clone())).await
}

/// Loads and edits the policy for casbin.
pub struct PolicyAdapter {
    database: Database,
    is_filtered: bool,
}

impl PolicyAdapter {
    /// An adapter for the policy of this database; nothing happens before it is used.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            is_filtered: false,
        }
    }

    async fn rows(&self) -> casbin::Result<PolicyRows> {
        let client = self.database.pool().get().await.map_err(failed)?;
        PolicyRows::read(&**client).await.map_err(failed)
    }

    /// Runs a statement for each list of values; the number of rows each of them changed.
    async fn execute(
        &self,
        statement: &str,
        ptype: &str,
        all: &[Values],
    ) -> casbin::Result<Vec<u64>> {
        let mut client = self.database.pool().get().await.map_err(failed)?;
        let transaction = client.transaction().await.map_err(failed)?;
        let mut changed = Vec::with_capacity(all.len());
        for values in all {
            let rows = transaction
                .execute(statement, &[&ptype, &&values[..]])
                .await;
            changed.push(rows.map_err(failed)?);
        }
        // All or nothing, as casbin will take only all of them for done.
        if changed.contains(&0) {
            transaction.rollback().await.map_err(failed)?;
        } else {
            transaction.commit().await.map_err(failed)?;
        }
        Ok(changed)
    }

    async fn execute_all(
        &self,
        statement: &str,
        ptype: &str,
        rules: Vec<Vec<String>>,
    ) -> casbin::Result<bool> {
        let all = rules.into_iter().map(|rule| padded(0, rule));
        let all: Vec<Values> = all.collect::<Result<_, _>>()?;
        Ok(!self.execute(statement, ptype, &all).await?.contains(&0))
    }
}

#[async_trait]
impl Adapter for PolicyAdapter {
    async fn load_policy(&mut self, model: &mut dyn Model) -> casbin::Result<()> {
        let rows = self.rows().await?;
        reference::fill(model, &rows.rules, &rows.grants);
        self.is_filtered = false;
        Ok(())
    }

    async fn load_filtered_policy<'a>(
        &mut self,
        model: &mut dyn Model,
        filter: Filter<'a>,
    ) -> casbin::Result<()> {
        let mut rows = self.rows().await?;
        let before = (rows.rules.len(), rows.grants.len());
        rows.rules.retain(|row| {
            let values: [&str; 5] = [
                &row.subject,
                &row.collection,
                &row.kind,
                &row.rule,
                row.effect.as_str(),
            ];
            passes(&filter.p, &values)
        });
        rows.grants
            .retain(|row| passes(&filter.g, &[&*row.member, &*row.role]));
        self.is_filtered = before != (rows.rules.len(), rows.grants.len());
        reference::fill(model, &rows.rules, &rows.grants);
        Ok(())
    }

    /// Replaces the policy by the model's.
    async fn save_policy(&mut self, model: &mut dyn Model) -> casbin::Result<()> {
        let mut client = self.database.pool().get().await.map_err(failed)?;
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.execute(CLEAR, &[]).await.map_err(failed)?;
        for kind in ["p", "g"] {
            for rule in model.get_policy(kind, kind) {
                let values = padded(0, rule)?;
                let added = transaction.execute(ADD_ROW, &[&kind, &&values[..]]).await;
                added.map_err(failed)?;
            }
        }
        transaction.commit().await.map_err(failed)
    }

    async fn clear_policy(&mut self) -> casbin::Result<()> {
        let client = self.database.pool().get().await.map_err(failed)?;
        client.execute(CLEAR, &[]).await.map_err(failed)?;
        self.is_filtered = false;
        Ok(())
    }

    fn is_filtered(&self) -> bool {
        self.is_filtered
    }

    async fn add_policy(
        &mut self,
        _sec: &str,
        ptype: &str,
        rule: Vec<String>,
    ) -> casbin::Result<bool> {
        self.execute_all(ADD_ROW, ptype, vec![rule]).await
    }

    async fn add_policies(
        &mut self,
        _sec: &str,
        ptype: &str,
        rules: Vec<Vec<String>>,
    ) -> casbin::Result<bool> {
        self.execute_all(ADD_ROW, ptype, rules).await
    }

    async fn remove_policy(
        &mut self,
        _sec: &str,
        ptype: &str,
        rule: Vec<String>,
    ) -> casbin::Result<bool> {
        self.execute_all(REMOVE_ROW, ptype, vec![rule]).await
    }

    async fn remove_policies(
        &mut self,
        _sec: &str,
        ptype: &str,
        rules: Vec<Vec<String>>,
    ) -> casbin::Result<bool> {
        self.execute_all(REMOVE_ROW, ptype, rules).await
    }

    /// Removes the rows whose values from `field_index` on are these; an empty one is any.
    async fn remove_filtered_policy(
        &mut self,
        _sec: &str,
        ptype: &str,
        field_index: usize,
        field_values: Vec<String>,
    ) -> casbin::Result<bool> {
        // Asking for nothing in particular must not remove everything.
        if field_values.iter().all(String::is_empty) {
            return Ok(false);
        }
        let wanted = padded(field_index, field_values)?;
        let removed = self.execute(REMOVE_MATCHING, ptype, &[wanted]).await?;
        Ok(!removed.contains(&0))
    }
}

/// Whether each value is as wanted, where something is wanted.
fn passes(wanted: &[&str], values: &[&str]) -> bool {
    let mut pairs = wanted.iter().zip(values);
    pairs.all(|(wanted, value)| wanted.is_empty() || wanted == value)
}

/// A casbin rule as the table has it, its first value in column `from`.
fn padded(from: usize, rule: Vec<String>) -> casbin::Result<Values> {
    let mut values = Values::default();
    if from + rule.len() > values.len() {
        let width = format!(
            "a row has {} values, not {}",
            values.len(),
            from + rule.len()
        );
        return Err(AdapterError(width.into()).into());
    }
    for (place, value) in values[from..].iter_mut().zip(rule) {
        *place = value;
    }
    Ok(values)
}

fn failed(error: impl StdError + Send + Sync + 'static) -> casbin::Error {
    AdapterError(Box::new(error)).into()
}
