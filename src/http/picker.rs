//! The `fields` of a query: which members of an answer are wanted.

use serde_json::{Map, Value};

/// Longer lists of fields are not read; the whole answer is sent then, as it is without.
const FIELDS_BYTES_MAX: usize = 4 * 1024;

/// Paths to what is wanted, such as `token,record.id`; `*` is any member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picker(Vec<Vec<String>>);

impl Picker {
    /// What a query asks for; `None` for everything.
    pub(super) fn of(query: Option<&str>) -> Option<Self> {
        let mut pairs = form_urlencoded::parse(query?.as_bytes());
        let (_, fields) = pairs.find(|(key, _)| key == "fields")?;
        if fields.len() > FIELDS_BYTES_MAX {
            return None;
        }
        let paths = fields.split(',').map(str::trim);
        let paths: Vec<_> = paths
            .filter(|path| !path.is_empty())
            // What comes behind a colon shortens texts, which nothing in these answers needs.
            .map(|path| path.split(':').next().unwrap_or_default())
            .map(|path| path.split('.').map(str::to_owned).collect())
            .collect();
        (!paths.is_empty()).then_some(Self(paths))
    }

    /// Only what is wanted of `value`.
    pub(super) fn pick(&self, value: &Value) -> Value {
        let paths: Vec<&[String]> = self.0.iter().map(|path| &**path).collect();
        pick(value, &paths)
    }
}

fn pick(value: &Value, paths: &[&[String]]) -> Value {
    match value {
        Value::Object(members) => {
            let picked = members.iter().filter_map(|(name, value)| {
                let below: Vec<&[String]> = paths
                    .iter()
                    .filter_map(|path| path.split_first())
                    .filter(|(first, _)| *first == name || *first == "*")
                    .map(|(_, rest)| rest)
                    .collect();
                let whole = below.iter().any(|rest| rest.is_empty());
                match below.is_empty() {
                    true => None,
                    false if whole => Some((name.clone(), value.clone())),
                    false => Some((name.clone(), pick(value, &below))),
                }
            });
            Value::Object(picked.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| pick(item, paths)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_picked_from_the_top() {
        let whole =
            json!({"record": {"id": "a", "name": "b", "tags": [{"x": 1, "y": 2}]}, "token": "t"});
        for (query, picked) in [
            (
                "fields=token,record.id",
                json!({"record": {"id": "a"}, "token": "t"}),
            ),
            (
                "fields=token,%20record.id",
                json!({"record": {"id": "a"}, "token": "t"}),
            ),
            ("fields=*", whole.clone()),
            (
                "fields=record.tags.x",
                json!({"record": {"tags": [{"x": 1}]}}),
            ),
            ("fields=*.id", json!({"record": {"id": "a"}, "token": "t"})),
            ("fields=nothing", json!({})),
        ] {
            let picker = Picker::of(Some(query)).expect("a list of fields");
            assert_eq!(picker.pick(&whole), picked, "{query}");
        }
        for query in [
            None,
            Some(""),
            Some("fields="),
            Some("fields=,"),
            Some("other=a"),
        ] {
            assert_eq!(Picker::of(query), None, "{query:?}");
        }
    }
}
