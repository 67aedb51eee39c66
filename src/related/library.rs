//! Where related rows come from, as the hub sees it.

use futures_util::future::BoxFuture;

use super::shelf::Found;
use super::want::Want;
use crate::db::PoolError;

/// Opens readings.
pub trait Library: Send + Sync {
    /// A reading that has not begun: the first fetch decides which moment it shows.
    fn open(&self) -> Box<dyn Reading>;
}

/// Any number of fetches that all show the database at one moment.
pub trait Reading: Send {
    /// Fetches rows. Not every want need be answered, at least one is: what is left out would be too
    /// much for one go, and is to be asked for again. Safe to drop half-way, after which the reading is
    /// of no more use.
    ///
    /// # Errors
    /// If the database cannot be asked now. The reading is over then; another one may do better.
    fn fetch<'a>(
        &'a mut self,
        wants: Vec<Want>,
    ) -> BoxFuture<'a, Result<Vec<(Want, Found)>, FetchError>>;
}

/// Why the database cannot be asked now. Trying again, in another reading, is always worth it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection was to be had.
    #[error("no connection to look up related rows with")]
    Pool(#[from] Box<PoolError>),
    /// The connection was lost, or the transaction.
    #[error("the connection was lost while related rows were looked up")]
    Lost(#[from] tokio_postgres::Error),
    /// It answered what cannot be read.
    #[error("the database gave an answer that cannot be understood")]
    Unreadable,
    /// It took too long.
    #[error("the database did not answer in time when asked for related rows")]
    Deadline,
}
