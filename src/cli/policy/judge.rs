//! What the policy's rules say about one record, part by part.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fetch::Found;
use crate::catalog::Catalog;
use crate::policy::{AppliedRow, Effect};
use crate::record::{Visibility, encode_record};
use crate::related::Shelf;
use crate::rules::{
    AuthValues, Outline, OutlineKind, Predicate, RequestContext, Row, RuleUse, Scope, Undecidable,
};

/// Asks rules about one record on behalf of somebody.
pub(super) struct Judge<'j> {
    pub(super) catalog: &'j Catalog,
    pub(super) found: &'j Found,
    pub(super) auth: Option<&'j AuthValues>,
    /// Other records, as far as they were fetched; notes which are missing.
    pub(super) shelf: Shelf,
    /// Whether values are shown beside comparisons.
    pub(super) show_values: bool,
}

/// What a rule says of the record.
pub(super) struct Judged<'j> {
    pub(super) applied: &'j AppliedRow,
    pub(super) outcome: Outcome,
    /// Nothing for an empty rule and for one that cannot be read.
    pub(super) parts: Option<Part>,
}

/// Whether something holds, or why nobody can say.
pub(super) type Outcome = Result<bool, String>;

/// A part of a rule, decided by itself.
pub(super) struct Part {
    pub(super) text: String,
    pub(super) outcome: Outcome,
    /// Whether it is the first that does not hold where all must.
    pub(super) fails_first: bool,
    pub(super) values: Map<String, Value>,
    pub(super) parts: Vec<Part>,
}

impl Judge<'_> {
    pub(super) fn judge<'a>(&self, applied: &'a AppliedRow) -> Judged<'a> {
        let rule = &applied.row.rule;
        if rule.is_empty() {
            return Judged {
                applied,
                outcome: Ok(true),
                parts: None,
            };
        }
        let outcome = self.decide(rule);
        let mut parts = Outline::of(rule).ok().map(|outline| self.part(outline));
        if let Some(part) = &mut parts {
            // As one rule it may decide otherwise: all ?= on one path look at the same record.
            part.outcome.clone_from(&outcome);
            part.mark();
        }
        Judged {
            applied,
            outcome,
            parts,
        }
    }

    fn decide(&self, text: &str) -> Outcome {
        let scope = Scope {
            collection: &self.found.collection,
            catalog: self.catalog,
            auth: self.auth.and_then(|auth| auth.collection.as_deref()),
        };
        let predicate = Predicate::compile(text, scope, RuleUse::Rule);
        let predicate = predicate.map_err(|error| error.to_string())?;
        let row = Row::now(&self.found.collection, &self.found.id, &self.found.image);
        let (options, now) = (BTreeMap::new(), Timestamp::now());
        let request = RequestContext::realtime(self.auth, &options, &options, now, &self.shelf);
        predicate
            .decide(row, &request)
            .map_err(|error| match error {
                Undecidable::NotLoaded => {
                    "it reads other records, which the database does not find in time".to_owned()
                }
                error => error.to_string(),
            })
    }

    fn part(&self, outline: Outline) -> Part {
        let Outline { text, kind } = outline;
        let (parts, names) = match kind {
            OutlineKind::All(parts) | OutlineKind::Any(parts) => (parts, Vec::new()),
            OutlineKind::Comparison { names } => (Vec::new(), names),
        };
        Part {
            outcome: self.decide(&text),
            fails_first: false,
            values: self.values(names),
            parts: parts.into_iter().map(|part| self.part(part)).collect(),
            text,
        }
    }

    /// The values of the record and of whoever asks that a comparison names.
    fn values(&self, names: Vec<String>) -> Map<String, Value> {
        let mut values = Map::new();
        if !self.show_values {
            return values;
        }
        for name in names {
            if let Some(value) = self.value(&name) {
                values.insert(name, value);
            }
        }
        values
    }

    fn value(&self, name: &str) -> Option<Value> {
        let plain = name.split(':').next().unwrap_or(name);
        if let Some(member) = plain.strip_prefix("@request.auth.") {
            return Some(self.auth_value(member));
        }
        let Found {
            collection,
            id,
            image,
        } = self.found;
        let json = encode_record(collection, &id.0, image, Visibility::Full);
        let record: Value = serde_json::from_slice(&json).ok()?;
        reach(&record, plain)
    }

    fn auth_value(&self, member: &str) -> Value {
        let Some(auth) = self.auth else {
            return Value::Null;
        };
        match member {
            "id" => json!(auth.id),
            "collectionId" => json!(auth.collection_id),
            "collectionName" => json!(auth.collection_name),
            "email" => json!(auth.email),
            "emailVisibility" => json!(auth.email_visibility),
            "verified" => json!(auth.verified),
            _ => reach(&Value::Object(auth.fields.clone()), member).unwrap_or_default(),
        }
    }
}

