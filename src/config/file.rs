//! The configuration file: TOML, one level deep but for `[[webhooks]]`.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::{Mistake, Origin};

/// A key and its value as text, or what is wrong with the value.
type Entry = (String, Result<String, String>);

/// All entries of a file, and what stands under `[[webhooks]]`.
pub(super) fn read(path: &Path) -> Result<(Vec<Entry>, Option<Value>), Mistake> {
    let wrong = |problem: String| Mistake {
        setting: "config".to_owned(),
        origin: Some(Origin::File(path.to_owned())),
        problem,
    };
    let text =
        fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut table = text
        .parse::<Table>()
        .map_err(|error| wrong(syntax(&text, &error)))?;
    let webhooks = table.remove("webhooks");
    let entries = table.into_iter();
    let entries = entries.map(|(key, value)| (key, simple(value)));
    Ok((entries.collect(), webhooks))
}

/// Where and what, without the line itself, which may hold a secret.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let problem = error
        .message()
        .lines()
        .next()
        .unwrap_or("cannot be understood");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            format!("is no TOML in line {line}: {problem}")
        }
        None => format!("is no TOML: {problem}"),
    }
}

/// A value as one would write it in a variable.
pub(super) fn simple(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(switch) => Ok(switch.to_string()),
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.into_iter().map(simple).collect();
            Ok(items?.join(","))
        }
        Value::Datetime(_) => Err("must be text, a number, true or false".to_owned()),
        Value::Table(_) => {
            let problem =
                "is a section, but settings stand by themselves, like listen = \"127.0.0.1:8090\"";
            Err(problem.to_owned())
        }
    }
}
