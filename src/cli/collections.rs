//! `rowcast collections`: what is attached, and who may see it.

use std::collections::BTreeMap;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::failure::Failure;
use super::options::ConfigOptions;
use super::{session, terminal};
use crate::catalog::{self, Catalog, Collection};

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
    /// Field and collection, or name and path.
    relations: Vec<(String, String)>,
    include_replicated: bool,
    /// Rows of the policy that the two rules do not show.
    other_rows: i64,
}

impl Collections {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let database = options.database()?;
        let client = session::open(&database, "collections").await?;
        let rows = client.query(COLLECTIONS, &[]).await?;
        let catalog = catalog::load(&database).await?;
        let listed = rows
            .iter()
            .map(|row| Listed::read(row, &catalog))
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
    table.set_header([
        "collection",
        "table",
        "list",
        "view",
        "hidden",
        "relations",
        "id",
    ]);
    table.add_rows(listed.iter().map(|one| {
        [
            one.name.clone(),
            one.table.clone(),
            in_words(one.list_rule.as_deref()),
            in_words(one.view_rule.as_deref()),
            one.hidden.join(", "),
            one.relations_in_words(),
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

/// What the fields of a collection point to, then its names for paths.
fn relations(collection: &Collection, catalog: &Catalog) -> Vec<(String, String)> {
    let fields = collection.fields.iter().filter_map(|field| {
        let target = catalog.get(field.relation.as_ref()?.collection)?;
        Some((field.name.to_string(), target.name.to_string()))
    });
    let aliases = collection.aliases.iter();
    let paths = aliases.map(|(name, path)| (name.to_string(), path.to_string()));
    fields.chain(paths).collect()
}

fn in_words(rule: Option<&str>) -> String {
    match rule {
        None => "superusers".to_owned(),
        Some("") => "everybody".to_owned(),
        Some(rule) => rule.to_owned(),
    }
}

impl Listed {
    fn read(row: &Row, catalog: &Catalog) -> Result<Self, tokio_postgres::Error> {
        let name: String = row.try_get("name")?;
        let collection = catalog.find(&name);
        Ok(Self {
            relations: collection.map_or_else(Vec::new, |of| relations(of, catalog)),
            name,
            id: row.try_get("id")?,
            table: row.try_get("relation")?,
            list_rule: row.try_get("list_rule")?,
            view_rule: row.try_get("view_rule")?,
            hidden: row.try_get("hidden")?,
            include_replicated: row.try_get("include_replicated")?,
            other_rows: row.try_get("other_rows")?,
        })
    }

    fn relations_in_words(&self) -> String {
        let each = |(name, to): &(String, String)| format!("{name} = {to}");
        let words: Vec<String> = self.relations.iter().map(each).collect();
        words.join(", ")
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "id": self.id,
            "table": self.table,
            "listRule": self.list_rule,
            "viewRule": self.view_rule,
            "hidden": self.hidden,
            "relations": self.relations.iter().cloned().collect::<BTreeMap<_, _>>(),
            "includeReplicated": self.include_replicated,
        })
    }
}
