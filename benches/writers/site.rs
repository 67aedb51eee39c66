//! One variant under test: its database, its writers, and its server if it has one.

use std::time::Duration;

use rowcast::db::{Database, DatabaseOptions, migrate};
use rowcast::embedded::Cluster;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls, Statement};

use crate::Error;
use crate::options::Options;
use crate::server::Server;

/// The tables every variant has, and what tells the variants apart.
const TABLES: &str = include_str!("tables.sql");
const ATTACH: &str = include_str!("attach.sql");
const MUTE: &str = include_str!("mute.sql");
const NOTIFY: &str = include_str!("notify.sql");
const INSERT: &str = "insert into public.items (n, title, body) values ($1, $2, $3)";

/// What happens to a change beside being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// Nothing: what the others are compared with.
    Plain,
    /// It is captured; nobody reads, and the bell says that readers are awake, so it never rings.
    Captured,
    /// It is captured by triggers that know no bell, and `rowcast serve` polls, reads it and sends
    /// it to a subscriber.
    Polled,
    /// It is captured, and `rowcast serve` reads it and sends it to a subscriber.
    Served,
    /// The usual way: a row trigger puts the row into a notification.
    Notify,
}

impl Variant {
    /// In the order of the table's columns.
    pub const ALL: [Self; 5] = [
        Self::Plain,
        Self::Captured,
        Self::Polled,
        Self::Served,
        Self::Notify,
    ];

    /// The column's head.
    pub fn title(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Captured => "triggers, no server",
            Self::Polled => "without bell + server",
            Self::Served => "triggers + server",
            Self::Notify => "pg_notify per row",
        }
    }

    fn database(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Captured => "captured",
            Self::Polled => "polled",
            Self::Served => "served",
            Self::Notify => "notify",
        }
    }
}

/// A writer's connection.
pub struct Writer {
    client: Client,
    insert: Statement,
}

impl Writer {
    /// Inserts one row of about 250 bytes in a transaction of its own.
    pub async fn insert(&self, n: i64) -> Result<(), Error> {
        const TITLE: &str = "What a row costs when somebody listens";
        let body = format!("{n:0160}");
        self.client
            .execute(&self.insert, &[&n, &TITLE, &body])
            .await?;
        Ok(())
    }
}

/// One variant's database.
pub struct Site {
    variant: Variant,
    url: String,
    /// For statements that are not one-row inserts.
    pub control: Client,
    /// Those who insert; as many as any load needs.
    pub writers: Vec<Writer>,
    server: Option<Server>,
    next_mark: i64,
}

impl Site {
    /// Makes the database and everything in it, and connects.
    pub async fn build(
        cluster: &Cluster,
        variant: Variant,
        options: &Options,
    ) -> Result<Self, Error> {
        let admin = connect(&cluster.url("postgres")).await?;
        let create = format!("create database {}", variant.database());
        admin.batch_execute(&create).await?;
        let url = cluster.url(variant.database());
        let control = connect(&url).await?;
        control.batch_execute(TABLES).await?;
        let mut server = None;
        match variant {
            Variant::Plain => {}
            Variant::Notify => control.batch_execute(NOTIFY).await?,
            Variant::Captured | Variant::Polled | Variant::Served => {
                migrate(&Database::new(&DatabaseOptions::new(&url))?).await?;
                control.batch_execute(ATTACH).await?;
            }
        }
        if variant == Variant::Polled {
            control.batch_execute(MUTE).await?;
            server = Some(Server::start(&options.server, &url, "off").await?);
        }
        if variant == Variant::Served {
            server = Some(Server::start(&options.server, &url, "on").await?);
        }
        let mut site = Self {
            variant,
            writers: Vec::new(),
            control,
            url,
            server,
            next_mark: 1,
        };
        for _ in 0..options.writers_max() {
            site.add_writer().await?;
        }
        Ok(site)
    }

    /// Which variant this is.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Where the database is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server, if this variant has one.
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    async fn add_writer(&mut self) -> Result<(), Error> {
        let client = connect(&self.url).await?;
        let insert = client.prepare(INSERT).await?;
        self.writers.push(Writer { client, insert });
        Ok(())
    }

    /// Waits until the server has nothing left to do, so that its work falls on nobody else.
    pub async fn settle(&mut self) -> Result<(), Error> {
        let mark = self.next_mark;
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        self.next_mark += 1;
        self.control
            .execute("insert into public.marks (n) values ($1)", &[&mark])
            .await?;
        server.await_mark(mark).await?;
        if self.variant == Variant::Polled {
            return Ok(());
        }
        self.await_sleep().await
    }

    /// Waits until the bell would ring; a server that stays awake is no error here.
    async fn await_sleep(&self) -> Result<(), Error> {
        const ASLEEP: &str = "select pg_sequence_last_value('rowcast.bell') & 1 = 1";
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if self.control.query_one(ASLEEP, &[]).await?.get(0) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Connects; the connection lives as long as the client.
pub async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
