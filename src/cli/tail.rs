//! `rowcast tail`: what subscriptions receive from a running server, as it comes.

use std::error::Error;
use std::io::{IsTerminal, stdin, stdout};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::failure::{self, Failure};
use super::health::reachable;
use super::options::ConfigOptions;
use super::terminal;
use crate::config::Need;
use crate::follow::{Event, FollowError, Follower};

const EXAMPLES: &str = "\
Examples:
  rowcast tail 'posts/*'                        # every change of a collection, from now on
  rowcast tail orders/17 posts                  # one record, and another collection
  rowcast tail '*' --json | jq .data.record     # a JSON object per line
  rowcast tail posts --url https://feed.example.com
  rowcast token --superuser ci@example.com | rowcast tail '*' --token -

It sees what the token's owner may see, or what everybody may. Where the connection breaks
it comes back and goes on where it was.";

/// Show what subscriptions receive from a running server, live
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Tail {
    /// What to subscribe to: posts/*, posts/ID, or * for every collection
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// The server [default: the address in the settings, on this machine]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A token, as rowcast token prints it, or - to read one from standard input
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Print a JSON object per event: topic, id, data
    #[arg(long)]
    json: bool,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Whether to colour what happened
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    color: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal
    Auto,
    Always,
    Never,
}

impl Tail {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        let server = match &self.url {
            Some(url) => url.clone(),
            None => format!("http://{}", reachable(options.load(Need::Nothing)?.listen)),
        };
        let token = self.token()?;
        let mut follower =
            Follower::new(&server, &self.topics, token.as_deref()).map_err(failure_of)?;
        follower.connect().await.map_err(failure_of)?;
        terminal::note(format_args!(
            "following {} at {server}",
            self.topics.join(", ")
        ));
        let coloured = match self.color {
            Colour::Auto => stdout().is_terminal(),
            colour => colour == Colour::Always,
        };
        let mut shown = 0;
        while self.count.is_none_or(|count| shown < count) {
            let mut troubled = false;
            let event = follower
                .next(|error| {
                    // Once for each break, not for each attempt.
                    if !std::mem::replace(&mut troubled, true) {
                        terminal::note(format_args!("{}; trying again", failure::explain(error)));
                    }
                })
                .await
                .map_err(failure_of)?;
            match self.json {
                true => terminal::result(as_json(&event)),
                false => terminal::result(in_words(&event, coloured)),
            }
            shown += 1;
        }
        Ok(())
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        match self.token.as_deref() {
            Some("-") => {
                let mut line = String::new();
                let read = stdin().read_line(&mut line);
                read.map_err(|error| Failure::internal("could not read the token", error))?;
                match line.trim() {
                    "" => Err(Failure::new(
                        failure::USAGE,
                        "--token - found no token on standard input".to_owned(),
                    )),
                    token => Ok(Some(token.to_owned())),
                }
            }
            token => Ok(token.map(str::to_owned)),
        }
    }
}

fn failure_of(error: FollowError) -> Failure {
    let code = match &error {
        FollowError::Tls(_) | FollowError::NoEvents(_) => failure::UNAVAILABLE,
        error if error.may_pass() => failure::UNAVAILABLE,
        _ => failure::USAGE,
    };
    Failure::new(code, failure::explain(&error as &(dyn Error + 'static)))
}

/// What stands in the data of a change.
#[derive(Deserialize)]
struct Change<'d> {
    action: String,
    #[serde(borrow)]
    record: &'d RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    id: String,
    collection_name: String,
}

fn in_words(event: &Event, coloured: bool) -> String {
    let change: Option<Change<'_>> = serde_json::from_str(&event.data).ok();
    let named = change
        .as_ref()
        .and_then(|change| serde_json::from_str::<Named>(change.record.get()).ok());
    let (Some(change), Some(named)) = (change, named) else {
        return format!("{} {}", paint("message", coloured), as_text(event));
    };
    let Named {
        id,
        collection_name,
    } = named;
    let record = change.record.get();
    let action = paint(&change.action, coloured);
    format!("{action} {collection_name}/{id} {record}")
}

fn as_text(event: &Event) -> String {
    format!("{} {}", event.name, data_of(event))
}

fn as_json(event: &Event) -> Value {
    json!({ "topic": event.name, "id": event.id, "data": data_of(event) })
}

/// JSON, or text as JSON: so that nothing in it can take hold of a terminal.
fn data_of(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()))
}

/// The word for what happened, all equally wide.
fn paint(action: &str, coloured: bool) -> String {
    let code = match action {
        "create" => 32,
        "update" => 33,
        "delete" | "leave" => 31,
        "resync" => 35,
        _ => 36,
    };
    match coloured {
        true => format!("\x1b[{code}m{action:<7}\x1b[0m"),
        false => format!("{action:<7}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event {
            id: "e:7:7:".to_owned(),
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn changes_and_messages_are_one_line_each() {
        let change = event(
            "posts/*",
            r#"{"record":{"collectionName":"posts","id":"7","title":"a\nb"},"action":"create"}"#,
        );
        let record = r#"{"collectionName":"posts","id":"7","title":"a\nb"}"#;
        assert_eq!(
            in_words(&change, false),
            format!("create  posts/7 {record}")
        );
        let coloured = in_words(&change, true);
        assert_eq!(coloured, format!("\x1b[32mcreate \x1b[0m posts/7 {record}"));
        assert_eq!(
            as_json(&change).to_string(),
            format!(
                r#"{{"data":{{"action":"create","record":{record}}},"id":"e:7:7:","topic":"posts/*"}}"#
            )
        );
        let message = event("chat", "\x1b[2J");
        assert_eq!(in_words(&message, false), r#"message chat "\u001b[2J""#);
    }
}
