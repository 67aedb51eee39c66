//! The options inside a subscription's text: read the way Go reads a URL and its JSON, so that what
//! PocketBase ignores is ignored here too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// What a client asked for beside the topic; empty unless it could be read (section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `options.query`: `expand`, `fields`, `filter` and whatever rules ask for.
    pub query: BTreeMap<String, String>,
    /// `options.headers`, names in snake case.
    pub headers: BTreeMap<String, String>,
}

/// Why options are ignored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The whole text is no URL, so it has no query.
    #[error("the subscription cannot be read as a URL")]
    NoUrl,
    /// The pair is skipped as Go skips it.
    #[error("they contain a semicolon, or a % that is no escape")]
    Encoding,
    /// No JSON, or something behind it.
    #[error("they are no JSON: {0}")]
    Json(String),
    /// JSON of another type.
    #[error("{0} no object")]
    NoObject(&'static str),
}

impl Options {
    /// The options that stand in a subscription's text.
    pub(super) fn of(text: &str) -> Self {
        query_of(text)
            .and_then(first_options)
            .and_then(|json| serde_json::from_str(&json).ok())
            .map(Self::normalized)
            .unwrap_or_default()
    }

    /// Whether the options in a subscription's text, if any, can be read whole.
    pub(super) fn check(text: &str) -> Result<(), OptionsError> {
        let Some(query) = query_of(text) else {
            let meant = text.contains("options=");
            return if meant {
                Err(OptionsError::NoUrl)
            } else {
                Ok(())
            };
        };
        let Some(json) = first_options(query) else {
            let meant = query.split('&').any(|pair| pair.starts_with("options="));
            return if meant {
                Err(OptionsError::Encoding)
            } else {
                Ok(())
            };
        };
        let options = serde_json::from_str(&json).map_err(|e| OptionsError::Json(e.to_string()))?;
        let Value::Object(members) = options else {
            return Err(OptionsError::NoObject("they are"));
        };
        for (name, value) in members {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            match value {
                Value::Object(_) | Value::Null => {}
                _ if is("query") => return Err(OptionsError::NoObject("query is")),
                _ if is("headers") => return Err(OptionsError::NoObject("headers is")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a switch of ours is on: `1` or `true`.
    pub fn is_set(&self, name: &str) -> bool {
        let value = self.query.get(name).map(String::as_str);
        matches!(value, Some("1" | "true"))
    }

    fn normalized(raw: RawOptions) -> Self {
        let query = raw.query.into_iter().map(|(key, value)| (key, text(value)));
        let headers = raw
            .headers
            .into_iter()
            .map(|(name, value)| (snake_case(&name), text(value)));
        Self {
            query: query.collect(),
            headers: headers.collect(),
        }
    }
}

/// The query of `text` taken as a URL; `None` where it has none or is no URL to Go's parser.
fn query_of(text: &str) -> Option<&str> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (path, query) = url.split_once('?')?;
    let readable = !url.bytes().any(|byte| byte.is_ascii_control())
        && has_whole_escapes(fragment.as_bytes())
        && is_path(path);
    readable.then_some(query)
}

/// Whether the part before the query may stand there.
fn is_path(path: &str) -> bool {
    let first_segment = path.split('/').next().unwrap_or_default();
    match first_segment.split_once(':') {
        // What follows a scheme is opaque and not looked at.
        Some((scheme, rest)) => {
            is_scheme(scheme) && (!rest.is_empty() || has_whole_escapes(path.as_bytes()))
        }
        None => has_whole_escapes(path.as_bytes()),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// The first value of the parameter `options`. Pairs that Go cannot read do not count.
fn first_options(query: &str) -> Option<Cow<'_, str>> {
    query
        .split('&')
        .filter(|pair| !pair.contains(';') && has_whole_escapes(pair.as_bytes()))
        .flat_map(|pair| form_urlencoded::parse(pair.as_bytes()))
        .find_map(|(key, value)| (key == "options").then_some(value))
}

/// Whether every `%` is followed by two hexadecimal digits; where not, Go refuses to decode.
pub(crate) fn has_whole_escapes(encoded: &[u8]) -> bool {
    let mut after_percent = encoded.split(|&byte| byte == b'%').skip(1);
    after_percent.all(|after| after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit))
}

/// A value as rules see it: numbers in plain decimals, and nothing for what is no scalar.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Bool(flag) => flag.to_string(),
        // PocketBase reads every number as a float; Rust, too, prints floats without exponents.
        Value::Number(number) => number.as_f64().map_or_else(String::new, |n| n.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// `X-Token`, `X_TOKEN` and `xToken` are all `x_token`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        if !snake.is_empty() {
            snake.push('_');
        }
        push_word(&mut snake, word);
    }
    snake
}

fn push_word(snake: &mut String, word: &str) {
    let mut follows_upper = true;
    for c in word.chars() {
        if c.is_ascii_uppercase() && !follows_upper {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        follows_upper = c.is_ascii_uppercase();
    }
}

/// The options as JSON says them, before their values are made text.
#[derive(Default)]
struct RawOptions {
    query: Members,
    headers: Members,
}

type Members = serde_json::Map<String, Value>;

impl<'de> Deserialize<'de> for RawOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawOptionsVisitor)
    }
}

