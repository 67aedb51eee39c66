//! `[[webhooks]]`: one section of the file for each.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use toml::{Table, Value};

use super::file::simple;
use super::values::{Kind, count, duration, list, parsed, text, word};
use crate::webhooks::{Failure, Stage, WebhookOptions, WebhookSecret, WebhookUrl};

const STAGES: &[(&str, Stage)] = &[
    ("connect", Stage::Connect),
    ("subscribe", Stage::Subscribe),
    ("message", Stage::Message),
    ("disconnect", Stage::Disconnect),
];
const FAILURES: &[(&str, Failure)] = &[("closed", Failure::Closed), ("open", Failure::Open)];
const NAMES: [&str; 10] = [
    "on",
    "url",
    "secret",
    "timeout",
    "failure",
    "concurrency",
    "queue",
    "retries",
    "forward_headers",
    "topics",
];

/// What was read, and every mistake: the setting and the problem.
#[derive(Default)]
pub(super) struct Read {
    pub(super) webhooks: Vec<WebhookOptions>,
    pub(super) mistakes: Vec<(String, String)>,
}

/// Reads the sections of a file, if it has any.
pub(super) fn read(sections: Option<Value>) -> Read {
    let mut read = Read::default();
    let sections = match sections {
        None => return read,
        Some(Value::Array(sections)) => sections,
        Some(_) => {
            read.mistake("webhooks", "stands as [[webhooks]], once for each");
            return read;
        }
    };
    for (n, section) in sections.into_iter().enumerate() {
        let name = format!("webhooks[{n}]");
        match section {
            Value::Table(table) => read.webhook(&name, table),
            _ => read.mistake(&name, "stands as a section of its own under [[webhooks]]"),
        }
    }
    read
}

impl Read {
    fn webhook(&mut self, name: &str, table: Table) {
        let mut section = Section {
            name,
            table,
            read: self,
        };
        section.unknown();
        let on = section.value("on", list(word(STAGES)));
        let url = section.value("url", from_text::<WebhookUrl>());
        let secret = section.value("secret", from_text::<WebhookSecret>());
        for (key, given) in [
            ("on", section.table.contains_key("on")),
            ("url", section.table.contains_key("url")),
            ("secret", section.table.contains_key("secret")),
        ] {
            if !given {
                section.mistake(key, "is not set; every webhook needs on, url and secret");
            }
        }
        let empty = on.as_ref().is_some_and(Vec::is_empty);
        if empty {
            section.mistake(
                "on",
                "names nothing; it is a list of connect, subscribe, message, disconnect",
            );
        }
        // Values that need no good address are checked all the same.
        let placeholder = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let mut options = WebhookOptions::new(
            on.iter().flatten().copied().collect::<BTreeSet<_>>(),
            url.clone().unwrap_or_else(|| {
                "http://localhost"
                    .parse()
                    .expect("an address of this machine")
            }),
            secret
                .clone()
                .unwrap_or_else(|| placeholder.parse().expect("32 bytes")),
        );
        let span = || duration(Duration::from_millis(100)..=Duration::from_secs(25));
        section.set("timeout", span(), &mut options.timeout);
        section.set("failure", word(FAILURES), &mut options.failure);
        section.set("concurrency", count(1..=1_000), &mut options.concurrency);
        section.set("queue", count(1..=1_000_000), &mut options.queue);
        section.set("retries", count(0..=20), &mut options.retries);
        let header = || parsed("is no header's name; write it like X-Tenant");
        section.set(
            "forward_headers",
            list(header()),
            &mut options.forward_headers,
        );
        section.set("topics", list(text()), &mut options.topics);
        let is_told = options.on.contains(&Stage::Message);
        if is_told && options.topics.is_empty() {
            section.mistake(
                "topics",
                "is not set; a webhook on message is told of those topics only, like [\"chat\"]",
            );
        }
        if url.is_some() && secret.is_some() {
            self.webhooks.push(options);
        }
    }

    fn mistake(&mut self, setting: &str, problem: &str) {
        self.mistakes.push((setting.to_owned(), problem.to_owned()));
    }
}

/// One section under way.
struct Section<'s> {
    name: &'s str,
    table: Table,
    read: &'s mut Read,
}

impl Section<'_> {
    /// The value of a key, if it is there and good.
    fn value<T>(&mut self, key: &str, kind: Kind<T>) -> Option<T> {
        let value = self.table.get(key)?.clone();
        match simple(value).and_then(|text| (kind.read)(&text)) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.mistake(key, &problem);
                None
            }
        }
    }

    fn set<T>(&mut self, key: &str, kind: Kind<T>, place: &mut T) {
        if let Some(value) = self.value(key, kind) {
            *place = value;
        }
    }

    fn unknown(&mut self) {
        let keys: Vec<String> = self.table.keys().cloned().collect();
        for key in keys.iter().filter(|key| !NAMES.contains(&&***key)) {
            let near = NAMES
                .iter()
                .min_by_key(|name| strsim::damerau_levenshtein(name, key));
            let near = near.filter(|name| strsim::damerau_levenshtein(name, key) <= key.len() / 3);
            let hint = match near {
                Some(near) => format!("is no setting of a webhook; did you mean {near}?"),
                None => format!("is no setting of a webhook; there are {}", NAMES.join(", ")),
            };
            self.mistake(key, &hint);
        }
    }

    fn mistake(&mut self, key: &str, problem: &str) {
        self.read.mistake(&format!("{}.{key}", self.name), problem);
    }
}

