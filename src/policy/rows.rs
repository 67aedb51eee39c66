//! The rows of `rowcast.casbin_rule` and how they are understood.
//!
//! Doubt never opens a door: an allow that is not understood allows nothing, a deny that is not
//! understood denies.

use std::fmt;
use std::sync::Arc;

use tokio_postgres::{GenericClient, Row};

use super::LoadError;
use super::objects::{self, Closed, OPEN_TOPICS};

const LOAD_ROWS: &str = include_str!("../../sql/policy/load_rows.sql");

/// Rows a policy may have. It is read as a whole after each change.
pub const POLICY_ROWS_MAX: usize = 500_000;

/// What stands for every collection or every kind of rule.
pub(super) const ANY: &str = "*";

/// The values of one row, `v0` to `v5`; unused ones are empty.
pub(super) type Values = [String; 6];

/// Which of a collection's rules is meant; casbin's action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Guards `posts` and `posts/*`.
    List,
    /// Guards `posts/ID`.
    View,
    /// Who may log in to an auth collection.
    Auth,
    /// Who sees what an auth collection's records keep to themselves.
    Manage,
    /// Who may hear a topic of the application's own.
    Subscribe,
    /// Who may send to such a topic.
    Send,
    /// Who may say by a filter which streams hear what it sends there.
    Filter,
    /// Who may set a key of what is kept about its own stream.
    Set,
}

impl RuleKind {
    /// Every kind of rule about collections.
    pub const ALL: [Self; 4] = [Self::List, Self::View, Self::Auth, Self::Manage];

    /// The word in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::View => "view",
            Self::Auth => "auth",
            Self::Manage => "manage",
            Self::Subscribe => "subscribe",
            Self::Send => "send",
            Self::Filter => "filter",
            Self::Set => "set",
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a rule that holds does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Opens, unless something denies.
    Allow,
    /// Closes, whatever allows.
    Deny,
}

impl Effect {
    /// The word in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A `p` row: for whom, about which collection and kind, a rule has which effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRow {
    /// Its `id` in the table; `None` for one that is built in.
    pub id: Option<i64>,
    /// Whom it is about: a role, or one record as `<collection>/<id>`.
    pub subject: Arc<str>,
    /// The collection's name, or `*`; or `topic:…` or `store:…`, perhaps with a star at its end.
    pub collection: Arc<str>,
    /// `list`, `view`, or `*`; of topics `subscribe`, `send` or `filter`, of keys `set`.
    pub kind: Arc<str>,
    /// A rule in the filter language; empty if it always holds.
    pub rule: Arc<str>,
    /// What it does where the rule holds.
    pub effect: Effect,
}

impl RuleRow {
    /// Whether the rule holds without looking at the record.
    pub fn always_holds(&self) -> bool {
        self.rule.is_empty()
    }

    /// Whether it is about a kind of rule that there is.
    pub fn is_known(&self) -> bool {
        RuleKind::ALL.into_iter().any(|kind| self.is_about(kind))
    }

    /// Whether it is about this kind of rule.
    pub(super) fn is_about(&self, kind: RuleKind) -> bool {
        *self.kind == *ANY || *self.kind == *kind.as_str()
    }
}

/// A `g` row: whoever has `member` has `role` too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// A role, or one record as `<collection>/<id>`.
    pub member: Arc<str>,
    /// The role it brings.
    pub role: Arc<str>,
}

/// A row that does not say what rows here say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// Its `id` in the table.
    pub id: i64,
    /// What is wrong with it, and what it counts as.
    pub why: &'static str,
}

/// A policy's rows, understood.
#[derive(Debug, Clone, Default)]
pub struct PolicyRows {
    pub(super) rules: Vec<Arc<RuleRow>>,
    pub(super) grants: Vec<GrantRow>,
    pub(super) misread: Vec<Misread>,
    /// The topics that are closed to those who are not allowed.
    pub(super) closed: Closed,
}

/// What the table need not say: everybody is somebody, rules do not bind superusers, and topics are open
/// unless some row closes them.
const BUILT_IN_GRANTS: [(&str, &str); 2] = [("guest", "anyone"), ("authenticated", "anyone")];

impl PolicyRows {
    /// The rows that hold without being written down.
    pub(super) fn built_in() -> Self {
        let mut rows = Self::default();
        for (member, role) in BUILT_IN_GRANTS {
            rows.grants.push(GrantRow {
                member: member.into(),
                role: role.into(),
            });
        }
        let subscribe = RuleKind::Subscribe.as_str();
        for (subject, object, kind) in [("superuser", ANY, ANY), ("anyone", OPEN_TOPICS, subscribe)]
        {
            rows.rules.push(Arc::new(RuleRow {
                id: None,
                subject: subject.into(),
                collection: object.into(),
                kind: kind.into(),
                rule: "".into(),
                effect: Effect::Allow,
            }));
        }
        rows
    }

