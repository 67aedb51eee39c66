//! Where a run takes place: a database, the tables in it, and the server that is put to the test.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::embedded::Cluster;
use tokio::task::block_in_place;
use tokio_postgres::Client;

use super::chaos::Served;
use super::policy::Who;
use super::world::{Collection, PEOPLE};
use crate::support::feed::{run as execute, text};
use crate::support::process::{free_port, ready};
use crate::support::{TestDatabase, cluster_options, database};

/// Every so many seeds have a Postgres of their own, which may be killed.
const OWN_CLUSTER: u64 = 5;

/// Where a run's tables are.
pub enum Place {
    Shared(TestDatabase),
    Own(Box<Cluster>),
}

impl Place {
    pub async fn new(seed: u64) -> Self {
        if !seed.is_multiple_of(OWN_CLUSTER) {
            return Self::Shared(database().await);
        }
        let cluster = block_in_place(|| {
            let mut options = cluster_options();
            // A commit that was told of must not be undone by the crash.
            options.fsync = true;
            Cluster::start(&options).expect("a private Postgres")
        });
        let database = Database::new(&DatabaseOptions::new(cluster.url("postgres"))).unwrap();
        migrate(&database).await.unwrap();
        Self::Own(Box::new(cluster))
    }

    pub fn url(&self) -> String {
        match self {
            Self::Shared(database) => database.url.clone(),
            Self::Own(cluster) => cluster.url("postgres"),
        }
    }

    pub fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Shared(_) => None,
            Self::Own(cluster) => Some(cluster),
        }
    }
}

/// Starts the server under test and waits until it is ready.
pub async fn serve(seed: u64, url: &str, is_forgetful: bool) -> Served {
    let history = if is_forgetful { "40" } else { "65536" };
    let settings = [
        // Its log is read when a run fails; secrets and rows are not in it.
        ("ROWCAST_LOG", "rowcast=debug"),
        ("ROWCAST_HISTORY_FRAMES", history),
        ("ROWCAST_RESUME_POINTS_MAX", "10000000"),
    ];
    let mut served = Served {
        url: url.to_owned(),
        port: free_port(),
        log: log_file(seed),
        settings: settings
            .map(|(name, value)| (name, value.to_owned()))
            .into(),
        process: None,
    };
    let _ = fs::remove_file(&served.log);
    served.restart();
    ready(&served.base()).await;
    served
}

/// Makes the tables, the ledger and the people.
pub async fn create(admin: &Client, collections: &mut [Collection]) {
    execute(admin, include_str!("ledger.sql")).await;
    for person in PEOPLE {
        let statement =
            format!("insert into people values ('{person}', '{person}@example.com', 'x', 'red')");
        execute(admin, &statement).await;
    }
    execute(
        admin,
        "select rowcast.attach('people', kind => 'auth', identity => array['email'], password => 'password_hash');
         select rowcast.attach('mark', list_rule => '')",
    )
    .await;
    for collection in collections {
        execute(admin, &collection.definition()).await;
        let id = format!(
            "select id from rowcast.collections where name = '{}'",
            collection.name
        );
        collection.collection_id = text(admin, &id).await;
    }
}

/// By which somebody proves who it is.
pub async fn token(url: &str, admin: &Client, who: Who) -> Option<String> {
    let lifetime = Duration::from_secs(24 * 3_600);
    match who {
        Who::Guest => None,
        Who::Person(at) => {
            let database = Database::new(&DatabaseOptions::new(url)).unwrap();
            let token =
                rowcast::auth::issue_record_token(&database, "people", PEOPLE[at], lifetime).await;
            Some(token.unwrap())
        }
        Who::Superuser => {
            let token =
                rowcast::auth::issue_superuser_token(admin, "root@example.com", lifetime).await;
            Some(token.unwrap().token)
        }
    }
}

fn log_file(seed: u64) -> PathBuf {
    std::env::temp_dir().join(format!("rowcast-oracle-{}-{seed}.log", std::process::id()))
}
