//! `rowcast policy`: what the policy says, and why.

mod fetch;
mod judge;
mod record;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use tokio_postgres::IsolationLevel;

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::{session, terminal};
use crate::policy::{self, AppliedRow, Explanation, Reference, Roles, RuleKind, Verdict};
use crate::related::DatabaseLibrary;
use crate::telemetry::Metrics;

const COLLECTION: &str = include_str!("../../sql/cli/policy_collection.sql");

const EXAMPLES: &str = "\
Examples:
  rowcast policy explain --collection posts                        # a guest
  rowcast policy explain --as members/42 --collection posts        # a record that logs in
  rowcast policy explain --as members/42 --claims editor --collection posts
  rowcast policy explain --as role:editor --collection posts       # anybody with that role
  rowcast policy explain --as superuser --collection posts --json
  rowcast policy explain --as members/42 --collection posts --record 7   # this very record

With --record it reads the record and whoever asks, and says of each rule which part of it holds.
Then the exit code is 0 if the record is seen and 1 if it is not.";

/// See what the policy says, and why
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Policy {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    Explain(Explain),
}

/// Show which rows of rowcast.casbin_rule decide what somebody may see
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Explain {
    /// Who: guest, superuser, a record as COLLECTION/ID, or a role
    #[arg(long = "as", value_name = "WHO", default_value = "guest")]
    who: String,
    /// A role that their token claims; may be given several times
    #[arg(long, value_name = "ROLE")]
    claims: Vec<String>,
    /// The collection, by name or id
    #[arg(long, value_name = "NAME")]
    collection: String,
    /// One existing record by its id: is it seen, and what decides?
    #[arg(long, value_name = "ID")]
    record: Option<String>,
    /// The list rule only
    #[arg(long)]
    list: bool,
    /// The view rule only
    #[arg(long)]
    view: bool,
    /// Show the values that were compared, which may be anybody's
    #[arg(long, requires = "record")]
    show_values: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

impl Policy {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        match self.command {
            PolicyCommand::Explain(command) => command.run(options).await,
        }
    }
}

impl Explain {
    async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let roles = self.roles()?;
        let database = options.database()?;
        let mut client = session::open(&database, "policy").await?;
        let row = client.query_one(COLLECTION, &[&self.collection]).await?;
        let collection: String = row.try_get("name")?;
        if let Some(id) = &self.record {
            let transaction = client.build_transaction().read_only(true);
            let transaction = transaction.isolation_level(IsolationLevel::RepeatableRead);
            let transaction = transaction.start().await?;
            let library = DatabaseLibrary::new(database, Metrics::new());
            let (transaction, library) = (&transaction, &library);
            let explained = record::explain(&self, transaction, library, &roles, &collection, id);
            let seen = explained.await?;
            return if seen { Ok(()) } else { Err(Failure::no()) };
        }
        let policy = policy::Policy::read(&client).await.map_err(not_loaded)?;
        let explanations: Vec<_> = self
            .kinds()
            .into_iter()
            .map(|kind| policy.explain(&roles, &collection, kind))
            .collect();
        for explanation in &explanations {
            confirm(&policy, &roles, &collection, explanation).await?;
        }
        for misread in policy.misread() {
            terminal::note(format_args!(
                "note: row {} of rowcast.casbin_rule is not understood: {}",
                misread.id, misread.why
            ));
        }
        let all_roles: Vec<&str> = policy.all_roles(&roles).collect();
        if self.json {
            let kinds: Value = explanations.iter().map(to_json).collect();
            let all = json!({ "collection": collection, "roles": all_roles, "kinds": kinds });
            terminal::result(format_args!("{all:#}"));
            return Ok(());
        }
        terminal::result(format_args!("roles: {}", all_roles.join(", ")));
        for explanation in &explanations {
            terminal::result(format_args!("\n{}", headline(&collection, explanation)));
            if !explanation.rows.is_empty() {
                terminal::result(table(&explanation.rows));
            }
        }
        Ok(())
    }

    /// The kinds of rules that are asked about.
    fn kinds(&self) -> Vec<RuleKind> {
        let both = self.list == self.view;
        let kinds = [(RuleKind::List, self.list), (RuleKind::View, self.view)];
        let asked = kinds.into_iter().filter(|(_, asked)| both || *asked);
        asked.map(|(kind, _)| kind).collect()
    }

    fn roles(&self) -> Result<Roles, Failure> {
        let claims = self.claims.iter().map(String::as_str);
        match (&*self.who, self.who.split_once('/')) {
            (_, Some((collection, id))) => Ok(Roles::record(collection, id, claims)),
            _ if !self.claims.is_empty() => {
                let text = "--claims needs --as COLLECTION/ID: only a record's token claims roles";
                Err(Failure::new(failure::USAGE, text.to_owned()))
            }
            ("guest", None) => Ok(Roles::guest()),
            ("superuser", None) => Ok(Roles::any_superuser()),
            (role, None) => Ok(Roles::holder_of(role)),
        }
    }
}

