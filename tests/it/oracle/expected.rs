//! What Postgres says each subscription is to be told.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokio_postgres::Client;

use super::clients::Subscriber;
use super::order::{Lives, Snapshot};
use super::policy::{Policy, Who};
use super::wanted::{Manner, Wanted};
use super::world::Collection;

/// What identifies an event of a subscription: collection, action, id and the version of the row.
pub type Identity = (String, String, String, i64);

#[derive(Debug, Clone)]
pub struct Expected {
    /// Where it stands in the ledger.
    pub place: (i64, i32),
    pub xid: u64,
    pub record: Value,
}

/// What one subscription is to be told.
pub type Answer = HashMap<Identity, Expected>;

/// What happened before a phase and may be told in it all the same.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// Ledger rows after this one, as they were wanted then,
    pub begin: i64,
    /// and those of these transactions, whose ids may have been given twice since.
    pub doubted_since: Option<u64>,
    /// What comes after this row must be told.
    pub floor: i64,
}

impl Range {
    /// Whether an event was wanted when it happened, or is doubted in a segment that doubts what comes after this.
    pub fn holds(&self, event: &Expected, doubted_since: Option<u64>) -> bool {
        event.place.0 > self.begin || doubted_since.is_some_and(|first| event.xid >= first)
    }

    pub fn is_empty(&self) -> bool {
        self.begin >= self.floor && self.doubted_since.is_none()
    }
}

/// The changes of one phase, and of those before, as the ledger has them.
pub struct Phase<'a> {
    pub number: i64,
    pub ledger: &'a Client,
    pub collections: &'a [Collection],
    pub policy: &'a Policy,
    /// The policy of the phase before.
    pub former_policy: &'a Policy,
    /// Ledger rows after the first and up to the second.
    pub rows: (i64, i64),
    /// The latest snapshot of each transaction.
    pub snapshots: &'a HashMap<u64, Snapshot>,
    /// What crashes have made doubtful.
    pub lives: &'a Lives,
    /// The log may have been read in more than one order, so that transactions may be told again.
    pub is_reordered: bool,
    /// What has happened that justifies a `resync`.
    pub breaks: Breaks,
}

/// What has happened in a phase that may make something impossible to tell.
#[derive(Debug, Clone, Copy)]
pub struct Breaks {
    pub stopped_postgres: bool,
    pub terminated_backends: bool,
    /// The ledger's last row when the log was emptied last, if it was; and whether that is no longer ago than
    /// the phase before.
    pub rotated: Option<(i64, bool)>,
}

impl Breaks {
    /// Whether a subscriber may be told to load afresh what it asks for.
    pub fn may_resync(&self, subscriber: &Subscriber, has_snapshot: bool) -> bool {
        let is_keyed = subscriber.manner == Manner::Keyed;
        let by_rotation = self.rotated.is_some_and(|(row, is_recent)| {
            // What was told within the last half minute is asked for once more.
            is_recent || is_keyed && subscriber.wants_since <= row
        });
        // The database is asked for snapshots, for where keys were, and for the past, which is not begun again in the midst.
        let mut segments = subscriber.segments.iter();
        let comes_back = segments.any(|segment| segment.came_with.is_some());
        let by_silence = self.terminated_backends && (is_keyed || has_snapshot || comes_back);
        self.stopped_postgres || by_rotation || by_silence
    }
}

