//! Points in time as SQLite reads them: to the millisecond, in UTC.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

use crate::rules::value::Value;

pub(super) const DAY_MS: i64 = 86_400_000;
/// Noon of November 24th of the year −4713, where Julian days begin.
pub(super) const JULIAN_ZERO_MS: i64 = -210_866_760_000_000;
/// The last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// Milliseconds since 1970, within what SQLite can handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rules) struct Moment(i64);

/// A time argument, before its modifiers say what a number means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::rules) enum TimeValue {
    Moment(Moment),
    /// A Julian day, unless a modifier says otherwise.
    Number(f64),
}

impl Moment {
    pub(super) fn from_ms(ms: i64) -> Option<Self> {
        (JULIAN_ZERO_MS..=LAST_MS).contains(&ms).then_some(Self(ms))
    }

    pub(super) fn ms(self) -> i64 {
        self.0
    }

    /// The moment `days` after Julian day zero.
    pub(super) fn from_julian_day(days: f64) -> Option<Self> {
        (0.0..5_373_484.5)
            .contains(&days)
            .then(|| rounded(days * 86_400_000.0))
            .and_then(|ms| Self::from_ms(JULIAN_ZERO_MS + ms))
    }

    /// The moment `seconds` after 1970 began.
    pub(super) fn from_unix(seconds: f64) -> Option<Self> {
        (seconds.abs() < 1e12)
            .then(|| rounded(seconds * 1000.0))
            .and_then(Self::from_ms)
    }

    /// A date whose day may lie beyond its month's end, and the milliseconds after midnight.
    pub(super) fn from_parts(year: i64, month: i8, day: i64, ms: i64) -> Option<Self> {
        let first = Date::new(i16::try_from(year).ok()?, month, 1).ok()?;
        let days = first.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
        Self::from_ms((days + day - 1) * DAY_MS + ms)
    }

    /// The moment on the calendar.
    pub(super) fn civil(self) -> DateTime {
        Date::constant(1970, 1, 1)
            .at(0, 0, 0, 0)
            .saturating_add(SignedDuration::from_millis(self.0))
    }

    pub(super) fn plus_ms(self, ms: i64) -> Option<Self> {
        self.0.checked_add(ms).and_then(Self::from_ms)
    }
}

impl From<Timestamp> for Moment {
    fn from(now: Timestamp) -> Self {
        Self(now.as_millisecond().clamp(JULIAN_ZERO_MS, LAST_MS))
    }
}

/// To the nearest whole one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast saturates, and the range is checked after"
)]
pub(super) fn rounded(ms: f64) -> i64 {
    (ms + 0.5).floor() as i64
}

impl TimeValue {
    /// What a time argument says; `None` where SQLite would say NULL.
    pub(in crate::rules) fn of(value: &Value<'_>, now: Timestamp) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Integer(_) | Value::Real(_) => value.to_f64().map(Self::Number),
            Value::Text(text) => Self::of_text(text, now),
        }
    }

    fn of_text(text: &str, now: Timestamp) -> Option<Self> {
        if let Some(moment) = date_and_time(text) {
            return Some(Self::Moment(moment));
        }
        if text.eq_ignore_ascii_case("now") {
            return Some(Self::Moment(now.into()));
        }
        Value::text(text).to_f64().map(Self::Number)
    }

    /// The moment, if no modifier said what a number means.
    pub(in crate::rules) fn moment(self) -> Option<Moment> {
        match self {
            Self::Moment(moment) => Some(moment),
            Self::Number(days) => Moment::from_julian_day(days),
        }
    }
}

/// `2024-05-05`, `2024-05-05 10:00`, `2024-05-05T10:00:00.5+02:00`, `10:00` (of 2000-01-01), ….
fn date_and_time(text: &str) -> Option<Moment> {
    let Some((year, month, day, rest)) = date(text) else {
        return Moment::from_parts(2000, 1, 1, time(text)?);
    };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == 'T');
    let ms = if rest.is_empty() { 0 } else { time(rest)? };
    Moment::from_parts(year, i8::try_from(month).ok()?, day, ms)
}

fn date(text: &str) -> Option<(i64, i64, i64, &str)> {
    let (year, rest) = digits(text, 4, 9999)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2, 12)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2, 31)?;
    (month > 0 && day > 0).then_some((year, month, day, rest))
}

/// Milliseconds after midnight, in UTC.
pub(super) fn time(text: &str) -> Option<i64> {
    let (hour, rest) = digits(text, 2, 24)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2, 59)?;
    let (second_ms, rest) = match rest.strip_prefix(':') {
        Some(rest) => seconds(rest)?,
        None => (0, rest),
    };
    let offset_minutes = zone(rest)?;
    Some((hour * 60 + minute - offset_minutes) * 60_000 + second_ms)
}

fn seconds(text: &str) -> Option<(i64, &str)> {
    let (whole, rest) = digits(text, 2, 59)?;
    let Some(fraction) = rest.strip_prefix('.') else {
        return Some((whole * 1000, rest));
    };
    let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, rest) = fraction.split_at(len);
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    (len > 0).then(|| (whole * 1000 + rounded(fraction * 1000.0), rest))
}

/// Minutes ahead of UTC; nothing may follow.
fn zone(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    let (sign, rest) = match text.as_bytes().first() {
        None => return Some(0),
        Some(b'Z' | b'z') => return (text.len() == 1).then_some(0),
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        Some(_) => return None,
    };
    let (hours, rest) = digits(rest, 2, 14)?;
    let (minutes, rest) = digits(rest.strip_prefix(':')?, 2, 59)?;
    rest.is_empty().then_some(sign * (hours * 60 + minutes))
}

/// Exactly `count` digits, and what follows them.
pub(super) fn digits(text: &str, count: usize, max: i64) -> Option<(i64, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|_| all)?;
    (number <= max).then_some((number, rest))
}
