//! All rows of a collection as of one moment, page by page in the order of their keys.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tokio_postgres::types::{PgLsn, ToSql};

use super::library::FetchError;
use super::session::{BEGIN, Connection};
use super::statement::{all_in_order, fits, select};
use crate::catalog::Collection;
use crate::db::{Database, PooledClient};
use crate::event::{Position, Snapshot, Transaction, key_texts};

const BEGIN_LISTING: &str = include_str!("../../sql/related/begin_listing.sql");
const MOMENT: &str = include_str!("../../sql/related/moment.sql");
const UNSEEN: &str = include_str!("../../sql/related/unseen.sql");

/// How long the database may take for one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(12);
/// Transactions that may be unknown and are told of at once.
const UNSEEN_MAX: i64 = 1_000;
/// Rows of a page: few at first, then as many as come to about so many bytes.
const FIRST_ROWS: usize = 16;
const ROWS_MAX: usize = 100;
const PAGE_BYTES: usize = 512 * 1024;

/// Opens listings.
pub trait Tables: Send + Sync {
    /// A listing that has not begun; connects to nothing yet.
    fn open(&self) -> Box<dyn Listing>;
}

/// The rows of one collection. Everything it tells is of one moment. After an error it is of no more
/// use, nor after any of its futures was dropped half-way; to drop it ends it.
pub trait Listing: Send {
    /// Begins: says which transactions have ended.
    ///
    /// # Errors
    /// If the database cannot be asked.
    fn begin(&mut self) -> BoxFuture<'_, Result<Position, FetchError>>;

    /// Transactions of the change log that it sees and `known` may not contain; not always all of them, but
    /// none only if there are none.
    ///
    /// # Errors
    /// If the database cannot be asked.
    fn unseen(&mut self, known: Snapshot) -> BoxFuture<'_, Result<Vec<Transaction>, FetchError>>;

    /// The next rows as JSON, of the fields of `collection`, which is the same at every call. None is the end.
    /// With `record`, only the row with this id.
    ///
    /// # Errors
    /// If the database cannot be asked, or refuses.
    fn page(
        &mut self,
        collection: Arc<Collection>,
        record: Option<Arc<str>>,
    ) -> BoxFuture<'_, Result<Vec<Box<str>>, FetchError>>;
}

/// Listings of a database's tables.
#[derive(Debug, Clone)]
pub struct DatabaseTables(Database);

impl DatabaseTables {
    /// The tables of this database.
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

impl Tables for DatabaseTables {
    fn open(&self) -> Box<dyn Listing> {
        Box::new(TableListing {
            database: self.0.clone(),
            connection: None,
            opened: false,
            rows: FIRST_ROWS,
        })
    }
}

struct TableListing {
    database: Database,
    connection: Option<Connection>,
    /// Whether the cursor is there.
    opened: bool,
    /// How many rows the next page has.
    rows: usize,
}

impl Listing for TableListing {
    fn begin(&mut self) -> BoxFuture<'_, Result<Position, FetchError>> {
        in_time(async move {
            let client = self.database.pool().get().await.map_err(Box::new)?;
            let connection = self.connection.insert(Connection::new(client));
            let client = connection.client();
            client.batch_execute(BEGIN).await?;
            client.batch_execute(BEGIN_LISTING).await?;
            let row = client.query_one(MOMENT, &[]).await?;
            let (snapshot, epoch): (&str, &str) = (row.try_get("snapshot")?, row.try_get("epoch")?);
            let snapshot: Snapshot = snapshot.parse().map_err(|_| FetchError::Unreadable)?;
            Ok(Position::new(epoch.into(), Arc::new(snapshot)))
        })
    }

