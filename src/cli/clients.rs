//! `rowcast clients`: who is connected to a running server, a message to one, an end to some.

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::failure::{self, Failure};
use super::options::ConfigOptions;
use super::remote::{Remote, RemoteOptions};
use super::terminal;

const EXAMPLES: &str = "\
Examples:
  export ROWCAST_TOKEN=$(rowcast token --superuser ops@example.com)
  rowcast clients list                              # who is connected, 100 a page
  rowcast clients list --collection members --record 42 --json
  rowcast clients list --topic 'posts/*' --guests=true --page 2
  rowcast clients show AOZlLbImam2EhvFg2rhGT748lJ8RyjBbtJHZEodX
  rowcast clients send AOZlLbIm… chat '{\"text\":\"hello\"}'
  rowcast clients disconnect AOZlLbIm…
  rowcast clients disconnect --collection members --record 42
  rowcast clients list --url https://feed.example.com

Whoever is disconnected may connect again; the SDKs do so by themselves. To keep somebody out,
end the token as well: see rowcast token --help.";

/// List, show and disconnect the clients of a running server, or send to one
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Clients {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    remote: RemoteOptions,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List who is connected
    List {
        #[command(flatten)]
        filter: Filter,
        /// Which page
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        page: u64,
        /// Clients on a page, at most 1000
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        per_page: u64,
    },
    /// Show one client with its subscriptions
    Show {
        /// Its client id
        client_id: String,
    },
    /// End one stream, or those of a principal, an address or a topic
    Disconnect {
        /// Its client id
        #[arg(required_unless_present_any = ["collection", "record", "address", "topic", "guests"],
              conflicts_with_all = ["collection", "record", "address", "topic", "guests"])]
        client_id: Option<String>,
        #[command(flatten)]
        filter: Filter,
    },
    /// Send a message to one client, at once; it is in no log
    Send {
        /// Its client id
        client_id: String,
        /// The event's name
        topic: String,
        /// JSON: an object, an array or a string
        data: String,
    },
}

#[derive(Debug, Args)]
struct Filter {
    /// Records of this auth collection; superusers are in _superusers
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// The record of this id
    #[arg(long, value_name = "ID")]
    record: Option<String>,
    /// From this address
    #[arg(long, value_name = "IP")]
    address: Option<std::net::IpAddr>,
    /// With a subscription to this topic, such as posts/*
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only guests (true) or all but guests (false)
    #[arg(long, value_name = "BOOL", require_equals = true)]
    guests: Option<bool>,
}

impl Filter {
    fn to_json(&self) -> Map<String, Value> {
        let text = |value: &Option<String>| value.clone().map(Value::from);
        let all = [
            ("collection", text(&self.collection)),
            ("record", text(&self.record)),
            ("address", self.address.map(|it| it.to_string().into())),
            ("topic", text(&self.topic)),
            ("guests", self.guests.map(Value::from)),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.to_json() {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            query.append_pair(&name, &value);
        }
        query.finish()
    }
}

impl Clients {
    pub(super) async fn run(self, options: ConfigOptions) -> Result<(), Failure> {
        if let What::Send { data, .. } = &self.what
            && let Err(error) = serde_json::from_str::<&RawValue>(data)
        {
            let text =
                format!("DATA is no JSON: {error}\n  a text needs quotes of its own: '\"hello\"'");
            return Err(Failure::new(failure::USAGE, text));
        }
        let remote = self.remote.open(&options).await?;
        match &self.what {
            What::List {
                filter,
                page,
                per_page,
            } => {
                let query = filter.to_query();
                let path = format!("/api/realtime/clients?page={page}&perPage={per_page}&{query}");
                let answer = remote
                    .ask(Method::GET, path.trim_end_matches('&'), None)
                    .await?;
                self.show_list(&answer);
            }
            What::Show { client_id } => {
                let answer = remote.ask(Method::GET, &path_of(client_id), None).await?;
                self.show_one(&answer);
            }
            What::Disconnect { client_id, filter } => {
                let ended = disconnect(&remote, client_id.as_deref(), filter).await?;
                match self.json {
                    true => terminal::result(json!({ "disconnected": ended })),
                    false => terminal::result(format_args!("{ended} disconnected")),
                }
            }
            What::Send {
                client_id,
                topic,
                data,
            } => {
                // As it was written: numbers keep their digits.
                let body = format!(r#"{{"topic":{},"data":{data}}}"#, Value::from(&**topic));
                let path = format!("{}/send", path_of(client_id));
                remote.ask(Method::POST, &path, Some(body)).await?;
                if self.json {
                    terminal::result(json!({ "sent": 1 }));
                } else {
                    terminal::result("sent");
                }
            }
        }
        Ok(())
    }

    fn show_list(&self, answer: &Value) {
        let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
        let [page, pages, total] =
            ["page", "totalPages", "totalItems"].map(|name| answer[name].as_i64().unwrap_or(0));
        if self.json {
            return terminal::result(format_args!("{answer:#}"));
        }
        if items.is_empty() {
            return terminal::note(format_args!("nobody on page {page}; {total} in all"));
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header([
            "client id",
            "principal",
            "address",
            "connected",
            "subscriptions",
            "waiting",
            "delivered",
        ]);
        table.add_rows(items.iter().map(|one| {
            [
                plain(&one["id"]),
                principal(&one["principal"]),
                plain(&one["address"]),
                plain(&one["connected"]),
                plain(&one["subscriptionCount"]),
                plain(&one["waiting"]),
                plain(&one["delivered"]),
            ]
        }));
        terminal::result(table);
        let next = match page < pages {
            true => format!("; the next with --page {}", page + 1),
            false => String::new(),
        };
        terminal::note(format_args!("page {page} of {pages}, {total} in all{next}"));
    }

    fn show_one(&self, one: &Value) {
        if self.json {
            return terminal::result(format_args!("{one:#}"));
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for name in ["id", "address", "connected", "waiting", "delivered"] {
            table.add_row([name.to_owned(), plain(&one[name])]);
        }
        table.add_row(["principal".to_owned(), principal(&one["principal"])]);
        let subscriptions = one["subscriptions"].as_array();
        let mut name = "subscriptions";
        for subscription in subscriptions.into_iter().flatten() {
            table.add_row([name.to_owned(), plain(subscription)]);
            name = "";
        }
        if !name.is_empty() {
            table.add_row([name, "none"]);
        }
        terminal::result(table);
    }
}

async fn disconnect(
    remote: &Remote,
    client_id: Option<&str>,
    filter: &Filter,
) -> Result<u64, Failure> {
    if let Some(client_id) = client_id {
        let path = path_of(client_id);
        return remote.ask(Method::DELETE, &path, None).await.map(|_| 1);
    }
    let body = Value::Object(filter.to_json()).to_string();
    let path = "/api/realtime/clients/disconnect";
    let answer = remote.ask(Method::POST, path, Some(body)).await?;
    Ok(answer["disconnected"].as_u64().unwrap_or(0))
}

fn path_of(client_id: &str) -> String {
    let id = utf8_percent_encode(client_id, NON_ALPHANUMERIC);
    format!("/api/realtime/clients/{id}")
}

/// A value for a terminal: what others wrote must not steer it.
fn plain(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    text.chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}

fn principal(value: &Value) -> String {
    match value.is_null() {
        true => "guest".to_owned(),
        false => format!(
            "{}/{}",
            plain(&value["collectionName"]),
            plain(&value["id"])
        ),
    }
}
