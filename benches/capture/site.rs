//! A private Postgres with one table that is captured, and what is written to it.

use std::env;
use std::time::Duration;

use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::embedded::{Binaries, Cluster, ClusterOptions, Search};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use crate::Error;

const TABLE: &str = "
    create table public.items (
        id bigint generated always as identity primary key, n bigint not null, title text not null,
        body text not null, done boolean not null default false, created timestamptz not null default now());
    select rowcast.attach('public.items', list_rule => '', view_rule => '');";

/// How changes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A row per transaction.
    Singles,
    /// Ten rows per statement and transaction.
    Tens,
    /// A thousand rows per statement and transaction.
    Statements,
    /// As before, but rows are changed: two images each.
    Updates,
}

impl Shape {
    pub const ALL: [Self; 4] = [Self::Singles, Self::Tens, Self::Statements, Self::Updates];

    pub fn title(self) -> &'static str {
        match self {
            Self::Singles => "1 row each",
            Self::Tens => "10 rows each",
            Self::Statements => "1,000 rows each",
            Self::Updates => "1,000 updates each",
        }
    }

    /// Rows of a whole number of transactions, fewer where each takes long.
    pub fn rows(self, rows: u64) -> u64 {
        let share = match self {
            Self::Singles => rows / 10,
            _ => rows,
        };
        share.next_multiple_of(1_000)
    }

    fn rows_each(self) -> u64 {
        match self {
            Self::Singles => 1,
            Self::Tens => 10,
            Self::Statements | Self::Updates => 1_000,
        }
    }
}

/// The database under test.
pub struct Site {
    pub url: String,
    control: Client,
    _cluster: Cluster,
}

impl Site {
    pub async fn build() -> Result<Self, Error> {
        let mut options = ClusterOptions::new(Binaries::find(&search())?);
        let settings = [
            ("shared_buffers", "512MB"),
            // What a disk costs is what `--bench writers` measures.
            ("synchronous_commit", "off"),
            ("autovacuum", "off"),
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "1h"),
        ];
        options.settings = settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let cluster = tokio::task::block_in_place(|| Cluster::start(&options))?;
        let admin = connect(&cluster.url("postgres")).await?;
        admin.batch_execute("create database feed").await?;
        let url = cluster.url("feed");
        migrate(&Database::new(&DatabaseOptions::new(&url))?).await?;
        let control = connect(&url).await?;
        control.batch_execute(TABLE).await?;
        Ok(Self {
            url,
            control,
            _cluster: cluster,
        })
    }

    /// Writes so many rows from one connection, inside the server.
    pub async fn write(&self, shape: Shape, rows: u64) -> Result<(), Error> {
        let each = shape.rows_each();
        let statement = match shape {
            // `i` counts the transactions.
            Shape::Updates => "update public.items set done = not done, title = i::text".to_owned(),
            _ => fill(each),
        };
        let writer = connect(&self.url).await?;
        if shape == Shape::Updates {
            // Not among what is counted.
            self.muted(&format!("truncate public.items; {}", fill(each)))
                .await?;
        }
        let transactions = rows / each;
        writer
            .batch_execute(&format!(
                "do $$ begin for i in 1..{transactions} loop {statement}; commit; end loop; end $$"
            ))
            .await?;
        Ok(())
    }

    /// Runs statements that are not captured.
    async fn muted(&self, statements: &str) -> Result<(), Error> {
        let all =
            format!("begin; set local session_replication_role = replica; {statements}; commit");
        Ok(self.control.batch_execute(&all).await?)
    }

    /// Forgets what was written, once nobody reads it.
    pub async fn empty_log(&self) -> Result<(), Error> {
        let empty = "truncate rowcast.changes; vacuum";
        for statement in empty.split(';') {
            self.control.batch_execute(statement).await?;
        }
        self.muted("truncate public.items").await
    }

    /// The backend that serves capture's connection.
    pub async fn reader(&self) -> Result<i32, Error> {
        const READER: &str =
            "select pid from pg_stat_activity where application_name = 'rowcast capture'";
        Ok(self.control.query_one(READER, &[]).await?.try_get(0)?)
    }

    /// Waits until the reader sleeps.
    pub async fn asleep(&self) -> Result<(), Error> {
        const ASLEEP: &str = "select pg_sequence_last_value('rowcast.bell') & 1 = 1";
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.control.query_one(ASLEEP, &[]).await?.try_get(0)? {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("the reader did not fall asleep".into())
    }

    /// Transactions of the database so far, all statements of ours being one each.
    pub async fn statements(&self) -> Result<i64, Error> {
        const COUNT: &str = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
        // Backends report now and then only.
        sleep(Duration::from_secs(2)).await;
        Ok(self.control.query_one(COUNT, &[]).await?.try_get(0)?)
    }

    /// A connection of one's own, and its backend.
    pub async fn connection(&self) -> Result<(Client, i32), Error> {
        let client = connect(&self.url).await?;
        let pid = client.query_one("select pg_backend_pid()", &[]).await?;
        Ok((client, pid.try_get(0)?))
    }
}

/// Inserts so many rows by one statement.
fn fill(rows: u64) -> String {
    format!(
        "insert into public.items (n, title, body)
         select n, 'What a row costs when somebody listens', lpad(n::text, 160, '0') from generate_series(1, {rows}) n"
    )
}

async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn search() -> Search {
    Search {
        pg_bin: env::var_os("PG_BIN").map(Into::into),
        path: env::var_os("PATH"),
        cache: env::var_os("XDG_CACHE_HOME")
            .map(Into::into)
            .or_else(|| env::home_dir().map(|home| home.join(".cache"))),
        offline: false,
    }
}
