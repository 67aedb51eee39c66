//! `rowcast collections`: what is attached, and who may see it.

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::{session, terminal};

const COLLECTIONS: &str = include_str!("../../sql/cli/collections.sql");

const EXAMPLES: &str = "\
Examples:
  rowcast collections
  rowcast collections --json | jq -r '.[].name'";

/// List the collections and their rules
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Collections {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// One line of the list.
struct Listed {
    name: String,
    id: String,
    table: String,
    list_rule: Option<String>,
    view_rule: Option<String>,
    hidden: Vec<String>,
    include_replicated: bool,
    /// Rows of the policy that the two rules do not show.
    other_rows: i64,
}

impl Collections {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let client = session::open(&options.database()?, "collections").await?;
        let rows = client.query(COLLECTIONS, &[]).await?;
        let listed = rows
            .iter()
            .map(Listed::read)
            .collect::<Result<Vec<_>, _>>()?;
        if self.json {
            let all: Value = listed.iter().map(Listed::to_json).collect();
            terminal::result(format_args!("{all:#}"));
        } else if listed.is_empty() {
            terminal::note("nothing is attached yet; offer a table with: rowcast attach TABLE");
        } else {
            terminal::result(table(&listed));
            note_other_rows(&listed);
        }
        Ok(())
    }
}

fn table(listed: &[Listed]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["collection", "table", "list", "view", "hidden", "id"]);
    table.add_rows(listed.iter().map(|one| {
        [
            one.name.clone(),
            one.table.clone(),
            in_words(one.list_rule.as_deref()),
            in_words(one.view_rule.as_deref()),
            one.hidden.join(", "),
            one.id.clone(),
        ]
    }));
    table
}

/// The table shows what everybody may see; the policy may say more.
fn note_other_rows(listed: &[Listed]) {
    let concerned = listed.iter().filter(|one| one.other_rows > 0);
    let names: Vec<&str> = concerned.map(|one| &*one.name).collect();
    if let Some(first) = names.first() {
        terminal::note(format_args!(
            "note: the policy has other rows about {}; see them with: \
             rowcast policy explain --collection {first}",
            names.join(", ")
        ));
    }
}

fn in_words(rule: Option<&str>) -> String {
    match rule {
        None => "superusers".to_owned(),
        Some("") => "everybody".to_owned(),
        Some(rule) => rule.to_owned(),
    }
}

impl Listed {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            id: row.try_get("id")?,
            table: row.try_get("relation")?,
            list_rule: row.try_get("list_rule")?,
            view_rule: row.try_get("view_rule")?,
            hidden: row.try_get("hidden")?,
            include_replicated: row.try_get("include_replicated")?,
            other_rows: row.try_get("other_rows")?,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.id,
            "table": self.table,
            "listRule": self.list_rule,
            "viewRule": self.view_rule,
            "hidden": self.hidden,
            "includeReplicated": self.include_replicated,
        })
    }
}
