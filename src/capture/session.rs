//! One connection to the database that listens and reads.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, RowStream, Statement};

use super::error::SessionError;
use crate::db::{Database, DatabaseConnection};
use crate::event::{Snapshot, Xid};

const PREPARE_SESSION: &str = include_str!("../../sql/capture/prepare_session.sql");
const LISTEN: &str = include_str!("../../sql/capture/listen.sql");
pub(super) const OPEN_LOG: &str = include_str!("../../sql/capture/open_log.sql");
const SESSION: &str = include_str!("../../sql/capture/session.sql");
const CURRENT_SNAPSHOT: &str = include_str!("../../sql/capture/current_snapshot.sql");
const BELIEVED_BELOW: &str = include_str!("../../sql/capture/believed_below.sql");
const RECENT: &str = include_str!("../../sql/capture/recent.sql");
const READ_CHANGES: &str = include_str!("../../sql/capture/read_changes.sql");
const FALL_ASLEEP: &str = include_str!("../../sql/capture/fall_asleep.sql");
const WAKE_UP: &str = include_str!("../../sql/capture/wake_up.sql");
const PROBE: &str = include_str!("../../sql/capture/probe.sql");

/// What has come through the doorbell so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The highest value a writer rang with.
    pub bell: i64,
    /// The highest probe of our own.
    pub probe: u64,
}

/// A connection that has begun to listen. Dropping it closes the connection.
pub(super) struct Session {
    client: Client,
    heard: watch::Receiver<Heard>,
    driver: JoinHandle<()>,
    read_changes: Statement,
    answer_deadline: Duration,
    /// Tells our probes from those of other nodes, which listen on the same channel.
    tag: String,
    probes: u64,
    /// The epoch of positions.
    pub epoch: String,
    /// Whether transactions may be prepared for two-phase commit here.
    pub may_prepare_transactions: bool,
}

impl Session {
    /// Connects, listens, and makes the log ready. Listening comes before any reading, so that
    /// nothing can happen in between unnoticed.
    pub(super) async fn open(
        database: &Database,
        answer_deadline: Duration,
    ) -> Result<Self, SessionError> {
        let (client, connection) = database
            .connect("rowcast capture")
            .await
            .map_err(SessionError::Connect)?;
        let (sender, heard) = watch::channel(Heard::default());
        let tag = format!("{:016x}", rand::random::<u64>());
        let driver = tokio::spawn(drive(connection, tag.clone(), sender));
        let session = Self::prepare(client, heard, driver, tag, answer_deadline);
        within(answer_deadline, "open the change log", session).await
    }

    async fn prepare(
        client: Client,
        heard: watch::Receiver<Heard>,
        driver: JoinHandle<()>,
        tag: String,
        answer_deadline: Duration,
    ) -> Result<Self, SessionError> {
        let failed = |doing| move |source| SessionError::Query { doing, source };
        client
            .batch_execute(LISTEN)
            .await
            .map_err(failed("listen"))?;
        client
            .batch_execute(PREPARE_SESSION)
            .await
            .map_err(failed("prepare the session"))?;
        let found: String = client
            .query_one(OPEN_LOG, &[])
            .await
            .and_then(|row| row.try_get("found"))
            .map_err(failed("open the change log"))?;
        match &*found {
            "open" => {}
            // Retention says what is to be done, and does it when there is room.
            "full" => tracing::warn!("the change log is closed for want of room on its disk"),
            _ => tracing::warn!(reason = found, "the change log was emptied and starts anew"),
        }
        let row = client
            .query_one(SESSION, &[])
            .await
            .map_err(failed("read the log's epoch"))?;
        let epoch = row
            .try_get("epoch")
            .map_err(failed("read the log's epoch"))?;
        let prepared_transactions_max: i32 = row
            .try_get("prepared_transactions_max")
            .map_err(failed("read max_prepared_transactions"))?;
        let read_changes = client
            .prepare(READ_CHANGES)
            .await
            .map_err(failed("prepare to read the change log"))?;
        Ok(Self {
            client,
            heard,
            driver,
            read_changes,
            answer_deadline,
            tag,
            probes: 0,
            epoch,
            may_prepare_transactions: prepared_transactions_max > 0,
        })
    }

    /// The epoch as of now; it changes when the log is started anew.
    pub(super) async fn reload_epoch(&mut self) -> Result<(), SessionError> {
        self.epoch = self
            .query("read the log's epoch", SESSION, &[], |row| {
                row.try_get("epoch")
            })
            .await?;
        Ok(())
    }

