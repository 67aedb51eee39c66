//! `rowcast attach`: offers a table as a collection.

use clap::Args;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::{rule_check, session, terminal};

const ATTACH: &str = include_str!("../../sql/cli/attach.sql");

const COLLECTION: &str = include_str!("../../sql/cli/collection_of_table.sql");

const EXAMPLES: &str = "\
Examples:
  rowcast attach posts                                     # superusers only
  rowcast attach posts --list-rule '' --view-rule ''       # everybody
  rowcast attach blog.posts --name posts --hide secret --hide internal_note
  rowcast attach teams --relation members=members          # an array of their keys
  rowcast attach '\"Order Lines\"' --name order_lines        # quoted as in SQL

Says what it changed; run again with other flags, it brings the collection to this
definition. A rule that is not given is locked: only superusers see the records. Relations that
are not given stay as they are. Rules are compiled before anything changes: one that cannot be
used is refused, one that is probably not what was meant is warned about. The same in a
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
    /// A column of keys and whose they are, or a name for a path: tags=post_tags_via_post.tag; may be
    /// given several times [foreign keys are relations by themselves]
    #[arg(long = "relation", value_name = "COLUMN=COLLECTION", value_parser = relation)]
    relations: Vec<(String, String)>,
    /// Forget all relations but foreign keys
    #[arg(long, conflicts_with = "relations")]
    no_relations: bool,
    /// Report rows that arrive by replication too
    #[arg(long)]
    include_replicated: bool,
    /// Take warnings about the rules for errors
    #[arg(long)]
    strict: bool,
}

impl Attach {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let mut client = session::open(&options.database()?, "attach").await?;
        let transaction = client.transaction().await?;
        let (names, targets) = self.relations().unzip();
        let row = transaction
            .query_one(
                ATTACH,
                &[
                    &self.table,
                    &self.name,
                    &self.list_rule,
                    &self.view_rule,
                    &self.hidden,
                    &self.include_replicated,
                    &names,
                    &targets,
                ],
            )
            .await?;
        let report: String = row.try_get("report")?;
        let named = transaction.query_one(COLLECTION, &[&self.table]).await?;
        let name: String = named.try_get("name")?;
        let rules = [("list", &self.list_rule), ("view", &self.view_rule)];
        let rules: Vec<_> = rules
            .iter()
            .filter_map(|(kind, text)| Some((*kind, text.as_deref()?)))
            .collect();
        rule_check::check(&transaction, &name, &rules, self.strict).await?;
        transaction.commit().await?;
        terminal::result(report);
        Ok(())
    }

    /// Names and what they lead to; `None` leaves them as they are.
    fn relations(&self) -> Option<(Vec<&str>, Vec<&str>)> {
        let given = !self.relations.is_empty() || self.no_relations;
        let pairs = self.relations.iter();
        given.then(|| pairs.map(|(name, to)| (&**name, &**to)).unzip())
    }
}

fn relation(text: &str) -> Result<(String, String), &'static str> {
    let (name, to) = text.split_once('=').ok_or(
        "write it like members=members: a column, =, and the collection whose keys it holds",
    )?;
    Ok((name.to_owned(), to.to_owned()))
}
