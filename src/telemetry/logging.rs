//! Logs: what is written, and in which form, to the standard error stream.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::str::FromStr;

use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, reload};

use super::json_lines::JsonLines;
use super::log_control::LogControl;

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

impl LogFilter {
    fn compiled(&self) -> EnvFilter {
        let filter = EnvFilter::builder().parse(&self.0);
        filter.expect("a log filter was parsed when it was made")
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

/// Starts logging for the whole process; once. What it returns changes the filter later.
///
/// Whatever the filter says, packages other than ours log no more than `info`: what they tell beyond holds
/// statements with their values, and headers.
///
/// # Errors
/// If something else in this process has done so already.
pub fn init_logging(options: &LogOptions) -> Result<LogControl, TryInitError> {
    let (log, control) = log_to(options, stderr, stderr().is_terminal());
    log.try_init()?;
    Ok(control)
}

/// Whatever writes logs to `output`, and what changes its filter.
fn log_to<W>(options: &LogOptions, output: W, terminal: bool) -> (Dispatch, LogControl)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt()
        .with_env_filter(options.filter.compiled())
        .with_writer(output);
    // Each form is a type of its own.
    match options.format.unwrap_or(default_format(terminal)) {
        // NO_COLOR is honored by the subscriber's own default, which on no terminal is overruled.
        LogFormat::Text if terminal => {
            let log = log.with_filter_reloading();
            let control = control(options, log.reload_handle());
            (log.finish().with(filter_fn(is_harmless)).into(), control)
        }
        LogFormat::Text => {
            let log = log.with_ansi(false).with_filter_reloading();
            let control = control(options, log.reload_handle());
            (log.finish().with(filter_fn(is_harmless)).into(), control)
        }
        LogFormat::Json => {
            let log = log.fmt_fields(JsonFields::new()).event_format(JsonLines);
            let log = log.with_filter_reloading();
            let control = control(options, log.reload_handle());
            (log.finish().with(filter_fn(is_harmless)).into(), control)
        }
    }
}

fn control<S: 'static>(options: &LogOptions, handle: reload::Handle<EnvFilter, S>) -> LogControl {
    let apply = move |filter: &LogFilter| handle.reload(filter.compiled()).is_ok();
    LogControl::new(options.filter.clone(), Box::new(apply))
}

/// Whether an event may be logged at all: our own are written so that no row, token or password is in
/// them, and those of others up to `info`.
fn is_harmless(event: &Metadata<'_>) -> bool {
    let target = event.target();
    *event.level() <= Level::INFO || target == "rowcast" || target.starts_with("rowcast::")
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
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_filter_may_change_and_others_never_tell_what_they_are_asked() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let page = Page::default();
            let own = page.clone();
            let options = LogOptions {
                filter: LogFilter("warn".to_owned()),
                format: Some(format),
            };
            let (log, control) = log_to(&options, move || own.clone(), false);
            tracing::dispatcher::with_default(&log, || {
                let tell = |when| {
                    tracing::debug!(target: "rowcast::hub", when, "ours");
                    tracing::debug!(target: "tokio_postgres::query", when, "theirs");
                    tracing::debug!(target: "rowcaster", when, "theirs");
                    tracing::info!(target: "hyper", when, "harmless");
                };
                tell("first");
                control.set(LogFilter("trace".to_owned()), Duration::from_secs(600));
                tell("second");
                control.reset();
                tell("third");
            });
            let written = page.0.lock().expect("no panic").clone();
            let written = String::from_utf8(written).expect("UTF-8");
            let count = |word: &str| written.matches(word).count();
            assert_eq!((count("ours"), count("harmless")), (1, 1), "{written}");
            assert_eq!(count("second"), 2, "{written}");
            assert_eq!(count("theirs"), 0, "{written}");
        }
    }

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