    /// The transactions that have ended by now.
    pub(super) async fn current_snapshot(&self) -> Result<Snapshot, SessionError> {
        let text: String = self
            .query("tell its snapshot", CURRENT_SNAPSHOT, &[], |row| {
                row.try_get("snapshot")
            })
            .await?;
        Ok(text.parse()?)
    }

    /// Starts a read of everything that `head` does not contain.
    pub(super) async fn read(&self, head: &Snapshot) -> Result<Pin<Box<RowStream>>, SessionError> {
        start_read(&self.client, &self.read_changes, head, self.answer_deadline).await
    }

    /// Asks writers to ring. Returns what they will ring with, and the barrier below which writers
    /// may not know yet.
    pub(super) async fn fall_asleep(&self) -> Result<(i64, Xid), SessionError> {
        self.query("fall asleep", FALL_ASLEEP, &[], |row| {
            let barrier: String = row.try_get("barrier")?;
            let barrier = barrier.parse().expect("xid8 is printed as digits");
            Ok((row.try_get("bell")?, barrier))
        })
        .await
    }

    /// Tells writers that heard `bell` has done its work.
    pub(super) async fn wake_up(&self, bell: i64) -> Result<(), SessionError> {
        self.query("wake up", WAKE_UP, &[&bell], |_| Ok(())).await
    }

    /// Sends a notification to ourselves and waits until it arrives.
    ///
    /// # Errors
    /// [`SessionError::Deaf`] if it does not arrive in time: the connection is half dead, or a
    /// pooler stands in between.
    pub(super) async fn probe(&mut self) -> Result<(), SessionError> {
        self.probes += 1;
        let probe = self.probes;
        let payload = format!("{}:{probe}", self.tag);
        self.query("send a probe", PROBE, &[&payload], |_| Ok(()))
            .await?;
        let deadline = self.answer_deadline;
        match timeout(deadline, self.heard.wait_for(|heard| heard.probe >= probe)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(SessionError::Closed),
            Err(_) => Err(SessionError::Deaf { deadline }),
        }
    }

    /// What has been heard so far.
    pub(super) fn heard(&self) -> Heard {
        *self.heard.borrow()
    }

    /// Waits until a writer rings with at least `bell`. Safe to drop half-way.
    pub(super) async fn ring(&mut self, bell: i64) -> Result<i64, SessionError> {
        let heard = self.heard.wait_for(|heard| heard.bell >= bell).await;
        heard
            .map(|heard| heard.bell)
            .map_err(|_| SessionError::Closed)
    }