/// The value at the end of a path of names and numbers.
fn reach(value: &Value, path: &str) -> Option<Value> {
    let step = |value: Value, segment: &str| match &value {
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?).cloned(),
        value => value.get(segment).cloned(),
    };
    path.split('.').try_fold(value.clone(), step)
}

impl Part {
    /// Marks what keeps it from holding: where all must hold, the first that does not.
    fn mark(&mut self) {
        if self.outcome == Ok(true) {
            return;
        }
        let fails = |part: &&mut Self| part.outcome != Ok(true);
        match self.parts.iter_mut().find(fails) {
            Some(part) => {
                part.fails_first = part.parts.is_empty();
                part.mark();
            }
            None => self.fails_first = self.parts.is_empty(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut json = json!({
            "text": self.text,
            "holds": self.outcome.as_ref().ok(),
            "failsFirst": self.fails_first,
        });
        if let Err(why) = &self.outcome {
            json["error"] = json!(why);
        }
        if !self.values.is_empty() {
            json["values"] = json!(self.values);
        }
        if !self.parts.is_empty() {
            json["parts"] = self.parts.iter().map(Self::to_json).collect();
        }
        json
    }

    /// One line per part, with what holds and what does not.
    pub(super) fn lines(&self, depth: usize, lines: &mut Vec<String>) {
        let sign = match &self.outcome {
            Ok(true) => "holds     ",
            Ok(false) => "fails     ",
            Err(_) => "undecided ",
        };
        let first = if self.fails_first { "   <- first" } else { "" };
        let values: Vec<String> = self
            .values
            .iter()
            .map(|(name, value)| format!("{name} is {value}"))
            .collect();
        let values = match values.is_empty() {
            true => String::new(),
            false => format!("   ({})", values.join(", ")),
        };
        let indent = "  ".repeat(depth);
        lines.push(format!("    {sign}{indent}{}{first}{values}", self.text));
        if let Err(why) = &self.outcome
            && self.parts.is_empty()
        {
            let why = why
                .lines()
                .map(|line| format!("              {indent}{line}"));
            lines.extend(why);
        }
        for part in &self.parts {
            part.lines(depth + 1, lines);
        }
    }
}

impl Judged<'_> {
    /// What the row comes to for this record.
    pub(super) fn verdict(&self) -> &'static str {
        match (self.applied.row.effect, &self.outcome) {
            (Effect::Allow, Ok(true)) => "allows",
            (Effect::Allow, Ok(false)) => "does not allow",
            (Effect::Allow, Err(_)) => "cannot be decided, so it does not allow",
            (Effect::Deny, Ok(true)) => "denies",
            (Effect::Deny, Ok(false)) => "does not deny",
            (Effect::Deny, Err(_)) => "cannot be decided, so it denies",
        }
    }

    pub(super) fn row_name(&self) -> String {
        let id = self.applied.row.id;
        id.map_or("the built-in row".to_owned(), |id| format!("row {id}"))
    }

    pub(super) fn outcome_of(rows: &[Self], id: Option<i64>) -> Option<bool> {
        let judged = rows.iter().find(|judged| judged.applied.row.id == id)?;
        judged.outcome.as_ref().ok().copied()
    }

    /// Answers by the rules' texts, as casbin asks.
    pub(super) fn by_text(rows: &[Self]) -> BTreeMap<Arc<str>, Option<bool>> {
        let answer = |judged: &Self| judged.outcome.as_ref().ok().copied();
        rows.iter()
            .map(|judged| (Arc::clone(&judged.applied.row.rule), answer(judged)))
            .collect()
    }
}
