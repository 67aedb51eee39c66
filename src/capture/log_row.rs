//! One row of the change log, as the database sends it.

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::{FromSql, PgLsn, Type};

use super::assemble::Noted;
use super::cursor::Place;
use crate::catalog::CollectionKey;
use crate::event::Xid;

/// One row of the log.
pub(super) struct LogRow {
    pub xid: Xid,
    /// The place in the write-ahead log of the transaction's last row.
    pub transaction_end: u64,
    pub place: Place,
    pub collection: CollectionKey,
    pub op: u8,
    /// A statement of a trigger wrote it.
    pub nested: bool,
    pub old: Option<Box<str>>,
    pub new: Option<Box<str>>,
}

impl LogRow {
    pub(super) fn from_sql(row: &SqlRow) -> Result<Self, tokio_postgres::Error> {
        let xid: i64 = row.try_get("xid")?;
        let lsn: PgLsn = row.try_get("lsn")?;
        let transaction_end: Option<PgLsn> = row.try_get("transaction_end")?;
        let op: i8 = row.try_get("op")?;
        Ok(Self {
            xid: Xid(xid.cast_unsigned()),
            transaction_end: transaction_end.map_or(0, Into::into),
            place: Place {
                lsn: lsn.into(),
                n: row.try_get("n")?,
            },
            collection: CollectionKey(row.try_get("collection")?),
            op: op.cast_unsigned().to_ascii_uppercase(),
            nested: op.cast_unsigned().is_ascii_lowercase(),
            old: row.try_get::<_, Option<Image>>("old")?.map(|image| image.0),
            new: row.try_get::<_, Option<Image>>("new")?.map(|image| image.0),
        })
    }

    /// What happened to the row; `None` if it is not said, as when too many were truncated at once.
    pub(super) fn noted(self) -> Option<Noted> {
        match (self.op, self.old, self.new) {
            (b'I', _, Some(new)) => Some(Noted::Inserted(new)),
            // What changed its keys is known by the image from before, like what is gone.
            (b'D' | b'K', Some(old), _) => Some(Noted::Deleted(old)),
            (b'U', old, new) if old.is_some() || new.is_some() => Some(Noted::Updated { old, new }),
            _ => None,
        }
    }
}

/// Text that may hold bytes which are none in UTF-8, as a value of type `"char"` or any value of a database
/// in `SQL_ASCII` can. A reader that failed on them would fail on them again for ever.
struct Image(Box<str>);

impl<'a> FromSql<'a> for Image {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(String::from_utf8_lossy(raw).into()))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TEXT
    }
}
