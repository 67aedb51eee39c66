//! Reads the catalog from the database, in one snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::timeout;
use tokio_postgres::{GenericClient, IsolationLevel, Row};

use super::field_kind::{PgType, PgTypes};
use super::relations::{Declared, Links};
use super::{
    AuthSettings, Catalog, Collection, CollectionKey, CollectionTemplates, Field, RecordOrder,
    Rule, Rules, TableName,
};
use crate::db::{Database, PoolError};
use crate::policy::{self, Policy};

const LOAD_COLLECTIONS: &str = include_str!("../../sql/catalog/load_collections.sql");
const LOAD_COLUMNS: &str = include_str!("../../sql/catalog/load_columns.sql");
const LOAD_CASCADES: &str = include_str!("../../sql/catalog/load_cascades.sql");
const LOAD_TYPES: &str = include_str!("../../sql/catalog/load_types.sql");

/// Why the catalog could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The pool had no connection to give.
    #[error("no connection")]
    Pool(#[from] PoolError),
    /// A query failed.
    #[error("could not read the catalog")]
    Query(#[from] tokio_postgres::Error),
    /// The policy could not be read.
    #[error("could not read the policy")]
    Policy(#[from] policy::LoadError),
    /// The database took longer than a statement may.
    #[error("the database took too long")]
    Deadline,
}

/// Loads all attached collections, without a lock on any of their tables. One whose table or key is gone is left out with a log line.
///
/// # Errors
/// If the database does not answer.
pub async fn load(database: &Database) -> Result<Catalog, LoadError> {
    let loading = load_now(database);
    let loaded = timeout(database.statement_deadline(), loading).await;
    loaded.map_err(|_| LoadError::Deadline)?
}

async fn load_now(database: &Database) -> Result<Catalog, LoadError> {
    let mut client = database.pool().get().await?;
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let catalog = read(&*transaction).await?;
    transaction.commit().await?;
    Ok(catalog)
}

/// Reads the catalog as a transaction sees it, so also what it has not committed.
///
/// # Errors
/// As [`load`].
pub async fn read(client: &impl GenericClient) -> Result<Catalog, LoadError> {
    let collections = client.query(LOAD_COLLECTIONS, &[]).await?;
    let columns = Columns::load(client, &collections).await?;
    let cascades = client.query(LOAD_CASCADES, &[]).await?;
    let links = Links::load(client).await?;
    let policy = Arc::new(Policy::read(client).await?);
    let mut loaded = Vec::with_capacity(collections.len());
    for row in &collections {
        loaded.extend(columns.collection(row, &policy)?);
    }
    let declared = collections.iter().map(Declared::read);
    links.settle(&mut loaded, &declared.collect::<Result<Vec<_>, _>>()?);
    let key = |row: &Row, name| row.try_get(name).map(CollectionKey);
    let cascades = cascades
        .iter()
        .map(|row| Ok((key(row, "parent")?, key(row, "child")?)))
        .collect::<Result<Vec<_>, tokio_postgres::Error>>()?;
    Ok(Catalog::new(loaded)
        .with_cascades(cascades)
        .with_policy(policy))
}

/// The columns of all tables by table, and the types they use.
struct Columns {
    by_table: HashMap<u32, Vec<Column>>,
    /// For each partitioned table, the column names of each partition that has an order of its own.
    orders: HashMap<u32, Vec<Vec<String>>>,
    types: PgTypes,
}

struct Column {
    attnum: i16,
    name: String,
    type_oid: u32,
}

impl Columns {
    async fn load(
        client: &impl GenericClient,
        collections: &[Row],
    ) -> Result<Self, tokio_postgres::Error> {
        let tables = collections
            .iter()
            .map(|row| row.try_get("relation"))
            .collect::<Result<Vec<u32>, _>>()?;
        let rows = client.query(LOAD_COLUMNS, &[&tables]).await?;
        let mut by_table: HashMap<u32, Vec<Column>> = HashMap::new();
        let mut partitions: HashMap<(u32, u32), Vec<String>> = HashMap::new();
        for row in &rows {
            let relation = row.try_get("relation")?;
            let name: String = row.try_get("name")?;
            if row.try_get("is_root")? {
                by_table.entry(relation).or_default().push(Column {
                    attnum: row.try_get("attnum")?,
                    name,
                    type_oid: row.try_get("type")?,
                });
            } else {
                let part = row.try_get("part")?;
                partitions.entry((relation, part)).or_default().push(name);
            }
        }
        let mut orders: HashMap<u32, Vec<Vec<String>>> = HashMap::new();
        for ((relation, _), order) in partitions {
            let known = orders.entry(relation).or_default();
            if !known.contains(&order) {
                known.push(order);
            }
        }
        let types = load_types(client, &by_table).await?;
        Ok(Self {
            by_table,
            orders,
            types,
        })
    }

    /// One collection; `None`, with a log line, if it cannot be offered any more.
    fn collection(
        &self,
        row: &Row,
        policy: &Arc<Policy>,
    ) -> Result<Option<Collection>, tokio_postgres::Error> {
        let name: Arc<str> = row.try_get::<_, &str>("name")?.into();
        let table = TableName {
            schema: row.try_get("schema")?,
            table: row.try_get("table")?,
        };
        let key_columns: Option<Vec<i16>> = row.try_get("key_columns")?;
        let relation: u32 = row.try_get("relation")?;
        let (Some(key_columns), Some(columns)) = (key_columns, self.by_table.get(&relation)) else {
            tracing::error!(
                collection.name = %name,
                table = %table,
                "the collection's table or its key is gone, so its changes are not delivered; \
                 restore the key or run: rowcast detach {name}"
            );
            return Ok(None);
        };
        let omitted: Vec<String> = row.try_get("never_captured")?;
        let omitted_attnums: Vec<i16> = row.try_get("never_captured_attnums")?;
        // By name and by number: neither renaming nor restoring makes a field of such a column.
        let is_captured = |column: &&Column| {
            !omitted.contains(&column.name) && !omitted_attnums.contains(&column.attnum)
        };
        let columns: Vec<&Column> = columns.iter().filter(is_captured).collect();
        let hidden: Vec<String> = row.try_get("hidden")?;
        let hidden_attnums: Vec<i16> = row.try_get("hidden_attnums")?;
        let hidden_unknown = row.try_get::<_, Option<bool>>("hidden_unknown")? == Some(true);
        if hidden_unknown {
            tracing::error!(
                collection.name = %name,
                table = %table,
                "the database was restored and a hidden column cannot be found, so nothing but the key is shown; \
                 run rowcast attach again with the columns to hide"
            );
        }
        let fields: Vec<Field> = columns
            .iter()
            .map(|column| Field {
                hidden: hidden.contains(&column.name)
                    || hidden_attnums.contains(&column.attnum)
                    || hidden_unknown && !key_columns.contains(&column.attnum),
                column_type: self.types.column_type(column.type_oid),
                ..Field::new(&column.name, self.types.field_kind(column.type_oid))
            })
            .collect();
        let key_fields = key_columns
            .iter()
            .filter_map(|attnum| columns.iter().position(|column| column.attnum == *attnum))
            .collect();
        let position = |name: &String| fields.iter().position(|field| *field.name == **name);
        let column_orders = self
            .orders
            .get(&relation)
            .into_iter()
            .flatten()
            .filter_map(|order| {
                let captured = order.iter().filter(|name| !omitted.contains(name));
                captured.map(position).collect()
            })
            .collect();
        let auth = auth_settings(row, &fields)?;
        Ok(Some(Collection {
            key: CollectionKey(row.try_get("key")?),
            id: row.try_get::<_, &str>("id")?.into(),
            policy: Arc::clone(policy),
            name,
            table,
            fields,
            key_fields,
            partitioned: row.try_get("partitioned")?,
            column_orders,
            rules: Rules {
                list: rule(row.try_get("list_rule")?),
                view: rule(row.try_get("view_rule")?),
            },
            aliases: BTreeMap::new(),
            auth,
            templates: templates(row)?,
            record_order: RecordOrder::default(),
        }))
    }
}

fn templates(row: &Row) -> Result<CollectionTemplates, tokio_postgres::Error> {
    let name = |column| Ok(row.try_get::<_, Option<&str>>(column)?.map(Into::into));
    Ok(CollectionTemplates {
        create: name("create_template")?,
        update: name("update_template")?,
        delete: name("delete_template")?,
    })
}

fn auth_settings(
    row: &Row,
    fields: &[Field],
) -> Result<Option<AuthSettings>, tokio_postgres::Error> {
    if !row.try_get::<_, bool>("is_auth")? {
        return Ok(None);
    }
    let name = |column| Ok(row.try_get::<_, Option<&str>>(column)?.map(Into::into));
    let identity: Vec<&str> = row.try_get("identity")?;
    Ok(Some(AuthSettings {
        identity: identity.into_iter().map(Into::into).collect(),
        password: name("password")?,
        token_key: name("token_key")?,
        auth_rule: rule(row.try_get("auth_rule")?),
        manage_rule: rule(row.try_get("manage_rule")?),
        secret_version: name("secret_version")?,
        email: AuthSettings::email_field(fields),
        email_visibility: AuthSettings::email_visibility_field(fields),
    }))
}

async fn load_types(
    client: &impl GenericClient,
    by_table: &HashMap<u32, Vec<Column>>,
) -> Result<PgTypes, tokio_postgres::Error> {
    let mut used: Vec<u32> = by_table
        .values()
        .flatten()
        .map(|column| column.type_oid)
        .collect();
    used.sort_unstable();
    used.dedup();
    let rows = client.query(LOAD_TYPES, &[&used]).await?;
    rows.iter().map(pg_type).collect()
}

fn pg_type(row: &Row) -> Result<PgType, tokio_postgres::Error> {
    let letter = |text: &str| text.chars().next().unwrap_or('b');
    Ok(PgType {
        oid: row.try_get("oid")?,
        name: row.try_get::<_, &str>("name")?.into(),
        typtype: letter(row.try_get("typtype")?),
        category: letter(row.try_get("category")?),
        element: row.try_get("element")?,
        base: row.try_get("base")?,
        casts_to_json: row.try_get("casts_to_json")?,
    })
}

fn rule(text: Option<&str>) -> Rule {
    match text {
        None => Rule::Locked,
        Some("") => Rule::Public,
        Some(text) => Rule::Expression(text.into()),
    }
}