    fn unseen(&mut self, known: Snapshot) -> BoxFuture<'_, Result<Vec<Transaction>, FetchError>> {
        in_time(async move {
            let xmax = known.xmax().0.to_string();
            let in_progress = known.in_progress().iter();
            let in_progress: Vec<String> = in_progress.map(|xid| xid.0.to_string()).collect();
            let client = self.client()?;
            let known: [&(dyn ToSql + Sync); 3] = [&xmax, &in_progress, &UNSEEN_MAX];
            let rows = client.query(UNSEEN, &known).await?;
            let transactions = rows.into_iter().map(|row| {
                let (xid, end): (&str, PgLsn) = (row.try_get("xid")?, row.try_get("end")?);
                Ok(Transaction {
                    end: end.into(),
                    xid: xid.parse().map_err(|_| FetchError::Unreadable)?,
                })
            });
            transactions.collect()
        })
    }

    fn page(
        &mut self,
        collection: Arc<Collection>,
        record: Option<Arc<str>>,
    ) -> BoxFuture<'_, Result<Vec<Box<str>>, FetchError>> {
        in_time(async move {
            match record {
                Some(id) => self.one(&collection, &id).await,
                None => self.some(&collection).await,
            }
        })
    }
}

impl TableListing {
    fn client(&self) -> Result<&PooledClient, FetchError> {
        let connection = self.connection.as_ref();
        connection
            .map(Connection::client)
            .ok_or(FetchError::Deadline)
    }

    async fn one(
        &mut self,
        collection: &Collection,
        id: &str,
    ) -> Result<Vec<Box<str>>, FetchError> {
        if std::mem::replace(&mut self.opened, true) {
            return Ok(Vec::new());
        }
        let keys = &collection.key_fields;
        let Some(texts) = key_texts(id, collection) else {
            return Ok(Vec::new());
        };
        let mut pairs = keys.iter().zip(&texts);
        if !pairs.all(|(&index, text)| fits(&collection.fields[index], text)) {
            return Ok(Vec::new());
        }
        let texts: Vec<[String; 1]> = texts.into_iter().map(|text| [text]).collect();
        let texts: Vec<_> = texts.iter().map(|text| text.as_slice()).collect();
        let texts: Vec<_> = texts.iter().map(|text| text as _).collect();
        let sql = select(collection, keys, 1, 1);
        match self.client()?.query(&sql, &texts).await {
            Ok(rows) => rows.iter().map(|row| json(row, 1)).collect(),
            // No value of the key's type, so nobody has it.
            Err(error) if is_data_exception(&error) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    async fn some(&mut self, collection: &Collection) -> Result<Vec<Box<str>>, FetchError> {
        let count = self.rows;
        let client = self.client()?;
        if !self.opened {
            let sql = all_in_order(collection);
            let declare = format!("declare listing no scroll cursor for {sql}");
            client.batch_execute(&declare).await?;
        }
        let fetch = format!("fetch forward {count} from listing");
        let rows = client.query(&fetch, &[]).await?;
        let page: Vec<Box<str>> = rows
            .iter()
            .map(|row| json(row, 0))
            .collect::<Result<_, _>>()?;
        self.opened = true;
        let bytes: usize = page.iter().map(|row| row.len()).sum();
        if let Some(each) = bytes.checked_div(page.len()) {
            // Large rows make small pages; never more than twice as many at once.
            self.rows = (PAGE_BYTES / each.max(1)).clamp(1, ROWS_MAX).min(2 * count);
        }
        Ok(page)
    }
}

fn json(row: &tokio_postgres::Row, column: usize) -> Result<Box<str>, FetchError> {
    Ok(row.try_get::<_, &str>(column)?.into())
}

fn is_data_exception(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code().starts_with("22"))
}

/// Gives up when the database does not answer.
fn in_time<'a, T>(
    answer: impl Future<Output = Result<T, FetchError>> + Send + 'a,
) -> BoxFuture<'a, Result<T, FetchError>> {
    async move {
        let answer = timeout(ANSWER_DEADLINE, answer).await;
        answer.unwrap_or(Err(FetchError::Deadline))
    }
    .boxed()
}
