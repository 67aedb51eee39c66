//! Decisions that read other records: what a batch of changes pays, with a database on the same machine.

use std::env;
use std::sync::Arc;

use jiff::Timestamp;
use rowcast::catalog::{self, Catalog, Collection};
use rowcast::db::{Database, DatabaseOptions, PooledClient, migrate};
use rowcast::embedded::{Binaries, Cluster, ClusterOptions, Search};
use rowcast::event::{RecordId, RowImage, parse_image};
use rowcast::related::{DatabaseLibrary, Library, Shelf};
use rowcast::rules::{AuthValues, Predicate, RequestContext, Row, RuleUse, Scope};
use rowcast::telemetry::Metrics;
use tokio::runtime::Runtime;

use crate::Error;
use crate::measure::Group;
use crate::world::{World, cases};

const RULE: &str =
    r#"@request.auth.id != "" && team.memberships_via_team.member ?= @request.auth.id"#;
/// Changes in a batch.
const BATCHES: [usize; 3] = [1, 100, 1_000];

/// Posts of 1,000 teams, each with ten members.
const TABLES: &str = "
    create table teams (id text primary key, name text);
    create table members (id text primary key, name text);
    create table memberships (team text references teams, member text references members, primary key (team, member));
    create table posts (id text primary key, team text references teams, title text);
    insert into teams select 't' || n, 'Team ' || n from generate_series(0, 999) n;
    insert into members select 'u' || n, 'Member ' || n from generate_series(0, 999) n;
    insert into memberships select 't' || t, 'u' || case n when 0 then 0 else 1 + (t * 10 + n) % 999 end
        from generate_series(0, 999) t, generate_series(0, 9) n;
    analyze;
    select rowcast.attach('teams'), rowcast.attach('members'), rowcast.attach('memberships'), rowcast.attach('posts')";

/// A database with such tables, and changes to decide about.
pub struct Site {
    runtime: Runtime,
    library: DatabaseLibrary,
    client: PooledClient,
    collection: Arc<Collection>,
    predicate: Predicate,
    rows: Vec<(RecordId, RowImage)>,
    asker: AuthValues,
    /// Last, because the others are connected to it.
    _cluster: Cluster,
}

impl Site {
    pub fn open() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let binaries = Binaries::find(&search())?;
        let cluster = Cluster::start(&ClusterOptions::new(binaries))?;
        let database = Database::new(&DatabaseOptions::new(cluster.url("postgres")))?;
        let (catalog, client) = runtime.block_on(prepared(&database))?;
        let collection = Arc::clone(catalog.find("posts").ok_or("no posts")?);
        let scope = Scope {
            collection: &collection,
            catalog: &catalog,
            auth: None,
        };
        let row = |n: usize| {
            let json = format!(r#"{{"id":"p{n}","team":"t{n}","title":"What a decision costs"}}"#);
            let image = parse_image(json.into(), &collection)?.image;
            Ok::<_, Error>((RecordId(format!("p{n}").into()), image))
        };
        let rows = (0..1_000).map(row).collect::<Result<_, _>>()?;
        Ok(Self {
            library: DatabaseLibrary::new(database, Metrics::new()),
            predicate: Predicate::compile(RULE, scope, RuleUse::Rule)?,
            asker: AuthValues {
                id: "u0".to_owned(),
                ..AuthValues::default()
            },
            runtime,
            client,
            collection,
            rows,
            _cluster: cluster,
        })
    }

    /// As the hub does: all are asked, what they want is fetched at once, and all are asked again.
    fn decide(&self, count: usize) -> usize {
        // A reading gives its connection back in a task of its own.
        let _inside = self.runtime.enter();
        let mut shelf = Shelf::default();
        let mut reading = self.library.open();
        loop {
            let passed = self.pass(count, &shelf);
            let fetched = self.runtime.block_on(shelf.fetch_wanted(&mut *reading));
            if !fetched.expect("a database that answers") {
                return passed;
            }
        }
    }

    /// How many of the first changes are seen, as far as that can be said.
    fn pass(&self, count: usize, shelf: &Shelf) -> usize {
        let nothing = std::collections::BTreeMap::new();
        let now = Timestamp::UNIX_EPOCH;
        let request = RequestContext::realtime(Some(&self.asker), &nothing, &nothing, now, shelf);
        let rows = self.rows[..count]
            .iter()
            .map(|(id, image)| Row::now(&self.collection, id, image));
        rows.filter(|row| self.predicate.decide(*row, &request) == Ok(true))
            .count()
    }

    fn round_trip(&self) {
        let answer = self.runtime.block_on(self.client.simple_query("select 1"));
        answer.expect("a database that answers");
    }
}

/// Where Postgres is looked for.
fn search() -> Search {
    Search {
        pg_bin: env::var_os("PG_BIN").map(Into::into),
        path: env::var_os("PATH"),
        cache: None,
        offline: true,
    }
}

async fn prepared(database: &Database) -> Result<(Catalog, PooledClient), Error> {
    migrate(database).await?;
    let client = database.pool().get().await?;
    client.batch_execute(TABLES).await?;
    Ok((catalog::load(database).await?, client))
}

/// What a batch costs as a whole.
pub fn batches(site: &Site) -> Group<'_> {
    let mut group = Group::new("decide by other records, a batch");
    group.baseline("plain: select 1, there and back", || site.round_trip());
    for count in BATCHES {
        assert_eq!(site.decide(count), count, "the asker is in every team");
        group.line(format!("batch of {count}"), move || site.decide(count));
    }
    group
}

/// What each of its decisions costs.
pub fn decisions<'w>(site: &'w Site, world: &'w World) -> Group<'w> {
    let mut group = Group::new("decide by other records, each of a batch");
    let [case, ..] = cases();
    let (predicate, owner) = (world.compile(&case.rule), &world.people[0]);
    group.baseline(format!("in memory: {}", case.title), move || {
        world.decide(&predicate, owner)
    });
    for count in BATCHES {
        group.share(format!("one of {count}"), count, move || site.decide(count));
    }
    group
}
