//! Connection strings: what the driver does not understand is taken out before it sees them.
//!
//! The driver reads libpq's two forms, a URL and `key=value` pairs, but neither certificates nor
//! the verifying modes of `sslmode`. Here both forms become pairs, the TLS options are set aside,
//! and the rest is handed on. No message repeats text that could be part of a password.

use std::path::PathBuf;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::error::DatabaseConfigError;
use super::tls::TlsSettings;

/// Options the driver understands and we pass on.
const PASSED_ON: [&str; 17] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
];

/// Options of libpq that change nothing for us and may stand in a string meant for others.
const IGNORED: [&str; 7] = [
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "krbsrvname",
    "sslcompression",
    "sslsni",
    "min_protocol_version",
];

/// Options of libpq that we cannot honor, and what to do instead.
const REFUSED: [(&str, &str); 7] = [
    (
        "service",
        "is not supported: write host, port, user and dbname themselves",
    ),
    (
        "passfile",
        "is not supported: give the password in the connection string",
    ),
    (
        "sslpassword",
        "is not supported: give an unencrypted key file only its owner can read",
    ),
    (
        "sslcrl",
        "is not supported: revocation lists are not checked",
    ),
    (
        "sslcrldir",
        "is not supported: revocation lists are not checked",
    ),
    ("requiressl", "is no longer known: write sslmode=require"),
    (
        "require_auth",
        "is not supported: use channel_binding=require",
    ),
];

/// A connection string, taken apart.
#[derive(Debug)]
pub(super) struct ParsedUrl {
    /// What the driver needs, without TLS.
    pub(super) config: Config,
    /// What the string says about TLS.
    pub(super) tls: TlsSettings,
}

/// Takes a connection string of either form apart.
pub(super) fn parse(text: &str) -> Result<ParsedUrl, DatabaseConfigError> {
    let mut tls = TlsSettings::default();
    let config = match UrlParts::split(text) {
        Some(parts) => {
            let kept = sort_options(parts.options()?, &mut tls)?;
            parts.with_options(&kept).parse::<Config>()
        }
        None => {
            let kept = sort_options(parse_pairs(text)?, &mut tls)?;
            join_pairs(&kept).parse::<Config>()
        }
    };
    let mut config = config.map_err(|error| syntax(driver_problem(&error)))?;
    check_hosts(&mut config)?;
    Ok(ParsedUrl { config, tls })
}

/// The connection string with its passwords replaced, for people to read.
pub fn masked(text: &str) -> String {
    match UrlParts::split(text) {
        Some(parts) => parts.masked(),
        None => match parse_pairs(text) {
            Ok(pairs) => join_pairs(&mask_options(pairs)),
            Err(_) => "***".to_owned(),
        },
    }
}

/// Where a configuration leads, as `host:port/name`.
pub(super) fn address(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(n, host)| {
        let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}/.s.PGSQL.{port}", path.display()),
        }
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    match config.get_dbname() {
        Some(name) => format!("{hosts}/{name}"),
        None => hosts,
    }
}

type Pairs = Vec<(String, String)>;

/// Sets the TLS options aside and returns those the driver gets.
fn sort_options(pairs: Pairs, tls: &mut TlsSettings) -> Result<Pairs, DatabaseConfigError> {
    let mut kept = Vec::with_capacity(pairs.len());
    for (number, (key, value)) in pairs.into_iter().enumerate() {
        match key.as_str() {
            "sslmode" => tls.mode = Some(value.parse().map_err(|error| bad_option(&key, error))?),
            "sslrootcert" => tls.root_cert = Some(PathBuf::from(value)),
            "sslcert" => tls.cert = Some(PathBuf::from(value)),
            "sslkey" => tls.key = Some(PathBuf::from(value)),
            "load_balance_hosts" => kept.push((key, value)),
            known if PASSED_ON.contains(&known) => kept.push((key, value)),
            known if IGNORED.contains(&known) => {}
            _ => return Err(unknown_option(&key, number + 1)),
        }
    }
    Ok(kept)
}

/// The error for an option that is refused or not known. A key that resembles no option may be
/// a piece of a password that was not encoded, so only its place is told.
fn unknown_option(key: &str, number: usize) -> DatabaseConfigError {
    if let Some((name, advice)) = REFUSED.iter().find(|(name, _)| *name == key) {
        return bad_option(name, advice);
    }
    let tls = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
    let mut known = PASSED_ON.iter().chain(&tls);
    match known.find(|name| strsim::damerau_levenshtein(name, key) <= 2) {
        Some(near) => syntax(format!(
            "option number {number} is unknown; did you mean {near}?"
        )),
        None => syntax(format!(
            "option number {number} is unknown; leave it out if it is meant for another program, \
             and percent-encode special characters in the password (@ is %40, ? is %3F, / is %2F)"
        )),
    }
}