struct RawOptionsVisitor;

impl<'de> Visitor<'de> for RawOptionsVisitor {
    type Value = RawOptions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the members query and headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawOptions, A::Error> {
        let mut raw = RawOptions::default();
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("query") {
                merge(&mut raw.query, map.next_value()?);
            } else if key.eq_ignore_ascii_case("headers") {
                merge(&mut raw.headers, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(raw)
    }
}

/// Takes one member over as Go does: an object adds to an earlier one, null takes it away, and
/// anything else is as if it were not there.
fn merge(members: &mut Members, value: Value) {
    match value {
        Value::Object(more) => members.extend(more),
        Value::Null => members.clear(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    const A1: Pairs<'static> = &[("a", "1")];
    const NONE: Pairs<'static> = &[];

    fn pairs(map: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
        map.iter().map(|(k, v)| (&**k, &**v)).collect()
    }

    fn check(text: &str, query: Pairs<'_>, headers: Pairs<'_>) {
        let options = Options::of(text);
        assert_eq!(pairs(&options.query), query, "query of {text:?}");
        assert_eq!(pairs(&options.headers), headers, "headers of {text:?}");
    }

    #[test]
    fn options_are_found_where_go_finds_them() {
        for (text, query) in [
            // Encoded by JS, by Dart, and not at all.
            (
                "posts/*?options=%7B%22query%22%3A%7B%22a%22%3A%221%22%7D%7D",
                A1,
            ),
            (
                "posts/*?options=%7B%22query%22%3A%7B%22a%22%3A%22x+y%22%7D%7D",
                &[("a", "x y")],
            ),
            (
                "posts/*?options=%7B%22query%22%3A%7B%22a%22%3A%22x%20y%22%7D%7D",
                &[("a", "x y")],
            ),
            (r#"posts/*?options={"query":{"a":"1"}}"#, A1),
            (r#"posts/*?options={ "query": { "a": "1" } }"#, A1),
            (r#"posts/*?options={"query":{"a":"x+y"}}"#, &[("a", "x y")]),
            (
                r#"posts/*?options={"query":{"a":"x=y?z"}}"#,
                &[("a", "x=y?z")],
            ),
            (r#"posts/*?options={"query":{"a":"é"}}"#, &[("a", "é")]),
            // What ends or hides the value.
            (r#"posts/*?options={"query":{"a":"x&y"}}"#, NONE),
            (r##"posts/*?options={"query":{"a":"x#y"}}"##, NONE),
            (r#"posts/*?options={"query":{"a":"x;y"}}"#, NONE),
            (r#"posts/*?options={"query":{"a":"x%y"}}"#, NONE),
            ("posts/*?options={\"query\":{\"a\":\"x\ty\"}}", NONE),
            ("posts/*?options={\"query\":{\"a\":\"1\"}}\n", NONE),
            ("posts/*?options={\"query\":{\"a\":\"1\"}}\u{7f}", NONE),
            (r##"posts/*#x?options={"query":{"a":"1"}}"##, NONE),
            (r##"posts/*?options={"query":{"a":"1"}}#frag"##, A1),
            (r##"posts/*?options={"query":{"a":"1"}}#%zz"##, NONE),
            // Other pairs.
            (r#"posts/*?x=1&options={"query":{"a":"1"}}&y=2"#, A1),
            (r#"posts/*?options={"query":{"a":"1"}}&bad=%zz"#, A1),
            (r#"posts/*?bad=%zz&options={"query":{"a":"1"}}"#, A1),
            (r#"posts/*?&&options={"query":{"a":"1"}}"#, A1),
            (r#"posts/*??options={"query":{"a":"1"}}"#, NONE),
            (r#"posts/*?Options={"query":{"a":"1"}}"#, NONE),
            (r#"posts/*?option%73={"query":{"a":"1"}}"#, A1),
            // The first readable value counts.
            (r#"posts/*?options=bad&options={"query":{"a":"1"}}"#, NONE),
            (r#"posts/*?options&options={"query":{"a":"1"}}"#, NONE),
            (r#"posts/*?options=%zz&options={"query":{"a":"1"}}"#, A1),
            (r#"posts/*?options=a;b&options={"query":{"a":"1"}}"#, A1),
            // Not to be read as a URL.
            (r#"po%sts/*?options={"query":{"a":"1"}}"#, NONE),
            (r#"posts/%2?options={"query":{"a":"1"}}"#, NONE),
            (r#"posts/%2A?options={"query":{"a":"1"}}"#, A1),
            (r#"my_posts:x?options={"query":{"a":"1"}}"#, NONE),
            (r#":x?options={"query":{"a":"1"}}"#, NONE),
            (r#"1:x?options={"query":{"a":"1"}}"#, NONE),
            (r#"chat:x?options={"query":{"a":"1"}}"#, A1),
            (r#"chat:%zz?options={"query":{"a":"1"}}"#, A1),
            (r#"chat:/%zz?options={"query":{"a":"1"}}"#, NONE),
            (r#"a/my_posts:x?options={"query":{"a":"1"}}"#, A1),
            (r#"?options={"query":{"a":"1"}}"#, A1),
            ("posts/*", NONE),
            ("", NONE),
        ] {
            check(text, query, NONE);
        }
    }

    #[test]
    fn json_that_go_refuses_leaves_the_options_empty() {
        for json in [
            "",
            "%",
            "%zz",
            "x",
            "null",
            "[]",
            "5",
            "\"x\"",
            r#"{"query":{"a":"1"}"#,
            r#"{"query":{"a":"1"}}x"#,
            r#"{"query":{"a":"1"}} {}"#,
            r#"{"query":null,"headers":null}"#,
            "{}",
        ] {
            check(&format!("posts/*?options={json}"), NONE, NONE);
        }
    }

    #[test]
    fn members_are_read_one_by_one() {
        let h1: Pairs<'_> = &[("h", "1")];
        for (json, query, headers) in [
            (r#"{"query":{"a":"1"},"headers":{"h":"1"}}"#, A1, h1),
            (r#"{"Query":{"a":"1"},"HEADERS":{"h":"1"}}"#, A1, h1),
            (r#"{"x":{"a":[1]},"query":{"a":"1"}}"#, A1, NONE),
            (r#"{"query":"x","headers":{"h":"1"}}"#, NONE, h1),
            (r#"{"query":{"a":"1"},"headers":[]}"#, A1, NONE),
            (r#"{"query":{"a":"1"},"headers":7}"#, A1, NONE),
            (r#"{"query":null,"headers":{"h":"1"}}"#, NONE, h1),
            (
                r#"{"query":{"a":"0","b":"2"},"query":{"a":"1"}}"#,
                &[("a", "1"), ("b", "2")],
                NONE,
            ),
            (r#"{"query":{"a":"1"},"query":null}"#, NONE, NONE),
            (r#"{"query":{"a":"1"},"query":true}"#, A1, NONE),
        ] {
            check(&format!("posts/*?options={json}"), query, headers);
        }
    }

    #[test]
    fn values_become_text() {
        for (value, text) in [
            (r#""x""#, "x"),
            (r#""""#, ""),
            ("123", "123"),
            ("-7", "-7"),
            ("1.5", "1.5"),
            ("1.50", "1.5"),
            ("3.0", "3"),
            ("1e3", "1000"),
            ("1e21", "1000000000000000000000"),
            ("0.0000001", "0.0000001"),
            ("12345678901234567890", "12345678901234567000"),
            ("true", "true"),
            ("false", "false"),
            ("null", ""),
            ("[1]", ""),
            (r#"{"b":1}"#, ""),
        ] {
            let subscription = format!(r#"posts?options={{"query":{{"K-y":{value}}}}}"#);
            check(&subscription, &[("K-y", text)], NONE);
        }
    }

    #[test]
    fn a_switch_is_on_by_one_or_true_and_by_nothing_else() {
        for (value, on) in [
            ("1", true),
            (r#""1""#, true),
            ("true", true),
            (r#""true""#, true),
            ("0", false),
            ("2", false),
            ("false", false),
            (r#""yes""#, false),
            ("null", false),
        ] {
            let text = format!(r#"posts?options={{"query":{{"leave":{value}}}}}"#);
            assert_eq!(Options::of(&text).is_set("leave"), on, "{value}");
            assert!(!Options::of(&text).is_set("snapshot"), "{value}");
        }
    }

    #[test]
    fn header_names_become_snake_case() {
        for (name, snake) in [
            ("X-Token", "x_token"),
            ("X_TOKEN", "x_token"),
            ("xToken", "x_token"),
            ("XToken", "xtoken"),
            ("X-API-Key", "x_api_key"),
            ("token2Go", "token2_go"),
            ("--x--token--", "x_token"),
            ("a b.c", "a_b_c"),
            ("xéy", "x_y"),
            ("", ""),
        ] {
            let subscription = format!(r#"posts?options={{"headers":{{"{name}":"v"}}}}"#);
            check(&subscription, NONE, &[(snake, "v")]);
        }
    }
}