/// Anything that is read from text and says itself what is wrong; never repeats the text.
fn from_text<T>() -> Kind<T>
where
    T: std::str::FromStr + 'static,
    T::Err: std::fmt::Display,
{
    Kind {
        read: Box::new(|text| text.parse().map_err(|error: T::Err| error.to_string())),
        write: Box::new(|_| "***".to_owned()),
    }
}

/// The sections as they would be written, secrets masked.
pub(super) fn to_toml(webhooks: &[WebhookOptions]) -> String {
    let mut toml = String::new();
    for webhook in webhooks {
        let stages = STAGES
            .iter()
            .filter(|(_, stage)| webhook.on.contains(stage));
        let stages: Vec<_> = stages.map(|(word, _)| *word).collect();
        let failure = FAILURES
            .iter()
            .find(|(_, failure)| *failure == webhook.failure);
        let headers: Vec<_> = webhook
            .forward_headers
            .iter()
            .map(|name| name.as_str())
            .collect();
        let quoted = |text: String| Value::String(text).to_string();
        let lines = [
            ("on", quoted(stages.join(","))),
            ("url", quoted(webhook.url.to_string())),
            ("secret", quoted("***".to_owned())),
            (
                "timeout",
                quoted(humantime::format_duration(webhook.timeout).to_string()),
            ),
            (
                "failure",
                quoted(failure.map_or("", |(word, _)| *word).to_owned()),
            ),
            ("concurrency", webhook.concurrency.to_string()),
            ("queue", webhook.queue.to_string()),
            ("retries", webhook.retries.to_string()),
            ("forward_headers", quoted(headers.join(","))),
            ("topics", quoted(webhook.topics.join(","))),
        ];
        toml.push_str("[[webhooks]]\n");
        for (name, value) in lines {
            writeln!(toml, "{name} = {value}").expect("writing to a string cannot fail");
        }
        toml.push('\n');
    }
    toml
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

    fn read_text(text: &str) -> Read {
        let mut table = text.parse::<Table>().expect("TOML");
        read(table.remove("webhooks"))
    }

    #[test]
    fn every_mistake_of_every_webhook_is_told_at_once_and_no_secret() {
        let read = read_text(
            r#"
            [[webhooks]]
            on = ["connect", "conect"]
            url = "http://app.example/hook"
            secret = "hush-hush"
            timeout = "1h"
            tiemout = "5s"
            [[webhooks]]
            on = "message"
            url = "https://me:pass@app.example"
            failure = "ajar"
            "#,
        );
        let told: Vec<_> = read
            .mistakes
            .iter()
            .map(|(name, problem)| format!("{name} {problem}"))
            .collect();
        for (place, word) in [
            ("webhooks[0].on", "conect"),
            ("webhooks[0].url", "is not encrypted"),
            ("webhooks[0].secret", "openssl rand"),
            ("webhooks[0].timeout", "out of bounds"),
            ("webhooks[0].tiemout", "did you mean timeout?"),
            ("webhooks[1].url", "user name or a password"),
            ("webhooks[1].secret", "is not set"),
            ("webhooks[1].failure", "is none of closed, open"),
            ("webhooks[1].topics", "is not set"),
        ] {
            let found = told
                .iter()
                .filter(|told| told.starts_with(place) && told.contains(word));
            assert_eq!(found.count(), 1, "{place} {word}: {told:#?}");
        }
        assert_eq!(told.len(), 9, "{told:#?}");
        assert!(!told.concat().contains("hush") && !told.concat().contains("pass@"));
        assert!(read.webhooks.is_empty());
        for wrong in [
            "webhooks = 1",
            "webhooks = [1]",
            "[webhooks]\non = \"connect\"",
        ] {
            assert_eq!(read_text(wrong).mistakes.len(), 1, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again_but_for_the_secret() {
        let read = read_text(&format!(
            "[[webhooks]]\non = [\"disconnect\", \"connect\"]\nurl = \"http://127.0.0.1:9/h?key=hush\"\n\
             secret = \"{SECRET}\"\ntimeout = \"2s\"\nfailure = \"open\"\nforward_headers = [\"cookie\"]"
        ));
        assert!(read.mistakes.is_empty(), "{:?}", read.mistakes);
        let shown = to_toml(&read.webhooks);
        assert!(
            !shown.contains(SECRET) && !shown.contains("hush"),
            "{shown}"
        );
        let again = read_text(&shown.replace("***\"\ntimeout", &format!("{SECRET}\"\ntimeout")));
        assert!(again.mistakes.is_empty(), "{:?}", again.mistakes);
        let [one, other] = [&read.webhooks[0], &again.webhooks[0]];
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        assert_eq!(one.timeout, Duration::from_secs(2));
    }
}