/// Asks casbin itself; a gate that disagrees is a defect that must not stay unnoticed.
async fn confirm(
    policy: &policy::Policy,
    roles: &Roles,
    collection: &str,
    explanation: &Explanation,
) -> Result<(), Failure> {
    let expected = match explanation.verdict {
        Verdict::Locked | Verdict::Denied => false,
        Verdict::Open => true,
        Verdict::AsksRules => return Ok(()),
    };
    let failed = |error| Failure::internal("could not ask casbin", error);
    let reference = Reference::new(policy, roles).await.map_err(failed)?;
    // Such a verdict may not depend on what the rules say.
    for answer in [Some(false), Some(true)] {
        let answered = reference
            .enforce(collection, explanation.kind, "", |_| answer)
            .map_err(failed)?;
        if answered != expected {
            return Err(defect(collection, explanation.kind));
        }
    }
    Ok(())
}

fn defect(collection: &str, kind: RuleKind) -> Failure {
    let text = format!(
        "casbin decides otherwise about {collection}, {kind}; this is a defect in rowcast, \
         please report it with the rows of rowcast.casbin_rule"
    );
    Failure::new(failure::INTERNAL, text)
}

fn headline(collection: &str, explanation: &Explanation) -> String {
    let topics = match explanation.kind {
        RuleKind::View => format!("{collection}/ID"),
        _ => format!("{collection} and {collection}/*"),
    };
    let verdict = match explanation.verdict {
        Verdict::Locked => "no row allows, so nothing is seen",
        Verdict::Denied => "a row denies every record, so nothing is seen",
        Verdict::Open => "every record is seen",
        Verdict::AsksRules => "a record is seen if a rule that allows holds and none that denies",
    };
    format!("{topics} ({}): {verdict}", explanation.kind)
}

fn table(rows: &[AppliedRow]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["row", "effect", "rule", "collection", "kind", "through"]);
    table.add_rows(rows.iter().map(|applied| {
        let row = &applied.row;
        [
            row.id.map_or("built in".to_owned(), |id| id.to_string()),
            row.effect.as_str().to_owned(),
            in_words(&row.rule).to_owned(),
            row.collection.to_string(),
            row.kind.to_string(),
            applied.path.join(" → "),
        ]
    }));
    table
}

fn in_words(rule: &str) -> &str {
    match rule {
        "" => "every record",
        rule => rule,
    }
}

fn to_json(explanation: &Explanation) -> Value {
    let rows = explanation.rows.iter().map(row_to_json);
    let verdict = match explanation.verdict {
        Verdict::Locked => "locked",
        Verdict::Denied => "denied",
        Verdict::Open => "open",
        Verdict::AsksRules => "asks rules",
    };
    json!({ "kind": explanation.kind.as_str(), "verdict": verdict, "rows": rows.collect::<Value>() })
}

fn row_to_json(applied: &AppliedRow) -> Value {
    let row = &applied.row;
    json!({
        "id": row.id,
        "effect": row.effect.as_str(),
        "rule": &*row.rule,
        "collection": &*row.collection,
        "kind": &*row.kind,
        "through": applied.path,
    })
}

fn not_loaded(error: policy::LoadError) -> Failure {
    match error {
        policy::LoadError::Query(error) => error.into(),
        error @ policy::LoadError::TooManyRows => Failure::usage(&error),
        error => Failure::internal("could not load the policy", error),
    }
}
