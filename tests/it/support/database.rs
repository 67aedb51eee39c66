//! A database per test, copied from a migrated template in a few milliseconds.
//!
//! The server is private to this test process and ends with it, unless `TEST_PG` names one: then
//! that one is used, and shared with other processes (`cargo nextest` runs one per test).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, thread};

use rowcast::db::{Database, DatabaseOptions};
use rowcast::embedded::{Binaries, Cluster, ClusterOptions, Search};
use tokio::sync::OnceCell;
use tokio::task::block_in_place;
use tokio_postgres::{Client, NoTls};

/// Under which lock processes that share a server make the template; any number does.
const TEMPLATE_LOCK: i64 = 0x0072_6f77_6361_7374;

/// Never dropped: the end of the process ends the server, and its guard sweeps up.
static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static TEMPLATE: OnceCell<Template> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A database for one test; dropping it drops the database, whoever is still connected.
#[derive(Debug)]
pub struct TestDatabase {
    /// Where it is, for any Postgres client.
    pub url: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug)]
struct Template {
    name: String,
    /// Copies files instead of logging pages; a third of the time, from Postgres 15 on.
    strategy: &'static str,
}

/// A migrated database for one test.
pub async fn database() -> TestDatabase {
    let template = TEMPLATE.get_or_init(make_template).await;
    create(&format!("template {}{}", template.name, template.strategy)).await
}

/// A database for one test in which nothing was migrated.
pub async fn empty_database() -> TestDatabase {
    create("").await
}

/// Connects to a database; the connection lives as long as the client.
pub async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| panic!("could not connect to {url}: {error:?}"));
    tokio::spawn(async move {
        // A server stopped on purpose is no news to a test.
        let _ = connection.await;
    });
    client
}

/// How tests run a private server of their own, to stop or to kill it.
pub fn cluster_options() -> ClusterOptions {
    let search = Search {
        pg_bin: env::var_os("PG_BIN").map(Into::into),
        path: env::var_os("PATH"),
        cache: env::var_os("XDG_CACHE_HOME")
            .map(Into::into)
            .or_else(|| env::home_dir().map(|home| home.join(".cache"))),
        offline: false,
    };
    let binaries = Binaries::find(&search).expect("Postgres programs");
    let mut options = ClusterOptions::new(binaries);
    let settings = [
        ("max_connections", "200"),
        ("max_prepared_transactions", "20"),
    ];
    options.settings = settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    options
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        // A thread of its own, because the test's runtime may be the one that is blocked here. A
        // server that is gone has taken the database with it.
        let _ = thread::spawn(move || block_on(try_administer(statement))).join();
    }
}

/// The URL of `database` on the server under test.
fn server_url(database: &str) -> String {
    match env::var("TEST_PG") {
        Ok(url) => with_database(&url, database),
        Err(_) => CLUSTER
            .get_or_init(|| Cluster::start(&cluster_options()).expect("a private Postgres"))
            .url(database),
    }
}

/// A server of one's own that may be killed: what it has committed is on disk.
pub fn durable_cluster() -> Cluster {
    block_in_place(|| {
        let mut options = cluster_options();
        options.fsync = true;
        Cluster::start(&options).expect("a private Postgres")
    })
}

/// `url` with another database: the path, between the authority and the query.
fn with_database(url: &str, database: &str) -> String {
    let (front, query) = match url.split_once('?') {
        Some((front, query)) => (front, format!("?{query}")),
        None => (url, String::new()),
    };
    let authority = front.find("://").map_or(0, |at| at + 3);
    let end = front[authority..]
        .find('/')
        .map_or(front.len(), |at| authority + at);
    format!("{}/{database}{query}", &front[..end])
}

async fn create(how: &str) -> TestDatabase {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("t{}_{number}", std::process::id());
    administer(format!("create database {name} {how}")).await;
    TestDatabase {
        url: server_url(&name),
        name,
    }
}

async fn make_template() -> Template {
    let admin = client(&server_url("postgres")).await;
    let version: String = admin
        .query_one("show server_version_num", &[])
        .await
        .unwrap()
        .get(0);
    let strategy = if version.parse::<u32>().unwrap() >= 150_000 {
        " strategy file_copy"
    } else {
        ""
    };
    let name = format!("tmpl_{:016x}", hash_of_migrations());
    // Held until this connection closes, at the end of this function.
    admin
        .execute("select pg_advisory_lock($1)", &[&TEMPLATE_LOCK])
        .await
        .unwrap();
    let exists = admin
        .query_opt("select from pg_database where datname = $1", &[&name])
        .await
        .unwrap()
        .is_some();
    if !exists {
        build_template(&admin, &name).await;
    }
    Template { name, strategy }
}

/// Builds under another name, so that a template that exists is always whole.
async fn build_template(admin: &Client, name: &str) {
    let draft = format!("{name}_draft");
    for statement in [
        format!("drop database if exists {draft} with (force)"),
        format!("create database {draft}"),
    ] {
        admin.batch_execute(&statement).await.unwrap();
    }
    migrate(&server_url(&draft)).await;
    for statement in [
        // Closes what the migration may have left open: a template must have no visitors.
        format!("alter database {draft} allow_connections false"),
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{draft}'"),
        format!("alter database {draft} rename to {name}"),
    ] {
        admin.batch_execute(&statement).await.unwrap();
    }
}

/// Brings a new database to the state every test starts from.
async fn migrate(url: &str) {
    let database = Database::new(&DatabaseOptions::new(url)).expect("a URL of ours");
    rowcast::db::migrate(&database).await.expect("migrations");
}

/// So that a long-lived server never serves the template of older migrations.
fn hash_of_migrations() -> u64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let mut hasher = DefaultHasher::new();
    for path in paths {
        fs::read(path).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

async fn administer(statement: String) {
    if let Err(error) = try_administer(statement.clone()).await {
        panic!("{statement}: {error:?}");
    }
}

async fn try_administer(statement: String) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&server_url("postgres"), NoTls).await?;
    let connection = tokio::spawn(connection);
    let outcome = client.batch_execute(&statement).await;
    drop(client);
    // Goodbye is said by the connection's task; without waiting, connections would pile up.
    let _ = connection.await;
    outcome
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