    /// Reads the whole table.
    pub(super) async fn read(client: &impl GenericClient) -> Result<Self, LoadError> {
        let limit = i64::try_from(POLICY_ROWS_MAX + 1).expect("the limit is a small number");
        let found = client.query(LOAD_ROWS, &[&limit]).await?;
        if found.len() > POLICY_ROWS_MAX {
            return Err(LoadError::TooManyRows);
        }
        let mut rows = Self::default();
        for row in &found {
            let (id, ptype, values) = columns(row)?;
            rows.add(id, &ptype, &values);
        }
        Ok(rows)
    }

    /// Rules for everybody, as `rowcast.attach()` writes them; for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn for_everybody(rules: &[(&str, &str, &str)]) -> Self {
        let mut rows = Self::default();
        for (id, (collection, kind, rule)) in (1..).zip(rules) {
            let values = ["anyone", collection, kind, rule, "allow", ""].map(str::to_owned);
            rows.add(id, "p", &values);
        }
        rows
    }

    /// Takes in one row of the table: its `id`, its `ptype`, and `v0` to `v5`, empty where unused. One that
    /// is not understood counts as [`Policy::misread`](super::Policy::misread) says.
    pub fn add(&mut self, id: i64, ptype: &str, values: &Values) {
        let why = match ptype {
            "p" => self.add_rule(id, values),
            "g" => self.add_grant(values),
            _ => Some("its ptype is neither p nor g; it counts for nothing"),
        };
        self.misread.extend(why.map(|why| Misread { id, why }));
    }

    fn add_rule(&mut self, id: i64, values: &Values) -> Option<&'static str> {
        let [subject, collection, kind, rule, effect, rest] = values;
        self.closed.note(collection, kind, effect);
        let mistake = objects::mistake(collection).filter(|_| objects::is_object(collection));
        if mistake.is_some() && effect == Effect::Allow.as_str() {
            return mistake;
        }
        let (effect, why) = match (&**effect, rest.is_empty()) {
            ("allow", true) => (Effect::Allow, unknown_kind(collection, kind)),
            ("deny", true) => (Effect::Deny, mistake.or(unknown_kind(collection, kind))),
            ("allow", false) => {
                return Some("v5 must be empty; an allow like this allows nothing");
            }
            ("deny", false) => (
                Effect::Deny,
                Some("v5 must be empty; it denies all the same"),
            ),
            _ => (
                Effect::Deny,
                Some("v4 must be allow or deny; anything else counts as deny"),
            ),
        };
        self.rules.push(Arc::new(RuleRow {
            id: Some(id),
            subject: subject.as_str().into(),
            collection: collection.as_str().into(),
            kind: kind.as_str().into(),
            rule: rule.as_str().into(),
            effect,
        }));
        why
    }

    fn add_grant(&mut self, values: &Values) -> Option<&'static str> {
        let [member, role, rest @ ..] = values;
        if member.is_empty() || role.is_empty() {
            return Some("v0 and v1 must name a member and its role; nothing is granted");
        }
        // A role within a domain, as other models have it: less than the role everywhere.
        if rest.iter().any(|value| !value.is_empty()) {
            return Some("v2 to v5 must be empty; nothing is granted");
        }
        self.grants.push(GrantRow {
            member: member.as_str().into(),
            role: role.as_str().into(),
        });
        None
    }
}

/// Other kinds are kept, as rows for somebody else, and asked for by nobody here.
fn unknown_kind(object: &str, kind: &str) -> Option<&'static str> {
    let is_object = objects::is_object(object);
    let known = match is_object {
        true => objects::kinds(object),
        false => &RuleKind::ALL[..],
    };
    let is_known = kind == ANY || known.iter().any(|known| known.as_str() == kind);
    let why = match is_object {
        true => {
            "v2 names none of subscribe, send, filter and * for a topic, or of set and * for a key; \
             it allows and denies nothing"
        }
        false => "v2 names none of list, view, auth, manage and *; it counts for nothing",
    };
    (!is_known).then_some(why)
}

fn columns(row: &Row) -> Result<(i64, String, Values), tokio_postgres::Error> {
    let values = [
        row.try_get("v0")?,
        row.try_get("v1")?,
        row.try_get("v2")?,
        row.try_get("v3")?,
        row.try_get("v4")?,
        row.try_get("v5")?,
    ];
    Ok((row.try_get("id")?, row.try_get("ptype")?, values))
}
