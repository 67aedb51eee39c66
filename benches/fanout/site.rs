//! A database of its own with a collection, and `rowcast serve` as a process of its own.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::embedded::Cluster;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use crate::Error;
use crate::process::Process;

const TABLES: &str = include_str!("tables.sql");
const INSERT: &str = include_str!("insert.sql");
const INSERT_MANY: &str = include_str!("insert_many.sql");
const UPDATE: &str = include_str!("update.sql");
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What the tokens of the bench's principals are signed with.
pub const TOKEN_SECRET: &str = "a secret of the benchmark and of nobody else";

/// A row to be written.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Which row gets another number, instead of a new row.
    pub id: Option<i64>,
    /// The number clients recognise it by.
    pub n: u32,
    /// Whose it is.
    pub owner: String,
    /// Which of its owner's subscriptions it is for.
    pub slot: i32,
}

/// A database and the server for it.
pub struct Site {
    /// Writes, under the name `fanout`.
    client: Client,
    insert: Statement,
    insert_many: Statement,
    update: Statement,
    database: String,
    url: String,
    program: PathBuf,
    address: SocketAddr,
    /// Killed on drop.
    child: Option<Child>,
    log: PathBuf,
    next: u32,
}

impl Site {
    /// Makes the database with this rule and starts the server.
    pub async fn build(
        cluster: &Cluster,
        program: &Path,
        name: &str,
        rule: &str,
    ) -> Result<Self, Error> {
        let database = format!("fanout_{name}");
        let admin = connect(&cluster.url("postgres")).await?;
        let create = format!("create database {database}");
        admin.batch_execute(&create).await?;
        let url = cluster.url(&database);
        migrate(&Database::new(&DatabaseOptions::new(&url))?).await?;
        let client = connect(&url).await?;
        client.batch_execute(TABLES).await?;
        let attach = "select rowcast.attach('public.items', name => 'items', list_rule => $1, view_rule => $1)";
        client.query_one(attach, &[&rule]).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        drop(listener);
        let mut site = Self {
            insert: client.prepare(INSERT).await?,
            insert_many: client.prepare(INSERT_MANY).await?,
            update: client.prepare(UPDATE).await?,
            client,
            log: Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{database}.log")),
            database,
            url,
            program: program.to_owned(),
            address,
            child: None,
            next: 1,
        };
        site.start().await?;
        Ok(site)
    }

    /// Starts the server, which is not running, at the address it always has.
    pub async fn start(&mut self) -> Result<(), Error> {
        const SETTINGS: [(&str, &str); 6] = [
            ("ROWCAST_BELL", "on"),
            ("ROWCAST_LOG", "warn"),
            ("ROWCAST_JWT_SECRET", TOKEN_SECRET),
            ("ROWCAST_SUBSCRIBERS_PER_ADDRESS_MAX", "100000"),
            // Nobody leaves because nothing happens, or for having stayed long.
            ("ROWCAST_IDLE_TIMEOUT", "2h"),
            ("ROWCAST_MAX_LIFETIME", "2h"),
        ];
        let output = File::create(&self.log)?;
        let child = Command::new(env::current_exe()?)
            .arg("--serve")
            .arg(&self.program)
            .args(["--database", &self.url])
            .env("ROWCAST_LISTEN", self.address.to_string())
            .envs(SETTINGS)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        self.await_ready().await
    }

    /// Ends the server as `kill -9` does.
    pub async fn kill(&mut self) -> Result<(), Error> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of its database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The URL of its database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// For other statements than rows.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The server's process.
    pub fn process(&self) -> Result<Process, Error> {
        let id = self.child.as_ref().and_then(Child::id);
        Ok(Process(id.ok_or("the server is not running")?))
    }

    /// The number of the next row.
    pub fn take_number(&mut self) -> u32 {
        self.take_numbers(1)
    }

    /// The first of the numbers of the next rows.
    pub fn take_numbers(&mut self, count: u32) -> u32 {
        self.next += count;
        self.next - count
    }

    /// Writes a row in a transaction of its own.
    pub async fn write(&self, row: &Row) -> Result<(), Error> {
        let n = i64::from(row.n);
        match row.id {
            Some(id) => self.client.execute(&self.update, &[&id, &n]).await?,
            None => {
                let values: [&(dyn ToSql + Sync); 3] = [&n, &row.owner, &row.slot];
                self.client.execute(&self.insert, &values).await?
            }
        };
        Ok(())
    }

    /// Inserts rows with these numbers in one statement.
    pub async fn insert_many(&self, first: u32, count: u32) -> Result<(), Error> {
        let (first, count) = (i64::from(first), i64::from(count));
        self.client
            .execute(&self.insert_many, &[&first, &count])
            .await?;
        Ok(())
    }

    /// The value of a counter in `/metrics`.
    pub async fn metric(&self, name: &str) -> Result<u64, Error> {
        let url = format!("http://{}/metrics", self.address);
        let text = reqwest::get(&url).await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line
            .ok_or_else(|| format!("no {name} in {url}"))?
            .trim()
            .parse()?)
    }

    async fn await_ready(&mut self) -> Result<(), Error> {
        let url = format!("http://{}/api/ready", self.address);
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Err(self.trouble(&format!("ended with {status}")));
            }
            if reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Err(self.trouble("was not ready in time"))
    }

    fn trouble(&self, what: &str) -> Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!("`rowcast serve` {what}; it said:\n{log}").into()
    }
}

/// Becomes `rowcast serve`, which ends when the bench does, whatever way that happens.
pub fn become_server(program: &Path, database: &str) -> Result<(), Error> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut command = std::process::Command::new(program);
    let error = command.args(["serve", "--database-url", database]).exec();
    Err(format!("could not run {}: {error}", program.display()).into())
}

/// Connects; the connection lives as long as the client.
pub async fn connect(url: &str) -> Result<Client, Error> {
    let mut config: tokio_postgres::Config = url.parse()?;
    config.application_name("fanout");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
