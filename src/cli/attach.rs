//! `rowcast attach`: offers a table as a collection.

use clap::Args;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::{session, terminal};

const ATTACH: &str = include_str!("../../sql/cli/attach.sql");

const EXAMPLES: &str = "\
Examples:
  rowcast attach posts                                     # superusers only
  rowcast attach posts --list-rule '' --view-rule ''       # everybody
  rowcast attach blog.posts --name posts --hide secret --hide internal_note
  rowcast attach '\"Order Lines\"' --name order_lines        # quoted as in SQL

Says what it changed; run again with other flags, it brings the collection to this
definition. A rule that is not given is locked: only superusers see the records. The same in a
migration of your own:
  select rowcast.attach('blog.posts', name => 'posts', list_rule => '', view_rule => '');";

/// Offer a table as a collection
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Attach {
    /// The table, with its schema where it is not found without
    table: String,
    /// The collection's name [default: the table's]
    #[arg(long)]
    name: Option<String>,
    /// Who may watch all records: '' for everybody [default: superusers only]
    #[arg(long, value_name = "RULE")]
    list_rule: Option<String>,
    /// Who may watch one record by its id: '' for everybody [default: superusers only]
    #[arg(long, value_name = "RULE")]
    view_rule: Option<String>,
    /// A column that only superusers see; may be given several times
    #[arg(long = "hide", value_name = "COLUMN")]
    hidden: Vec<String>,
    /// Report rows that arrive by replication too
    #[arg(long)]
    include_replicated: bool,
}

impl Attach {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let client = session::open(&options.database()?, "attach").await?;
        let row = client
            .query_one(
                ATTACH,
                &[
                    &self.table,
                    &self.name,
                    &self.list_rule,
                    &self.view_rule,
                    &self.hidden,
                    &self.include_replicated,
                ],
            )
            .await?;
        terminal::result(row.try_get::<_, String>("report")?);
        Ok(())
    }
}
