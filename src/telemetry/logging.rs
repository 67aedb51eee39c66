//! Logs: what is written, and in which form, to the standard error stream.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::json_lines::JsonLines;

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Which events.
    pub filter: LogFilter,
    /// In which form; `None` is text on a terminal and JSON elsewhere.
    pub format: Option<LogFormat>,
}

/// Which events are logged, as `target=level,…`, the most specific target deciding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// In which form events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: one line each, colored on a terminal.
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// A filter or format that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogOptionError {
    /// The filter is none.
    #[error(
        "must be levels (error, warn, info, debug, trace, off), each by itself or for a target, \
         like rowcast=debug,warn"
    )]
    Filter,
    /// The format is none.
    #[error("must be text or json")]
    Format,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("rowcast=info,warn".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = LogOptionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A word that is no level would silently become a target of which everything is logged.
        let is_level = |word: &str| {
            word.parse::<tracing_subscriber::filter::LevelFilter>()
                .is_ok()
        };
        let plausible = text
            .split(',')
            .all(|part| part.contains(['=', '[']) || (!part.is_empty() && is_level(part)));
        match EnvFilter::builder().parse(text) {
            Ok(_) if plausible => Ok(Self(text.to_owned())),
            _ => Err(LogOptionError::Filter),
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogFormat {
    type Err = LogOptionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogOptionError::Format),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Starts logging for the whole process; once.
///
/// # Errors
/// If something else in this process has done so already.
pub fn init_logging(options: &LogOptions) -> Result<(), TryInitError> {
    let terminal = stderr().is_terminal();
    let filter = EnvFilter::builder()
        .parse(&options.filter.0)
        .expect("a log filter was parsed when it was made");
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    match options.format.unwrap_or(default_format(terminal)) {
        // NO_COLOR is honored by the subscriber's own default, which on no terminal is overruled.
        LogFormat::Text if terminal => log.finish().try_init(),
        LogFormat::Text => log.with_ansi(false).finish().try_init(),
        LogFormat::Json => log
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines)
            .finish()
            .try_init(),
    }
}

fn default_format(terminal: bool) -> LogFormat {
    if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_understood_or_refused() {
        for (text, good) in [
            ("info", true),
            ("rowcast=info,warn", true),
            ("rowcast::hub=trace,off", true),
            ("verbose", false),
            ("rowcast=loud", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<LogFilter>().is_ok(), good, "{text:?}");
        }
        assert!(
            LogFilter::default()
                .to_string()
                .parse::<LogFilter>()
                .is_ok()
        );
    }
}