    async fn query<T>(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
        read: impl FnOnce(&tokio_postgres::Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, SessionError> {
        let answer = async {
            let row = self.client.query_one(sql, parameters).await;
            row.and_then(|row| read(&row))
                .map_err(|source| SessionError::Query { doing, source })
        };
        within(self.answer_deadline, doing, answer).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What somebody who reads the past must know of the present.
pub(super) struct Moment {
    pub epoch: String,
    pub snapshot: Snapshot,
    /// Nothing is recorded, so the log does not tell what happens.
    pub is_closed: bool,
}

impl Moment {
    pub(super) async fn of(client: &Client, deadline: Duration) -> Result<Self, SessionError> {
        let doing = "tell its snapshot and the log's epoch";
        let failed = |source| SessionError::Query { doing, source };
        let rows = async {
            let session = client.query_one(SESSION, &[]).await?;
            let current = client.query_one(CURRENT_SNAPSHOT, &[]).await?;
            let is_closed = session.try_get("is_closed")?;
            let snapshot = current.try_get("snapshot")?;
            Ok((session.try_get("epoch")?, snapshot, is_closed))
        };
        let (epoch, snapshot, is_closed): (String, String, bool) =
            within(deadline, doing, async { rows.await.map_err(failed) }).await?;
        Ok(Self {
            epoch,
            snapshot: snapshot.parse()?,
            is_closed,
        })
    }
}

/// What a position of an earlier life of Postgres may still claim; `None` for one that nobody knows.
pub(super) async fn believed_below(
    client: &Client,
    life: &str,
    deadline: Duration,
) -> Result<Option<Xid>, SessionError> {
    let doing = "tell what to believe after a crash";
    let answer = async {
        let row = client.query_one(BELIEVED_BELOW, &[&life]).await;
        row.and_then(|row| row.try_get::<_, Option<String>>("xid"))
            .map_err(|source| SessionError::Query { doing, source })
    };
    let xid = within(deadline, doing, answer).await?;
    Ok(xid.map(|xid| xid.parse().expect("xid8 is printed as digits")))
}

/// The first of the latest transactions, of about `changes` changes at most, of which the log still has everything.
pub(super) async fn whole_from(
    client: &Client,
    changes: u32,
    deadline: Duration,
) -> Result<Xid, SessionError> {
    let doing = "find out how far back the log reaches";
    let answer = async {
        let row = client.query_one(RECENT, &[&i64::from(changes)]).await;
        row.and_then(|row| row.try_get::<_, i64>("xid"))
            .map_err(|source| SessionError::Query { doing, source })
    };
    let xid = within(deadline, doing, answer).await?;
    Ok(Xid(xid.unsigned_abs()))
}

/// Starts a read of everything that `head` does not contain, on any connection.
pub(super) async fn read_changes(
    client: &Client,
    head: &Snapshot,
    deadline: Duration,
) -> Result<Pin<Box<RowStream>>, SessionError> {
    let doing = "prepare to read the change log";
    let statement = within(deadline, doing, async {
        let prepared = client.prepare(READ_CHANGES).await;
        prepared.map_err(|source| SessionError::Query { doing, source })
    });
    start_read(client, &statement.await?, head, deadline).await
}

async fn start_read(
    client: &Client,
    statement: &Statement,
    head: &Snapshot,
    deadline: Duration,
) -> Result<Pin<Box<RowStream>>, SessionError> {
    let xmax = head.xmax().0.to_string();
    let in_progress: Vec<String> = head
        .in_progress()
        .iter()
        .map(|xid| xid.0.to_string())
        .collect();
    let rows = client.query_raw::<_, &(dyn tokio_postgres::types::ToSql + Sync), _>(
        statement,
        [&xmax as _, &in_progress as _],
    );
    let rows = within(deadline, "answer a read of the log", async {
        rows.await.map_err(|source| SessionError::Query {
            doing: "read the change log",
            source,
        })
    });
    Ok(Box::pin(rows.await?))
}

async fn within<T>(
    deadline: Duration,
    doing: &'static str,
    answer: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    timeout(deadline, answer)
        .await
        .unwrap_or(Err(SessionError::Silent { doing, deadline }))
}

/// Drives the connection until it ends; what is heard goes to `heard`, whose closing tells the end.
async fn drive(mut connection: DatabaseConnection, tag: String, heard: watch::Sender<Heard>) {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                heard.send_if_modified(|heard| heard.note(notification.payload(), &tag));
            }
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::debug!(
                    severity = notice.severity(),
                    message = notice.message(),
                    "notice"
                );
            }
            // Not exhaustive upstream; anything else is of no interest.
            Some(Ok(_)) => {}
            // The query under way fails with the reason; here it would be told twice.
            Some(Err(_)) | None => return,
        }
    }
}

impl Heard {
    /// Takes in a notification's payload; whether it says anything new. Others may notify on our
    /// channel, so anything unexpected is passed over.
    fn note(&mut self, payload: &str, tag: &str) -> bool {
        let before = *self;
        if let Some(probe) = payload.strip_prefix("probe:") {
            let ours = probe
                .strip_prefix(tag)
                .and_then(|rest| rest.strip_prefix(':'));
            let number = ours.and_then(|number| number.parse().ok());
            self.probe = self.probe.max(number.unwrap_or(0));
        } else if let Ok(bell) = payload.parse() {
            self.bell = self.bell.max(bell);
        }
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rings_and_our_own_probes_are_heard() {
        let mut heard = Heard::default();
        for (payload, news, bell, probe) in [
            ("", false, 0, 0),
            ("5", true, 5, 0),
            ("3", false, 5, 0),
            ("probe:ab:1", true, 5, 1),
            ("probe:cd:9", false, 5, 1),
            ("probe:ab", false, 5, 1),
            ("probe:ab:x", false, 5, 1),
            ("hello", false, 5, 1),
            ("7", true, 7, 1),
        ] {
            assert_eq!(heard.note(payload, "ab"), news, "{payload}");
            assert_eq!(heard, Heard { bell, probe }, "{payload}");
        }
    }
}
