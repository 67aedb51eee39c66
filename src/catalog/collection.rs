//! A collection: one table offered as a feed, and what is known of its columns.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::RecordOrder;
use crate::policy::Policy;

/// The small number under which a collection's changes stand in the log; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionKey(pub i32);

/// A table (or partitioned table) offered as a feed.
#[derive(Debug)]
pub struct Collection {
    /// Its number in the change log.
    pub key: CollectionKey,
    /// PocketBase's `collectionId`; stays the same when the collection is renamed.
    pub id: Arc<str>,
    /// The whole policy, read in the same snapshot: what decides who may see its records.
    pub policy: Arc<Policy>,
    /// PocketBase's `collectionName`, as used in topics.
    pub name: Arc<str>,
    /// The table behind it, for messages.
    pub table: TableName,
    /// The table's columns in the table's own order.
    pub fields: Vec<Field>,
    /// Positions in `fields` of the columns that identify a row, in key order; never empty.
    pub key_fields: Vec<usize>,
    /// Whether rows may move between partitions (a move is logged as delete + insert).
    pub partitioned: bool,
    /// Orders in which partitions have the columns, as positions in `fields`; for other tables empty.
    pub column_orders: Vec<Vec<usize>>,
    /// What is written about everybody, to be shown; decisions are the policy's.
    pub rules: Rules,
    /// Names that were declared for paths, such as `tags` for `post_tags_via_post.tag`. None is the
    /// name of a field.
    pub aliases: BTreeMap<Arc<str>, Arc<str>>,
    /// How its records prove who they are; `None` unless it is an auth collection.
    pub auth: Option<AuthSettings>,
    /// What makes HTML of its records, for those who ask for it.
    pub templates: CollectionTemplates,
    /// In which order its records are written; `RecordOrder::default()`.
    pub record_order: RecordOrder,
}

impl Collection {
    /// A collection that nobody may see, keyed by its first field; for tests and benchmarks. The
    /// server's own are read from the database.
    pub fn new(key: CollectionKey, name: &str, fields: Vec<Field>) -> Self {
        Self {
            key,
            id: format!("rwc_{}", key.0).into(),
            policy: Arc::default(),
            name: name.into(),
            table: TableName {
                schema: "public".to_owned(),
                table: name.to_owned(),
            },
            fields,
            key_fields: vec![0],
            partitioned: false,
            column_orders: Vec::new(),
            rules: Rules {
                list: Rule::Locked,
                view: Rule::Locked,
            },
            aliases: BTreeMap::new(),
            auth: None,
            templates: CollectionTemplates::default(),
            record_order: RecordOrder::default(),
        }
    }

    /// The position of the field with this name.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| &*field.name == name)
    }
}

/// Which template shows what happened to a record; `None` where none does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectionTemplates {
    /// That it exists now.
    pub create: Option<Arc<str>>,
    /// That it has changed.
    pub update: Option<Arc<str>>,
    /// That it is gone.
    pub delete: Option<Arc<str>>,
}

/// What makes a collection an auth collection.
///
/// The columns with passwords and token keys are no fields: no image ever holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Columns by which a record is found at login, in the order in which they are tried.
    pub identity: Vec<Arc<str>>,
    /// The column with password hashes; `None`: nobody logs in by password.
    pub password: Option<Arc<str>>,
    /// The column whose change makes a record's tokens invalid; `None`: the password and the email.
    pub token_key: Option<Arc<str>>,
    /// Who may log in.
    pub auth_rule: Rule,
    /// Who sees every email.
    pub manage_rule: Rule,
    /// Changes with the secret its tokens are signed with; `None` while there is none.
    pub secret_version: Option<Arc<str>>,
    /// Which field is the email, if any.
    pub email: Option<usize>,
    /// Which field says whether others may see the email; without one, they may not.
    pub email_visibility: Option<usize>,
}

impl AuthSettings {
    /// The position of the field called `email`.
    pub fn email_field(fields: &[Field]) -> Option<usize> {
        fields.iter().position(|field| &*field.name == "email")
    }

    /// The position of the field called `emailVisibility`, or `email_visibility` as SQL writes it.
    pub fn email_visibility_field(fields: &[Field]) -> Option<usize> {
        let named = |name: &str| fields.iter().position(|field| &*field.name == name);
        named("emailVisibility").or_else(|| named("email_visibility"))
    }
}

/// A schema-qualified table name, unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// One column, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The column's name and the record's key.
    pub name: Arc<str>,
    /// How its values are written.
    pub kind: FieldKind,
    /// Whether only superusers see it.
    pub hidden: bool,
    /// The type of the column; of an array, that of its elements.
    pub column_type: ColumnType,
    /// Whose key it holds, from a foreign key or declared; of an array, each element.
    pub relation: Option<Relation>,
    /// Whether no two rows have the same value, by a unique index over this column alone.
    pub unique: bool,
}

impl Field {
    /// A field that is shown to everybody, has no index and points nowhere.
    pub fn new(name: &str, kind: FieldKind) -> Self {
        Self {
            name: name.into(),
            kind,
            hidden: false,
            column_type: ColumnType::default(),
            relation: None,
            unique: false,
        }
    }

    /// Whether it holds several values.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, FieldKind::Array(_))
    }
}

/// A column's type in SQL, and how a text can be compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// As `format_type` writes it, qualified where need be; can stand behind `::` as it is.
    pub sql: Arc<str>,
    /// Which texts it can hold.
    pub class: TypeClass,
}

impl Default for ColumnType {
    fn default() -> Self {
        Self {
            sql: "text".into(),
            class: TypeClass::Text,
        }
    }
}

/// Which texts are values of a type. Domains are what they stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeClass {
    /// `int2`, `int4`, `int8`.
    Integer,
    /// `uuid`.
    Uuid,
    /// `text`, `varchar`, `bpchar`, `name`: every text, and equal texts are equal.
    Text,
    /// All others.
    Other,
}

/// Where a field points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The collection of the records it names.
    pub collection: CollectionKey,
    /// The field there that has the same value: its key, or what a foreign key refers to.
    pub field: Arc<str>,
}

/// How a column's values are written in a record (contract, section 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// A string; NULL is `""`.
    Text,
    /// A number; NULL is `0`.
    Number,
    /// `true` or `false`; NULL is `false`.
    Bool,
    /// `"YYYY-MM-DD HH:MM:SS.mmmZ"`; NULL is `""`. From `date`, `timestamp` and `timestamptz`.
    Date,
    /// A JSON value as stored, compacted; NULL is `null`. Composite types come this way too.
    Json,
    /// An array of elements of one kind; NULL is `[]`, a NULL element stays `null`.
    Array(Box<FieldKind>),
}

/// The rules of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Guards `posts` and `posts/*`.
    pub list: Rule,
    /// Guards `posts/ID`.
    pub view: Rule,
}

/// One rule, in PocketBase's three forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `null`: superusers only.
    Locked,
    /// `""`: everybody.
    Public,
    /// Text in the filter language.
    Expression(Arc<str>),
}
