//! Which statements the server sends: Postgres logs them while we ask it to.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use rowcast::embedded::Cluster;

use crate::Error;
use crate::site::{Site, connect};

/// Counts the statements that others than the bench send to one database.
pub struct Queries {
    log: PathBuf,
    from: u64,
    /// How the server's lines begin.
    prefix: String,
}

impl Queries {
    /// From now on connections that are made to the site's database are logged; existing ones once
    /// they have seen the new setting, which takes a moment.
    pub async fn log(cluster: &Cluster, site: &Site) -> Result<(), Error> {
        let admin = connect(&cluster.url("postgres")).await?;
        let database = site.database();
        // A setting of the database would hold for new sessions only.
        let statement = "alter system set log_statement = 'all'";
        admin.batch_execute(statement).await?;
        admin.batch_execute("select pg_reload_conf()").await?;
        // Its own statement shows when the setting has come into force.
        let seen = Self::begin(cluster, database, "fanout")?;
        while seen.count()? == 0 {
            site.client()
                .batch_execute("select 'are we heard?'")
                .await?;
        }
        Ok(())
    }

    /// No statements are logged any more.
    pub async fn stop(cluster: &Cluster) -> Result<(), Error> {
        let admin = connect(&cluster.url("postgres")).await?;
        let statement = "alter system reset log_statement";
        admin.batch_execute(statement).await?;
        admin.batch_execute("select pg_reload_conf()").await?;
        Ok(())
    }

    /// Counts from here on those of the server.
    pub fn of_server(cluster: &Cluster, site: &Site) -> Result<Self, Error> {
        Self::begin(cluster, site.database(), "rowcast")
    }

    fn begin(cluster: &Cluster, database: &str, application: &str) -> Result<Self, Error> {
        let log = cluster.directory().join("log");
        Ok(Self {
            from: log.metadata()?.len(),
            log,
            prefix: format!("{database}/{application}"),
        })
    }

    /// How many there were.
    pub fn count(&self) -> Result<u64, Error> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let lines = text.lines().filter(|line| {
            line.starts_with(&self.prefix)
                && (line.contains("LOG:  statement:") || line.contains("LOG:  execute "))
        });
        Ok(lines.count() as u64)
    }
}
