//! `rowcast migrate`: the schema `rowcast`, created or brought up to date.

use clap::Args;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::terminal;
use crate::db;

const EXAMPLES: &str = "\
Examples:
  rowcast migrate --database-url postgres://owner@localhost/shop

Everything lives in the schema rowcast; your own tables are not touched. Needs Postgres 14 or
newer and the right to create a schema, or an empty schema rowcast that belongs to this role.
Any number of processes may migrate at once. `rowcast serve` does the same when it starts.";

/// Create or update the schema rowcast in the database
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Migrate {}

impl Migrate {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let database = options.database()?;
        let applied = db::migrate(&database).await?;
        for migration in &applied {
            terminal::result(format_args!(
                "applied {} {}",
                migration.version, migration.name
            ));
        }
        if applied.is_empty() {
            terminal::result("the schema rowcast is up to date");
        }
        Ok(())
    }
}