impl Phase<'_> {
    /// Whether one transaction had surely ended before another made its last change.
    pub fn precedes(&self, one: u64, other: u64) -> bool {
        one != other
            && self
                .snapshots
                .get(&other)
                .is_some_and(|snapshot| snapshot.contains(one))
    }

    /// What happened after a ledger row, by today's policy.
    pub async fn due(&self, who: Who, wanted: &Wanted, after: i64) -> Answer {
        let which = format!("seq > {after} and seq <= {}", self.rows.1);
        self.answer(who, wanted, self.policy, &which).await
    }

    /// Those events among what happened earlier, or is doubted, that have one of these versions, or are about one of
    /// these records having left.
    pub async fn past(
        &self,
        who: Who,
        wanted: &Wanted,
        policy: &Policy,
        past: &Range,
        versions: &[i64],
        left: &HashSet<String>,
    ) -> Answer {
        let versions: Vec<_> = versions.iter().map(i64::to_string).collect();
        let left: Vec<_> = left.iter().map(|id| format!("$l${id}$l$")).collect();
        let which = format!(
            "(seq > {} or xid >= '{}') and seq <= {} and ((r->>'v')::bigint = any (array[{}]::bigint[])
                or (action = 'update' and id = any (array[{}]::text[])))",
            past.begin,
            past.doubted_since.unwrap_or(u64::MAX),
            past.floor,
            versions.join(", "),
            left.join(", ")
        );
        self.answer(who, wanted, policy, &which).await
    }

    async fn answer(&self, who: Who, wanted: &Wanted, policy: &Policy, which: &str) -> Answer {
        let mut answer = Answer::new();
        for at in &wanted.collections {
            let collection = &self.collections[*at];
            let passes = policy.condition(who, *at, collection.name, wanted.kind, wanted.filter);
            let record = collection.record(who == Who::Superuser, wanted.fields);
            let leaving = collection.leaving();
            let passed = format!("(select {passes} from (select e.before as r) earlier)");
            let action = match wanted.leave {
                false => format!("case when {passes} then action end"),
                true => format!(
                    "case when action <> 'update' then case when {passes} then action end
                          when {passes} then case when {passed} then 'update' else 'create' end
                          when {passed} then 'leave' end"
                ),
            };
            let sql = format!(
                "select seq, part, xid::text, told, id, (r->>'v')::bigint,
                        (case when told = 'leave' then {leaving} else {record} end)::text
                 from (select *, {action} as told from oracle.events e
                       where coll = '{}' and ($1::text is null or id = $1) and {which}) e
                 where told is not null",
                collection.name
            );
            let rows = self.ledger.query(&sql, &[&wanted.id]).await;
            for row in rows.unwrap_or_else(|error| panic!("{error:?}: {sql}")) {
                let identity = (
                    collection.name.to_owned(),
                    row.get(3),
                    row.get(4),
                    row.get(5),
                );
                let event = Expected {
                    place: (row.get(0), row.get(1)),
                    xid: number(row.get(2)),
                    record: serde_json::from_str(row.get(6)).unwrap(),
                };
                answer.insert(identity, event);
            }
        }
        answer
    }

    /// The rows that ever had one of these versions, as far as the subscription may see them.
    pub async fn rows(&self, who: Who, wanted: &Wanted, versions: &[i64]) -> Answer {
        let at = wanted.collections[0];
        let collection = &self.collections[at];
        let passes = self
            .policy
            .condition(who, at, collection.name, wanted.kind, wanted.filter);
        let record = collection.record(who == Who::Superuser, wanted.fields);
        let sql = format!(
            "select seq, xid::text, id, (r->>'v')::bigint, ({record})::text
             from (select seq, xid, new_id as id, new as r from oracle.ledger
                   where coll = '{}' and (new->>'v')::bigint = any ($1)) rows
             where ($2::text is null or id = $2) and {passes}",
            collection.name
        );
        let rows = self.ledger.query(&sql, &[&versions, &wanted.id]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
        let row = |row: &tokio_postgres::Row| {
            let name = collection.name.to_owned();
            let identity = (name, "snapshot".to_owned(), row.get(2), row.get(3));
            let event = Expected {
                // After what made it, should a key have changed there.
                place: (row.get(0), 1),
                xid: number(row.get(1)),
                record: serde_json::from_str(row.get(4)).unwrap(),
            };
            (identity, event)
        };
        rows.iter().map(row).collect()
    }

    /// What the table itself holds for a subscription, by id.
    pub async fn table(&self, who: Who, wanted: &Wanted) -> HashMap<String, Value> {
        let at = wanted.collections[0];
        let collection = &self.collections[at];
        let passes = self
            .policy
            .condition(who, at, collection.name, wanted.kind, wanted.filter);
        let record = collection.record(who == Who::Superuser, wanted.fields);
        let id = collection.record(false, Some(&["id"]));
        let sql = format!(
            "select ({id})->>'id', ({record})::text from (select to_jsonb(t) as r from {} t) t
             where ($1::text is null or ({id})->>'id' = $1) and {passes}",
            collection.name
        );
        let rows = self.ledger.query(&sql, &[&wanted.id]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
        let row =
            |row: &tokio_postgres::Row| (row.get(0), serde_json::from_str(row.get(1)).unwrap());
        rows.iter().map(row).collect()
    }
}

pub fn number(text: &str) -> u64 {
    text.parse().expect("a transaction's number")
}
