//! `strftime`'s modifiers: what is done to a time before it is written.

use super::moment::{DAY_MS, Moment, TimeValue, digits, rounded, time};

/// One modifier, read when the rule is compiled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::rules) enum Modifier {
    /// `NNN days`, `hours`, `minutes`, `seconds`, or `±HH:MM`.
    AddMs(i64),
    /// `NNN months` and `years`: whole months, and the rest in milliseconds.
    AddMonths(i64, i64),
    /// `start of day`.
    StartOfDay,
    /// `start of month`.
    StartOfMonth,
    /// `start of year`.
    StartOfYear,
    /// `weekday N`: on to the next such day, Sunday is 0.
    Weekday(i64),
    /// `unixepoch`: the number counts seconds since 1970.
    UnixEpoch,
    /// `julianday`: the number is a Julian day.
    JulianDay,
    /// `auto`: the number is what is more likely.
    Auto,
    /// `utc` and `localtime`, which are the same here.
    Utc,
}

impl Modifier {
    pub(in crate::rules) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "start of day" => Self::StartOfDay,
            "start of month" => Self::StartOfMonth,
            "start of year" => Self::StartOfYear,
            "unixepoch" => Self::UnixEpoch,
            "julianday" => Self::JulianDay,
            "auto" => Self::Auto,
            "utc" | "localtime" => Self::Utc,
            other => return weekday(other).or_else(|| shift(other)),
        })
    }

    /// The time after the modifier, which is the `index`th.
    pub(in crate::rules) fn apply(self, time: TimeValue, index: usize) -> Option<TimeValue> {
        if let Self::UnixEpoch | Self::JulianDay | Self::Auto = self {
            // They say what a number means, which must not have been asked before.
            return (index == 0).then(|| self.read(time)).flatten();
        }
        let moment = time.moment()?;
        self.change(moment).map(TimeValue::Moment)
    }

    fn read(self, time: TimeValue) -> Option<TimeValue> {
        let TimeValue::Number(number) = time else {
            return (self == Self::Auto).then_some(time);
        };
        let moment = match self {
            Self::UnixEpoch => Moment::from_unix(number),
            Self::JulianDay => Moment::from_julian_day(number),
            _ => Moment::from_julian_day(number).or_else(|| Moment::from_unix(number)),
        };
        moment.map(TimeValue::Moment)
    }

    fn change(self, moment: Moment) -> Option<Moment> {
        let civil = moment.civil();
        let (year, month) = (i64::from(civil.year()), civil.month());
        match self {
            Self::AddMs(ms) => moment.plus_ms(ms),
            Self::AddMonths(months, ms) => {
                let months = year * 12 + i64::from(month) - 1 + months;
                let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
                let in_day = moment.ms().rem_euclid(DAY_MS);
                let year = months.div_euclid(12);
                Moment::from_parts(year, month, civil.day().into(), in_day)?.plus_ms(ms)
            }
            Self::StartOfDay => Moment::from_parts(year, month, civil.day().into(), 0),
            Self::StartOfMonth => Moment::from_parts(year, month, 1, 0),
            Self::StartOfYear => Moment::from_parts(year, 1, 1, 0),
            Self::Weekday(day) => {
                let today = i64::from(civil.weekday().to_sunday_zero_offset());
                moment.plus_ms((day - today).rem_euclid(7) * DAY_MS)
            }
            Self::UnixEpoch | Self::JulianDay | Self::Auto | Self::Utc => Some(moment),
        }
    }
}

fn weekday(text: &str) -> Option<Modifier> {
    let day: i64 = text.strip_prefix("weekday ")?.trim().parse().ok()?;
    (0..7).contains(&day).then_some(Modifier::Weekday(day))
}

/// `+1 day`, `-2.5 hours`, `+02:30`.
fn shift(text: &str) -> Option<Modifier> {
    let signed = text.starts_with(['+', '-']);
    let clock = text.trim_start_matches(['+', '-']);
    if signed && digits(clock, 2, 24).is_some() && clock.as_bytes().get(2) == Some(&b':') {
        let sign = if text.starts_with('-') { -1 } else { 1 };
        return time(clock).map(|ms| Modifier::AddMs(sign * ms));
    }
    let (number, unit) = text.split_once(char::is_whitespace)?;
    let plausible = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    let number: f64 = number
        .parse()
        .ok()
        .filter(|_| number.chars().all(plausible))?;
    added(number, unit.trim().trim_end_matches('s'))
}

fn added(number: f64, unit: &str) -> Option<Modifier> {
    let within = |max: f64| number.abs() < max;
    let unit_ms = match unit {
        "day" if within(5_373_485.0) => 86_400_000.0,
        "hour" if within(1.2897e8) => 3_600_000.0,
        "minute" if within(7.7379e9) => 60_000.0,
        "second" if within(4.6427e11) => 1000.0,
        "month" if within(176_546.0) => return Some(months(number, 1, 30.0)),
        "year" if within(14_713.0) => return Some(months(number, 12, 365.0)),
        _ => return None,
    };
    Some(Modifier::AddMs(nearest(number * unit_ms)))
}

/// The whole part moves along the calendar, the rest counts in days.
fn months(number: f64, months: i64, days: f64) -> Modifier {
    #[expect(clippy::cast_possible_truncation, reason = "within limits")]
    let whole = number.trunc() as i64;
    Modifier::AddMonths(
        whole * months,
        nearest(number.fract() * days * 86_400_000.0),
    )
}

/// To the nearest whole one, halves away from zero.
fn nearest(ms: f64) -> i64 {
    if ms < 0.0 { -rounded(-ms) } else { rounded(ms) }
}
