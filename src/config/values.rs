//! How values are read from text and written as text.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Reads and writes one kind of value.
pub(super) struct Kind<T> {
    /// From text; the error says what is wrong and what to write instead.
    pub(super) read: Box<Read<T>>,
    /// As text that can be read again, unless it is a secret.
    pub(super) write: Box<Write<T>>,
}

type Read<T> = dyn Fn(&str) -> Result<T, String>;
type Write<T> = dyn Fn(&T) -> String;

impl<T> Kind<T> {
    fn new(
        read: impl Fn(&str) -> Result<T, String> + 'static,
        write: impl Fn(&T) -> String + 'static,
    ) -> Self {
        Self {
            read: Box::new(read),
            write: Box::new(write),
        }
    }
}

/// A span of time within bounds, with its unit.
pub(super) fn duration(allowed: RangeInclusive<Duration>) -> Kind<Duration> {
    let write = |time: &Duration| humantime::format_duration(*time).to_string();
    Kind::new(
        move |text| {
            let time = humantime::parse_duration(text).map_err(|_| {
                format!(
                    "{text:?} is no span of time; write it with its unit, like 300s, 30m or 24h"
                )
            })?;
            within(&time, &allowed, write)?;
            Ok(time)
        },
        write,
    )
}

/// A number within bounds.
pub(super) fn count<T>(allowed: RangeInclusive<T>) -> Kind<T>
where
    T: FromStr + Display + PartialOrd + 'static,
{
    Kind::new(
        move |text| {
            let digits = text.replace('_', "");
            let number = digits.parse().map_err(|_| {
                format!(
                    "{text:?} is no number from {} to {}",
                    allowed.start(),
                    allowed.end()
                )
            })?;
            within(&number, &allowed, T::to_string)?;
            Ok(number)
        },
        T::to_string,
    )
}

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A size in bytes within bounds, with a unit or without.
pub(super) fn bytes(allowed: RangeInclusive<u64>) -> Kind<u64> {
    Kind::new(
        move |text| {
            let size = parse_bytes(text).ok_or_else(|| {
                format!("{text:?} is no size; write it like 65536, 512KiB, 1MiB or 4GiB")
            })?;
            within(&size, &allowed, |size| write_bytes(*size))?;
            Ok(size)
        },
        |size| write_bytes(*size),
    )
}

fn parse_bytes(text: &str) -> Option<u64> {
    let unit = UNITS
        .iter()
        .find_map(|(name, factor)| Some((text.strip_suffix(name)?, *factor)));
    let (number, factor) = unit.unwrap_or((text, 1));
    number
        .trim_end()
        .replace('_', "")
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
}

fn write_bytes(size: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, factor)| size >= *factor && size.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", size / factor),
        None => size.to_string(),
    }
}

/// The same as another kind of whole number.
pub(super) fn as_usize(kind: Kind<u64>) -> Kind<usize> {
    let Kind { read, write } = kind;
    let too_large = |_| "is too large for this machine".to_owned();
    Kind::new(
        move |text| usize::try_from(read(text)?).map_err(too_large),
        move |size| write(&(*size as u64)),
    )
}

/// A share of one: from 0 to 1.
pub(super) fn share() -> Kind<f64> {
    Kind::new(
        |text| match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err(format!(
                "{text:?} is no share; write a number from 0 to 1, like 0.2"
            )),
        },
        f64::to_string,
    )
}

/// On or off.
pub(super) fn switch() -> Kind<bool> {
    Kind::new(
        |text| match text {
            "true" | "on" => Ok(true),
            "false" | "off" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        bool::to_string,
    )
}

/// One of some words.
pub(super) fn word<T: Copy + PartialEq + 'static>(words: &'static [(&'static str, T)]) -> Kind<T> {
    Kind::new(
        |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("{text:?} is none of {}", words.join(", "))
            })
        },
        |value| {
            let found = words.iter().find(|(_, named)| named == value);
            found.map_or(String::new(), |(word, _)| (*word).to_owned())
        },
    )
}

/// A value, or a word for none.
pub(super) fn or_none<T: 'static>(none: &'static str, kind: Kind<T>) -> Kind<Option<T>> {
    let Kind { read, write } = kind;
    Kind::new(
        move |text| match text == none {
            true => Ok(None),
            false => match read(text) {
                Ok(value) => Ok(Some(value)),
                Err(problem) if none.is_empty() => Err(problem),
                Err(problem) => Err(format!("{problem}; or {none}")),
            },
        },
        move |value| value.as_ref().map_or(none.to_owned(), &write),
    )
}

/// A list with commas in between; empty items do not count.
pub(super) fn list<T: 'static>(kind: Kind<T>) -> Kind<Vec<T>> {
    let Kind { read, write } = kind;
    Kind::new(
        move |text| {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            items.map(&read).collect()
        },
        move |items: &Vec<T>| items.iter().map(&write).collect::<Vec<_>>().join(","),
    )
}

/// Anything with a text form of its own; `hint` says what is expected.
pub(super) fn parsed<T: FromStr + Display + 'static>(hint: &'static str) -> Kind<T> {
    Kind::new(
        move |text| text.parse().map_err(|_| format!("{text:?} {hint}")),
        T::to_string,
    )
}

/// Text as it is.
pub(super) fn text() -> Kind<String> {
    Kind::new(|text| Ok(text.to_owned()), String::clone)
}

/// Text that is never shown.
pub(super) fn secret() -> Kind<String> {
    Kind::new(|text| Ok(text.to_owned()), |_| "***".to_owned())
}

/// A file's path.
pub(super) fn path() -> Kind<PathBuf> {
    Kind::new(
        |text| Ok(text.into()),
        |path: &PathBuf| path.display().to_string(),
    )
}

/// A connection string, written without its passwords.
pub(super) fn url() -> Kind<String> {
    Kind::new(|text| Ok(text.to_owned()), |url| crate::db::masked(url))
}

fn within<T: PartialOrd>(
    value: &T,
    allowed: &RangeInclusive<T>,
    write: impl Fn(&T) -> String,
) -> Result<(), String> {
    match allowed.contains(value) {
        true => Ok(()),
        false => Err(format!(
            "{} is out of bounds; allowed is {} to {}",
            write(value),
            write(allowed.start()),
            write(allowed.end())
        )),
    }
}
