//! Records of auth collections: found by identity or by id, with what their tokens are signed with.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;

use super::principal::{AuthRecord, AuthValues};
use super::seen::Seen;
use super::token::random_key;
use crate::catalog::{self, AuthSettings, Catalog, Collection, LoadError};
use crate::db::{Database, PoolError};
use crate::event::{RecordId, RowImage, parse_image, record_id};

const FIND_RECORD: &str = include_str!("../../sql/auth/find_record.sql");
const ADD_SECRET: &str = include_str!("../../sql/auth/add_collection_secret.sql");

/// How old the catalog may be that tokens are checked with.
const CATALOG_AGE_MAX: Duration = Duration::from_secs(1);

/// The way to the records of auth collections.
#[derive(Debug)]
pub(super) struct AuthRecords {
    database: Database,
    catalog: Mutex<Option<Loaded>>,
}

/// A catalog, and when it began to be loaded.
type Loaded = (Instant, Arc<Catalog>);

/// A record as found, before anything is proved.
pub(super) struct FoundRecord {
    pub collection: Arc<Collection>,
    pub id: Arc<str>,
    pub image: RowImage,
    /// The password's hash; never leaves this room.
    pub password: Option<String>,
    token_key: Option<String>,
    secret: Option<String>,
    secret_version: Option<String>,
    seen: Seen,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The pool had no connection to give.
    #[error("no connection to the database was free")]
    Pool(#[from] Box<PoolError>),
    /// The catalog could not be read.
    #[error("could not read the catalog")]
    Catalog(#[from] LoadError),
    /// A query failed.
    #[error("could not read the auth record")]
    Query(#[from] tokio_postgres::Error),
    /// The row is not what the catalog says.
    #[error(
        "the row of {collection} cannot be read without its never captured columns; run \
         rowcast.attach again with the names as they are"
    )]
    Row {
        /// Which collection.
        collection: Arc<str>,
    },
    /// It took too long.
    #[error("the database did not answer in time")]
    Timeout,
}

impl AuthRecords {
    pub(super) fn new(database: Database) -> Self {
        Self {
            database,
            catalog: Mutex::default(),
        }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// The collection of this id or name, as of now.
    pub(super) async fn collection_now(
        &self,
        name_or_id: &str,
    ) -> Result<Option<Arc<Collection>>, RecordError> {
        let catalog = self.catalog_younger_than(Duration::ZERO).await?;
        Ok(find(&catalog, name_or_id))
    }

    /// The collection of this id or name, as of a moment ago.
    pub(super) async fn collection(
        &self,
        name_or_id: &str,
    ) -> Result<Option<Arc<Collection>>, RecordError> {
        let catalog = self.catalog().await?;
        Ok(find(&catalog, name_or_id))
    }

    /// The names of all auth collections, in order.
    pub(super) async fn auth_collections(&self) -> Result<Vec<String>, RecordError> {
        let catalog = self.catalog().await?;
        let auth = catalog.iter().filter(|each| each.auth.is_some());
        let mut names: Vec<String> = auth.map(|each| each.name.to_string()).collect();
        names.sort();
        Ok(names)
    }

    /// All collections, as of a moment ago.
    pub(super) async fn catalog(&self) -> Result<Arc<Catalog>, RecordError> {
        self.catalog_younger_than(CATALOG_AGE_MAX).await
    }

    async fn catalog_younger_than(&self, age: Duration) -> Result<Arc<Catalog>, RecordError> {
        let asked = Instant::now();
        // Held while loading: those who wait meanwhile are served by the same load.
        let mut remembered = self.catalog.lock().await;
        if let Some((loaded, catalog)) = &*remembered
            && (*loaded >= asked || loaded.elapsed() < age)
        {
            return Ok(Arc::clone(catalog));
        }
        let began = Instant::now();
        let catalog = Arc::new(catalog::load(&self.database).await?);
        *remembered = Some((began, Arc::clone(&catalog)));
        Ok(catalog)
    }

    /// The record with this value in this column, or with this id where no column is named.
    pub(super) async fn find(
        &self,
        collection: &Arc<Collection>,
        column: Option<&str>,
        value: &str,
    ) -> Result<Option<FoundRecord>, RecordError> {
        if value.contains('\0') {
            return Ok(None);
        }
        let row = self.find_row(collection, column, value);
        let row = timeout(self.database.statement_deadline(), row).await;
        let Some(row) = row.unwrap_or(Err(RecordError::Timeout))? else {
            return Ok(None);
        };
        let found = FoundRecord::read(&row, collection)?;
        // Text that only reads as the same key, such as 042 for 42, is no record's id.
        Ok(Some(found).filter(|found| column.is_some() || &*found.id == value))
    }

    async fn find_row(
        &self,
        collection: &Collection,
        column: Option<&str>,
        value: &str,
    ) -> Result<Option<Row>, RecordError> {
        let client = self.database.pool().get().await.map_err(Box::new)?;
        let statement = client.prepare_cached(FIND_RECORD).await?;
        let rows = client
            .query(&statement, &[&&*collection.id, &column, &value])
            .await?;
        // Two would be two people with one name; neither is meant for sure.
        match <[Row; 1]>::try_from(rows) {
            Ok([row]) => Ok(Some(row)),
            Err(_) => Ok(None),
        }
    }

    /// Makes sure that the record's collection has a secret, so that a token can be signed.
    pub(super) async fn give_secret(&self, record: &mut FoundRecord) -> Result<(), RecordError> {
        if record.secret.is_none() {
            let client = self.database.pool().get().await.map_err(Box::new)?;
            let (id, new) = (&*record.collection.id, random_key());
            let row = client.query_opt(ADD_SECRET, &[&id, &new]).await?;
            record.secret = row.map(|row| row.try_get("value")).transpose()?;
        }
        Ok(())
    }
}

fn find(catalog: &Catalog, name_or_id: &str) -> Option<Arc<Collection>> {
    let exact = |each: &&Arc<Collection>| &*each.id == name_or_id || &*each.name == name_or_id;
    let alike = |each: &&Arc<Collection>| each.name.eq_ignore_ascii_case(name_or_id);
    let found = catalog.iter().find(exact);
    found.or_else(|| catalog.iter().find(alike)).cloned()
}

impl FoundRecord {
    fn read(row: &Row, collection: &Arc<Collection>) -> Result<Self, RecordError> {
        let unreadable = || RecordError::Row {
            collection: Arc::clone(&collection.name),
        };
        let image: Option<&str> = row.try_get("image")?;
        let image = image.and_then(|json| read_image(json, collection));
        let (id, image) = image.ok_or_else(unreadable)?;
        Ok(Self {
            collection: Arc::clone(collection),
            id,
            image,
            password: row.try_get("password")?,
            token_key: row.try_get("token_key")?,
            secret: row.try_get("secret")?,
            secret_version: row.try_get("secret_version")?,
            seen: Seen::new(row.try_get("snapshot")?),
        })
    }

