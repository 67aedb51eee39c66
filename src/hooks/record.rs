//! A record as enrich hooks change it: what they leave alone stays byte for byte.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

type Members = BTreeMap<String, Box<RawValue>>;

/// One record, its members in order of their names.
#[derive(Default)]
pub struct HookRecord {
    shown: Members,
    hidden: Members,
}

impl HookRecord {
    /// A record as its receiver may see it; `full` is all there is of it.
    ///
    /// # Errors
    /// If it is no JSON object.
    pub fn parse(shown: &str, full: Option<&str>) -> Result<Self, serde_json::Error> {
        let shown: Members = serde_json::from_str(shown)?;
        let mut hidden: Members = full
            .map(serde_json::from_str)
            .transpose()?
            .unwrap_or_default();
        hidden.retain(|name, _| !shown.contains_key(name));
        Ok(Self { shown, hidden })
    }

    /// The names of what is shown.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shown.keys().map(String::as_str)
    }

    /// A member that is shown.
    pub fn get(&self, name: &str) -> Option<Value> {
        value(self.shown.get(name)?)
    }

    /// A member that is there, shown or not: passwords and token keys never are.
    pub fn get_hidden(&self, name: &str) -> Option<Value> {
        value(self.shown.get(name).or_else(|| self.hidden.get(name))?)
    }

    /// Replaces a member, or adds one.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn set(&mut self, name: &str, value: impl Serialize) -> Result<(), serde_json::Error> {
        self.shown.insert(name.to_owned(), to_raw_value(&value)?);
        Ok(())
    }

    /// Takes a member away; says whether there was one.
    pub fn hide(&mut self, name: &str) -> bool {
        let taken = self.shown.remove(name);
        let found = taken.is_some();
        self.hidden
            .extend(taken.map(|value| (name.to_owned(), value)));
        found
    }

    /// Shows a member that was hidden; says whether there is one. Those of related records cannot be
    /// shown.
    pub fn unhide(&mut self, name: &str) -> bool {
        if let Some((name, value)) = self.hidden.remove_entry(name) {
            self.shown.insert(name, value);
        }
        self.shown.contains_key(name)
    }

    /// The record on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.shown).expect("a map with string keys always encodes")
    }

    /// A member as it is written.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.shown.get(name).map(|raw| raw.get())
    }

    /// A member's text, if it is one.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let raw = self.shown.get(name)?;
        String::deserialize(&**raw).ok()
    }
}

fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

impl fmt::Debug for HookRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rows are never logged.
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_alone_stays_byte_for_byte() {
        let shown = r#"{"a":1e400,"b":12345678901234567890123,"c":{"lon":1,"lat":2.0},"d":"x"}"#;
        let full = r#"{"a":1e400,"secret":"s"}"#;
        let mut record = HookRecord::parse(shown, Some(full)).expect("objects");
        assert_eq!(record.to_json(), shown);
        assert!(record.hide("d") && !record.hide("d") && !record.hide("secret"));
        record.set("b2", [1, 2]).expect("numbers");
        assert_eq!(record.get("secret"), None);
        assert_eq!(record.get_hidden("secret"), Some("s".into()));
        assert!(record.unhide("secret") && !record.unhide("nothing"));
        assert_eq!(
            record.to_json(),
            r#"{"a":1e400,"b":12345678901234567890123,"b2":[1,2],"c":{"lon":1,"lat":2.0},"secret":"s"}"#
        );
        assert!(record.unhide("d"));
        assert_eq!(record.text("d").as_deref(), Some("x"));
    }
}
