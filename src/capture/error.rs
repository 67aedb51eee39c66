//! Why a capture session ended; every reason is answered with a new session.

use std::time::Duration;

use crate::catalog::LoadError;
use crate::db::ConnectError;

use crate::event::NotASnapshot;

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("could not connect")]
    Connect(#[source] ConnectError),
    #[error("could not {doing}")]
    Query {
        doing: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("the database did not {doing} within {deadline:?}")]
    Silent {
        doing: &'static str,
        deadline: Duration,
    },
    #[error("a notification to ourselves was not heard within {deadline:?}")]
    Deaf { deadline: Duration },
    #[error("the connection closed")]
    Closed,
    #[error("the change log answered with something unexpected")]
    Snapshot(#[from] NotASnapshot),
    #[error("could not load the catalog")]
    Catalog(#[from] LoadError),
    /// Nobody takes feed items any more: the process is ending.
    #[error("the feed has no receiver")]
    FeedClosed,
}
