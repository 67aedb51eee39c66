//! `rowcast rule`: sets one rule of a collection, after a look at it.

use clap::Args;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::{rule_check, session, terminal};

pub(super) const SET_RULE: &str = include_str!("../../sql/cli/set_rule.sql");

const EXAMPLES: &str = "\
Examples:
  rowcast rule posts list 'status = \"public\"'
  rowcast rule posts view '@request.auth.id != \"\" && owner = @request.auth.id'
  rowcast rule posts list --public                     # everybody
  rowcast rule posts list --lock                       # superusers only
  rowcast rule members manage 'role = \"support\"'       # auth collections: also auth

The rule is compiled before anything changes: one that cannot be used is refused, with the place
of the mistake; one that is probably not what was meant is warned about. Open streams obey at
once.";

/// Set one rule of a collection
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Rule {
    /// The collection, by name or id
    collection: String,
    /// Which rule: list, view, auth or manage
    kind: String,
    /// The rule in the filter language; '' for everybody
    #[arg(required_unless_present_any = ["lock", "public"])]
    text: Option<String>,
    /// Superusers only
    #[arg(long, conflicts_with_all = ["text", "public"])]
    lock: bool,
    /// Everybody
    #[arg(long, conflicts_with = "text")]
    public: bool,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
}

impl Rule {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let text = match self.public {
            true => Some(String::new()),
            false => self.text,
        };
        let mut client = session::open(&options.database()?, "rule").await?;
        let transaction = client.transaction().await?;
        let row = transaction
            .query_one(SET_RULE, &[&self.collection, &self.kind, &text])
            .await?;
        let report: String = row.try_get("report")?;
        let name: String = row.try_get("name")?;
        let rules = text.iter().map(|text| (&*self.kind, &**text));
        let rules: Vec<_> = rules.collect();
        rule_check::check(&transaction, &name, &rules, self.strict).await?;
        transaction.commit().await?;
        terminal::result(report);
        Ok(())
    }
}
