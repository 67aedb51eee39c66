//! `rowcast attach`: offers a table as a collection.

use clap::Args;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::rule::SET_RULE;
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
  rowcast attach members --identity email --password password_hash \\
      --auth-rule 'verified = true'                        # its records log in

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
    #[command(flatten)]
    auth: AuthArgs,
}

/// What makes a collection one whose records log in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Auth collections")]
struct AuthArgs {
    /// Its records may log in; any of the flags below but --never-captured implies it
    #[arg(long)]
    auth: bool,
    /// A column to log in by, with a unique index of its own; may be given several times
    /// [default: email]
    #[arg(long, value_name = "COLUMN")]
    identity: Vec<String>,
    /// The column with bcrypt or argon2 hashes [default: nobody logs in by password]
    #[arg(long, value_name = "COLUMN")]
    password: Option<String>,
    /// A column whose change ends a record's tokens [default: the password and the email]
    #[arg(long, value_name = "COLUMN")]
    token_key: Option<String>,
    /// Who may log in: '' for every record, 'locked' for nobody [default: as it is, at first '']
    #[arg(long, value_name = "RULE")]
    auth_rule: Option<String>,
    /// Who sees every email: '' for everybody, 'locked' for superusers [default: as it is, at first
    /// superusers]
    #[arg(long, value_name = "RULE")]
    manage_rule: Option<String>,
    /// A column that is never written to the change log, in any collection; may be given several
    /// times
    #[arg(long, value_name = "COLUMN")]
    never_captured: Vec<String>,
}

impl AuthArgs {
    fn kind(&self) -> &'static str {
        let implied = [
            &self.password,
            &self.token_key,
            &self.auth_rule,
            &self.manage_rule,
        ];
        let auth = self.auth || !self.identity.is_empty();
        match auth || implied.iter().any(|flag| flag.is_some()) {
            true => "auth",
            false => "base",
        }
    }

    fn rules(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let rules = [("auth", &self.auth_rule), ("manage", &self.manage_rule)];
        let given = rules
            .into_iter()
            .filter_map(|(kind, rule)| Some((kind, rule.as_deref()?)));
        given.map(|(kind, rule)| (kind, Some(rule).filter(|rule| *rule != LOCKED)))
    }
}

/// What the database's hints call the flags.
const FLAGS: [(&str, &str); 4] = [
    ("identity => array['email']", "--identity email"),
    ("kind => 'auth'", "--auth"),
    ("name => 'posts'", "--name posts"),
    ("name => '…'", "--name …"),
];

/// How a rule that locks is written on the command line, where there is no null.
const LOCKED: &str = "locked";

impl Attach {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let attached = self.attach(options).await;
        attached.map_err(|failure| failure.reworded(&FLAGS))
    }

    async fn attach(self, options: ConfigOptions) -> Result<(), Failure> {
        let mut client = session::open(&options.database()?, "attach").await?;
        let auth = &self.auth;
        let (names, targets) = self.relations().unzip();
        let identity = Some(&auth.identity).filter(|columns| !columns.is_empty());
        // All or nothing: a collection must not stand there with another rule than was asked for.
        let transaction = client.transaction().await?;
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
                    &auth.kind(),
                    &identity,
                    &auth.password,
                    &auth.token_key,
                    &auth.never_captured,
                ],
            )
            .await?;
        let mut reports: Vec<String> = vec![row.try_get("report")?];
        let named = transaction.query_one(COLLECTION, &[&self.table]).await?;
        let name: String = named.try_get("name")?;
        for (kind, rule) in auth.rules() {
            let row = transaction
                .query_one(SET_RULE, &[&name, &kind, &rule])
                .await?;
            let report: String = row.try_get("report")?;
            if !report.ends_with(": nothing to change") {
                reports.push(report);
            }
        }
        let rules = [
            ("list", self.list_rule.as_deref()),
            ("view", self.view_rule.as_deref()),
        ];
        let rules = rules.into_iter().chain(auth.rules());
        let rules: Vec<_> = rules
            .filter_map(|(kind, text)| Some((kind, text?)))
            .collect();
        rule_check::check(&transaction, &name, &rules, self.strict).await?;
        transaction.commit().await?;
        reports.iter().for_each(terminal::result);
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
