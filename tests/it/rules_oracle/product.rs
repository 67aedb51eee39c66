//! What Rowcast decides: the real tables, the real catalog, rows fetched as rules want them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use rowcast::catalog::{self, Catalog, Collection};
use rowcast::db::{Database, DatabaseOptions};
use rowcast::event::{RecordId, RowImage, parse_image, record_id};
use rowcast::related::{DatabaseLibrary, Library, RelatedRow, Shelf};
use rowcast::rules::{
    AuthValues, Predicate, RelatedGates, RequestContext, Row, RuleError, RuleUse, Scope,
    Undecidable,
};
use rowcast::telemetry::Metrics;
use tokio_postgres::Client;

use super::schema::World;

/// Rounds of fetching after which something is wrong.
const ROUNDS_MAX: usize = 8;

/// Somebody who asks, with options.
#[derive(Debug)]
pub struct Asker {
    /// Table and row; `None`: a guest.
    pub auth: Option<(usize, usize)>,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
}

pub struct Product {
    catalog: Catalog,
    library: DatabaseLibrary,
    /// By table, in the order of their ids.
    pub rows: Vec<Vec<RelatedRow>>,
}

/// One text, for one group of askers.
pub struct Asked<'a> {
    pub text: &'a str,
    pub table: usize,
    /// Whose relations `@request.auth` has.
    pub scope: Option<usize>,
    pub filter: Option<&'a Gates>,
    pub now: Timestamp,
}

/// What filters may look at.
#[derive(Debug, Default)]
pub struct Gates {
    pub locked: Vec<usize>,
    /// Asker, table, and id.
    pub visible: HashSet<(usize, usize, String)>,
}

#[derive(Debug)]
struct GatesOf<'g> {
    gates: &'g Gates,
    asker: usize,
}

impl RelatedGates for GatesOf<'_> {
    fn may_ever_list(&self, collection: &Collection) -> bool {
        !self.gates.locked.contains(&number(collection))
    }

    fn may_list(&self, row: Row<'_>) -> Result<bool, Undecidable> {
        let row = (self.asker, number(row.collection), row.id.0.to_string());
        Ok(self.gates.visible.contains(&row))
    }
}

fn number(collection: &Collection) -> usize {
    collection.name[1..].parse().unwrap()
}

pub type Decision = Result<bool, Undecidable>;

impl Product {
    pub async fn new(world: &World, url: &str, client: &Client) -> Self {
        let database = Database::new(&DatabaseOptions::new(url)).unwrap();
        let catalog = catalog::load(&database).await.unwrap();
        let mut rows = Vec::new();
        for table in &world.tables {
            let collection = catalog.find(&table.name).unwrap();
            let found = client
                .query(
                    &format!("select row_to_json(x.*)::text from {} x", table.name),
                    &[],
                )
                .await
                .unwrap();
            let mut parsed: Vec<RelatedRow> = found
                .iter()
                .map(|row| related(row.get(0), collection))
                .collect();
            parsed.sort_by(|one, other| one.id.cmp(&other.id));
            rows.push(parsed);
        }
        let library = DatabaseLibrary::new(database, Metrics::new());
        Self {
            catalog,
            library,
            rows,
        }
    }

    fn collection(&self, table: usize) -> &Arc<Collection> {
        self.catalog.find(&format!("c{table}")).unwrap()
    }

    pub fn collection_id(&self, table: usize) -> String {
        self.collection(table).id.to_string()
    }

    /// What rules know of a principal, as the hub makes it.
    pub fn auth_values(&self, asker: &Asker) -> Option<AuthValues> {
        let (table, row) = asker.auth?;
        let collection = self.collection(table);
        let row = &self.rows[table][row];
        Some(AuthValues::of_row(collection, &row.id.0, &row.image))
    }

    /// What is decided for each of these askers and each row; first by row.
    pub async fn decide(
        &self,
        asked: &Asked<'_>,
        askers: &[(usize, &Asker)],
    ) -> Result<Vec<Vec<Decision>>, RuleError> {
        let scope = Scope {
            collection: self.collection(asked.table),
            catalog: &self.catalog,
            auth: asked.scope.map(|table| &**self.collection(table)),
        };
        let usage = if asked.filter.is_some() {
            RuleUse::Filter
        } else {
            RuleUse::Rule
        };
        let predicate = Predicate::compile(asked.text, scope, usage)?;
        let auths: Vec<_> = askers
            .iter()
            .map(|(_, asker)| self.auth_values(asker))
            .collect();
        let mut shelf = Shelf::default();
        let mut reading = self.library.open();
        for _ in 0..ROUNDS_MAX {
            let decided = self.decide_all(asked, &predicate, askers, &auths, &shelf);
            let missing = decided
                .iter()
                .flatten()
                .any(|one| *one == Err(Undecidable::NotLoaded));
            if !missing {
                return Ok(decided);
            }
            let fetched = shelf.fetch_wanted(&mut *reading).await.unwrap();
            assert!(fetched, "{} wants nothing", asked.text);
        }
        panic!("{} has never enough", asked.text);
    }

    fn decide_all(
        &self,
        asked: &Asked<'_>,
        predicate: &Predicate,
        askers: &[(usize, &Asker)],
        auths: &[Option<AuthValues>],
        shelf: &Shelf,
    ) -> Vec<Vec<Decision>> {
        let collection = self.collection(asked.table);
        let decide = |row: &RelatedRow, asker: &(usize, &Asker), auth: &Option<AuthValues>| {
            let row = Row::now(collection, &row.id, &row.image);
            let (query, headers) = (&asker.1.query, &asker.1.headers);
            let mut request =
                RequestContext::realtime(auth.as_ref(), query, headers, asked.now, shelf);
            let gates = asked.filter.map(|gates| GatesOf {
                gates,
                asker: asker.0,
            });
            request.gates = gates.as_ref().map(|gates| gates as &dyn RelatedGates);
            predicate.decide(row, &request)
        };
        let rows = self.rows[asked.table].iter();
        rows.map(|row| {
            askers
                .iter()
                .zip(auths)
                .map(|(asker, auth)| decide(row, asker, auth))
                .collect()
        })
        .collect()
    }
}

fn related(json: &str, collection: &Collection) -> RelatedRow {
    let image: RowImage = parse_image(json.into(), collection).unwrap().image;
    let id: RecordId = record_id(&image, collection).unwrap();
    RelatedRow { id, image }
}
