//! What the doctor asks the database.

use tokio_postgres::Client;

use super::super::failure::{Failure, explain};
use super::Finding;
use crate::db::{self, Database, PoolError};

const SERVER: &str = include_str!("../../../sql/cli/doctor_server.sql");
const SCHEMA: &str = include_str!("../../../sql/cli/doctor_schema.sql");
const COLLECTIONS: &str = include_str!("../../../sql/cli/doctor_collections.sql");
const LOG: &str = include_str!("../../../sql/cli/doctor_log.sql");

/// The server itself.
pub(super) async fn server(client: &Client) -> Result<Vec<Finding>, Failure> {
    let row = client.query_one(SERVER, &[]).await?;
    let version: String = row.try_get("version")?;
    let role: String = row.try_get("role")?;
    let mut findings = vec![match row.try_get::<_, i32>("version_num")? {
        number if number >= db::SERVER_VERSION_MIN => {
            Finding::good(format!("Postgres {version}, as {role}"))
        }
        _ => Finding::bad(format!(
            "Postgres {version} is too old; rowcast needs 14 or newer"
        )),
    }];
    if row.try_get("standby")? {
        findings.push(Finding::bad(
            "this is a standby, which can neither be migrated nor listened to; use the primary",
        ));
    }
    if row.try_get::<_, String>("replication_role")? == "replica" {
        findings.push(Finding::remark(
            "session_replication_role is replica: changes such sessions make are not captured \
             unless the table is attached with --include-replicated",
        ));
    }
    if row.try_get::<_, i32>("max_prepared_transactions")? > 0 {
        findings.push(Finding::remark(
            "max_prepared_transactions is above 0: with bell=auto the reader polls instead of being \
             notified, because a transaction that notifies cannot be prepared; bell=on if yours \
             never are",
        ));
    }
    let old = row.try_get::<_, i64>("old_transactions")? + row.try_get::<_, i64>("old_prepared")?;
    if old > 0 {
        findings.push(Finding::remark(format!(
            "{old} transactions are open for more than an hour; end them (pg_stat_activity, \
             pg_prepared_xacts): their changes are not delivered before they commit"
        )));
    }
    Ok(findings)
}

/// Whether queries get through on the pool's way, which may lead through a pooler.
pub(super) async fn pool(database: &Database) -> Finding {
    let answer = async {
        let client = database.pool().get().await?;
        client.query_one("select 1", &[]).await?;
        Ok::<_, PoolError>(())
    };
    match answer.await {
        Ok(()) => Finding::good("pooled connections work"),
        Err(error) => Finding::bad(format!(
            "pooled connections (database_url) do not work: {}; a pooler in transaction mode must \
             allow prepared statements (PgBouncer: max_prepared_statements above 0)",
            explain(&error)
        )),
    }
}

/// Our schema and the rights to it.
pub(super) async fn schema(client: &Client) -> Result<Vec<Finding>, Failure> {
    let row = client.query_one(SCHEMA, &[]).await?;
    let owner: String = row.try_get("owner")?;
    let finding = if !row.try_get::<_, bool>("schema_exists")? {
        match row.try_get("may_create")? {
            true => Finding::bad("there is no schema rowcast yet; run: rowcast migrate"),
            false => Finding::bad(
                "there is no schema rowcast, and this role may not create one; let an owner of the \
                 database run: create schema rowcast authorization this_role; then: rowcast migrate",
            ),
        }
    } else if !row.try_get::<_, bool>("usage")? {
        Finding::bad(format!(
            "this role may not use the schema rowcast; connect as {owner}, who owns it"
        ))
    } else if !row.try_get::<_, bool>("owned")? {
        Finding::remark(format!(
            "the schema rowcast belongs to {owner}; retention and migrations need that role"
        ))
    } else {
        Finding::good("the schema rowcast exists and belongs to this role")
    };
    Ok(vec![finding])
}

/// What the log says of itself.
pub(super) async fn log(client: &Client) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for row in client.query(LOG, &[]).await? {
        let (item, value): (String, String) = (row.try_get("item")?, row.try_get("value")?);
        let text = format!("{item}: {value}");
        findings.push(match item.as_str() {
            "recording" if value.starts_with("no") => Finding::bad(text),
            _ => Finding::good(text),
        });
    }
    Ok(findings)
}

/// Each collection's table and triggers.
pub(super) async fn collections(client: &Client) -> Result<Vec<Finding>, Failure> {
    let rows = client.query(COLLECTIONS, &[]).await?;
    if rows.is_empty() {
        return Ok(vec![Finding::remark(
            "nothing is attached yet; offer a table with: rowcast attach TABLE",
        )]);
    }
    let mut findings = Vec::new();
    for row in rows {
        let name: String = row.try_get("name")?;
        let relation: String = row.try_get("relation")?;
        let missing: Vec<String> = row.try_get("missing")?;
        findings.push(if !row.try_get::<_, bool>("table_exists")? {
            Finding::bad(format!(
                "{name}: its table is gone; run: rowcast detach {name}, or attach the new table"
            ))
        } else if !missing.is_empty() {
            Finding::bad(format!(
                "{name}: triggers are missing or switched off ({}); attach {relation} again with \
                 its rules and hidden columns",
                missing.join(", ")
            ))
        } else if !row.try_get::<_, bool>("same_table")? {
            Finding::bad(format!(
                "{name}: {relation} was restored or created anew since it was attached; attach it \
                 again with its rules and hidden columns"
            ))
        } else {
            Finding::good(format!("{name}: {relation} is captured"))
        });
    }
    Ok(findings)
}
