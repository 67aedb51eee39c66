//! A collection: one table offered as a feed, and what is known of its columns.

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
    /// How its records prove who they are; `None` unless it is an auth collection.
    pub auth: Option<AuthSettings>,
    /// In which order its records are written; `RecordOrder::default()`.
    pub record_order: RecordOrder,
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
