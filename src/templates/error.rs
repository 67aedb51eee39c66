//! What is wrong with a template.

use std::error::Error as _;
use std::fmt;

use minijinja::{Error, ErrorKind};

/// Characters of what is said about a failure.
const REASON_CHARS_MAX: usize = 300;

/// Why nothing was rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The file at fault, which may be one that the template includes.
    pub template: String,
    /// Where in it, if it is known.
    pub line: Option<usize>,
    /// What kind of failure it is.
    pub failure: Failure,
    /// What is wrong, without the values of the context.
    pub kind: &'static str,
    /// The same in more words, which may repeat values of the context.
    pub reason: String,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no folder, or no such file in it.
    Missing,
    /// It is no template.
    Syntax,
    /// It cannot be rendered with this context.
    Rendering,
    /// It takes too many steps, or comes to too much.
    TooMuch,
}

impl Failure {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Syntax => "syntax",
            Self::Rendering => "rendering",
            Self::TooMuch => "too_much",
        }
    }
}

impl TemplateError {
    pub(super) fn without_folder(template: &str) -> Self {
        let kind = "the setting templates names no folder";
        Self::new(template, Failure::Missing, kind)
    }

    pub(super) fn without_context(template: &str) -> Self {
        let kind = "its context is no JSON object";
        Self::new(template, Failure::Rendering, kind)
    }

    fn new(template: &str, failure: Failure, kind: &'static str) -> Self {
        Self {
            template: template.to_owned(),
            line: None,
            failure,
            kind,
            reason: kind.to_owned(),
        }
    }

    pub(super) fn of(template: &str, error: &Error) -> Self {
        // What failed first says why; those around it only that something in them did.
        let mut innermost = error;
        while let Some(source) = innermost.source().and_then(|source| source.downcast_ref()) {
            innermost = source;
        }
        let failure = match innermost.kind() {
            ErrorKind::TemplateNotFound => Failure::Missing,
            ErrorKind::SyntaxError | ErrorKind::BadEscape => Failure::Syntax,
            ErrorKind::OutOfFuel | ErrorKind::WriteFailure => Failure::TooMuch,
            _ => Failure::Rendering,
        };
        let kind = kind_of(innermost.kind());
        let reason = match innermost.detail() {
            Some(detail) if failure != Failure::TooMuch => format!("{kind}: {detail}"),
            _ => kind.to_owned(),
        };
        // The names of the others are in what is wrong with them.
        let name = innermost.name().or(error.name());
        Self {
            template: name.unwrap_or(template).to_owned(),
            line: innermost.line().or(error.line()),
            failure,
            kind,
            reason: reason.chars().take(REASON_CHARS_MAX).collect(),
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the template {:?} fails", self.template)?;
        if let Some(line) = self.line {
            write!(f, " in line {line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for TemplateError {}

fn kind_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::TemplateNotFound => "there is no such template",
        ErrorKind::SyntaxError => "syntax error",
        ErrorKind::OutOfFuel => "it takes too many steps",
        ErrorKind::WriteFailure => "it comes to more than 1 MiB",
        ErrorKind::UndefinedError => "something is used that is not defined",
        ErrorKind::UnknownFilter => "unknown filter",
        ErrorKind::UnknownFunction => "unknown function",
        ErrorKind::UnknownTest => "unknown test",
        ErrorKind::UnknownMethod => "unknown method",
        ErrorKind::MissingArgument => "an argument is missing",
        ErrorKind::TooManyArguments => "there are too many arguments",
        ErrorKind::BadEscape => "bad escape in a text",
        _ => "invalid operation",
    }
}