    /// What its tokens are signed with; `None` while one half is missing and the key would be half
    /// known.
    pub(super) fn signing_key(&self) -> Option<String> {
        let settings = self.collection.auth.as_ref()?;
        let secret = self.secret.as_deref().filter(|secret| !secret.is_empty())?;
        let token_key = match settings.token_key {
            Some(_) => self.token_key.clone().filter(|key| !key.is_empty())?,
            None => self.derived_token_key(settings, secret),
        };
        Some(format!("{token_key}{secret}"))
    }

    /// Another one as soon as the password or the email is another.
    fn derived_token_key(&self, settings: &AuthSettings, secret: &str) -> String {
        let email = settings.email.and_then(|index| self.image.value(index));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in [
            "rowcast token key",
            &self.id,
            self.password.as_deref().unwrap_or_default(),
            email.unwrap_or_default(),
        ] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut text = String::new();
        for byte in context.sign().as_ref() {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        text
    }

    /// The principal this record makes.
    pub(super) fn principal(&self) -> AuthRecord {
        AuthRecord {
            collection_id: Arc::clone(&self.collection.id),
            collection_name: Arc::clone(&self.collection.name),
            id: Arc::clone(&self.id),
            values: AuthValues::Row {
                collection: Arc::clone(&self.collection),
                image: self.image.clone(),
            },
            roles: Arc::default(),
            secret_version: self.secret_version.as_deref().map(Into::into),
            seen: self.seen.clone(),
        }
    }
}

/// The id and the image of a row; `None` if the row is no object or its key is not one value.
///
/// Columns that the catalog does not know are left behind: a password's hash may be among them by now.
fn read_image(json: &str, collection: &Collection) -> Option<(Arc<str>, RowImage)> {
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    let known = collection.fields.iter().filter_map(|field| {
        let value = members.get(&*field.name)?;
        Some((&*field.name, value))
    });
    let text = serde_json::to_string(&BTreeMap::<&str, _>::from_iter(known)).ok()?;
    let image = parse_image(text.into(), collection).ok()?.image;
    if collection.key_fields.len() != 1 {
        return None;
    }
    let RecordId(id) = record_id(&image, collection).ok()?;
    Some((id, image))
}