/// What the driver found wrong, which never includes values.
fn driver_problem(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// Makes sure that there is a host, that it is one, and that TLS gets a name to ask for.
fn check_hosts(config: &mut Config) -> Result<(), DatabaseConfigError> {
    let stray_at = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
    if config.get_hosts().iter().any(stray_at) {
        let problem = "there is more than one @; one in the password is written %40";
        return Err(syntax(problem.to_owned()));
    }
    if config.get_hosts().is_empty() {
        let addresses = config.get_hostaddrs().to_vec();
        if addresses.is_empty() {
            let problem = "it names no host (for a Unix socket: host=/var/run/postgresql)";
            return Err(syntax(problem.to_owned()));
        }
        for address in addresses {
            config.host(address.to_string());
        }
    }
    Ok(())
}

fn bad_option(option: &str, problem: impl std::fmt::Display) -> DatabaseConfigError {
    DatabaseConfigError::Option {
        option: option.to_owned(),
        problem: problem.to_string(),
    }
}

fn syntax(problem: String) -> DatabaseConfigError {
    DatabaseConfigError::Syntax { problem }
}

/// A URL in three pieces, still encoded.
struct UrlParts<'a> {
    scheme: &'a str,
    /// Credentials, hosts and database.
    head: &'a str,
    /// What follows the question mark.
    query: &'a str,
}

impl<'a> UrlParts<'a> {
    /// Splits a URL, or returns `None` if the text is of the other form.
    fn split(text: &'a str) -> Option<Self> {
        let scheme = ["postgres://", "postgresql://"];
        let scheme = scheme.into_iter().find(|scheme| text.starts_with(scheme))?;
        let rest = &text[scheme.len()..];
        let (head, query) = match question_mark(rest) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        Some(Self {
            scheme,
            head,
            query,
        })
    }

    fn options(&self) -> Result<Pairs, DatabaseConfigError> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let pair = |(n, pair): (usize, &str)| match pair.split_once('=') {
            Some((key, value)) => Ok((decoded(key)?, decoded(value)?)),
            None => Err(syntax(format!("option number {} has no value", n + 1))),
        };
        pairs.enumerate().map(pair).collect()
    }

    fn with_options(&self, pairs: &Pairs) -> String {
        let encoded = |text: &str| percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
        let pair = |(key, value): &(String, String)| format!("{key}={}", encoded(value));
        let query = pairs.iter().map(pair).collect::<Vec<_>>().join("&");
        let Self { scheme, head, .. } = self;
        match query.is_empty() {
            true => format!("{scheme}{head}"),
            false => format!("{scheme}{head}?{query}"),
        }
    }

    fn masked(&self) -> String {
        let Ok(options) = self.options() else {
            return format!("{}***", self.scheme);
        };
        // The last @ ends the credentials even where one in the password is not encoded.
        let head = match self.head.rsplit_once('@') {
            Some((credentials, host)) => match credentials.split_once(':') {
                Some((user, _)) => format!("{user}:***@{host}"),
                None => self.head.to_owned(),
            },
            None => self.head.to_owned(),
        };
        let pair = |(key, value): (String, String)| format!("{key}={value}");
        let query = mask_options(options).into_iter().map(pair);
        match query.collect::<Vec<_>>().join("&") {
            query if query.is_empty() => format!("{}{head}", self.scheme),
            query => format!("{}{head}?{query}", self.scheme),
        }
    }
}

/// Where the query begins. A question mark inside the credentials, which should have been
/// encoded, is not it.
fn question_mark(rest: &str) -> Option<usize> {
    let first = rest.find('?')?;
    let before = &rest[..first];
    match rest.find('@') {
        Some(at) if !before.is_empty() && !before.contains(['/', '@']) => {
            rest[at..].find('?').map(|after| at + after)
        }
        _ => Some(first),
    }
}

fn decoded(text: &str) -> Result<String, DatabaseConfigError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(syntax("an option is not UTF-8 when decoded".to_owned())),
    }
}

fn mask_options(pairs: Pairs) -> Pairs {
    let mask = |(key, value): (String, String)| match key.contains("password") {
        true => (key, "***".to_owned()),
        false => (key, value),
    };
    pairs.into_iter().map(mask).collect()
}

/// Reads `key=value` pairs; values may be quoted with ' and escaped with a backslash.
fn parse_pairs(text: &str) -> Result<Pairs, DatabaseConfigError> {
    let mut rest = text.trim_start();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let number = pairs.len() + 1;
        let Some((key, after)) = rest.split_once('=') else {
            return Err(pair_problem(number, "has no ="));
        };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(pair_problem(number, "has no name of one word before its ="));
        }
        let (value, after) = take_value(after.trim_start())
            .ok_or_else(|| pair_problem(number, "has a quote that does not end"))?;
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn pair_problem(number: usize, problem: &str) -> DatabaseConfigError {
    syntax(format!(
        "part {number} {problem}; it is neither a URL nor a list of key=value with values that \
         contain spaces in '…'"
    ))
}

/// Takes one value off the front; `None` if its quote does not end.
fn take_value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if quoted => return Some((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Some((value, &text[at..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, ""))
}

fn join_pairs(pairs: &Pairs) -> String {
    let quoted = |text: &str| text.replace('\\', r"\\").replace('\'', r"\'");
    let pair = |(key, value): &(String, String)| format!("{key}='{}'", quoted(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
