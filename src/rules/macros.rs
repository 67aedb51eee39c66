//! `@now` and its like: values of the clock, in UTC (contract, section 5.7).

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::value::Value;

/// A name that stands for a value of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Macro {
    Now,
    Yesterday,
    Tomorrow,
    TodayStart,
    TodayEnd,
    MonthStart,
    MonthEnd,
    YearStart,
    YearEnd,
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
    Year,
}

impl Macro {
    /// All of them, as they are written.
    pub(super) const ALL: [(&'static str, Self); 16] = [
        ("@now", Self::Now),
        ("@yesterday", Self::Yesterday),
        ("@tomorrow", Self::Tomorrow),
        ("@todayStart", Self::TodayStart),
        ("@todayEnd", Self::TodayEnd),
        ("@monthStart", Self::MonthStart),
        ("@monthEnd", Self::MonthEnd),
        ("@yearStart", Self::YearStart),
        ("@yearEnd", Self::YearEnd),
        ("@second", Self::Second),
        ("@minute", Self::Minute),
        ("@hour", Self::Hour),
        ("@day", Self::Day),
        ("@month", Self::Month),
        ("@weekday", Self::Weekday),
        ("@year", Self::Year),
    ];

    pub(super) fn parse(name: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(written, _)| *written == name);
        found.map(|(_, meant)| meant)
    }

    /// What it stands for at `now`.
    pub(super) fn value(self, now: Timestamp) -> Value<'static> {
        let now = now.to_zoned(TimeZone::UTC).datetime();
        match self.date(now) {
            Some(date) => Value::text(date_text(date)),
            None => Value::Integer(self.part(now)),
        }
    }

    fn date(self, now: DateTime) -> Option<DateTime> {
        let today = now.date();
        Some(match self {
            Self::Now => now,
            Self::Yesterday => now.saturating_sub(1.day()),
            Self::Tomorrow => now.saturating_add(1.day()),
            Self::TodayStart => start_of(today),
            Self::TodayEnd => end_of(today),
            Self::MonthStart => start_of(today.first_of_month()),
            Self::MonthEnd => end_of(today.last_of_month()),
            Self::YearStart => start_of(today.first_of_year()),
            Self::YearEnd => end_of(today.last_of_year()),
            Self::Second
            | Self::Minute
            | Self::Hour
            | Self::Day
            | Self::Month
            | Self::Weekday
            | Self::Year => return None,
        })
    }

    fn part(self, now: DateTime) -> i64 {
        match self {
            Self::Second => now.second().into(),
            Self::Minute => now.minute().into(),
            Self::Hour => now.hour().into(),
            Self::Day => now.day().into(),
            Self::Month => now.month().into(),
            Self::Weekday => now.weekday().to_sunday_zero_offset().into(),
            _ => now.year().into(),
        }
    }
}

fn start_of(day: Date) -> DateTime {
    day.to_datetime(Time::midnight())
}

fn end_of(day: Date) -> DateTime {
    day.to_datetime(Time::constant(23, 59, 59, 999_000_000))
}

/// As PocketBase writes dates.
fn date_text(date: DateTime) -> String {
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        date.month(),
        date.day(),
        date.hour(),
        date.minute(),
        date.second(),
        date.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_values_of_the_clock_in_utc() {
        let now: Timestamp = "2024-02-29T23:05:06.789999+00:00"
            .parse()
            .expect("a moment");
        for (name, expected) in [
            ("@now", "2024-02-29 23:05:06.789Z"),
            ("@yesterday", "2024-02-28 23:05:06.789Z"),
            ("@tomorrow", "2024-03-01 23:05:06.789Z"),
            ("@todayStart", "2024-02-29 00:00:00.000Z"),
            ("@todayEnd", "2024-02-29 23:59:59.999Z"),
            ("@monthStart", "2024-02-01 00:00:00.000Z"),
            ("@monthEnd", "2024-02-29 23:59:59.999Z"),
            ("@yearStart", "2024-01-01 00:00:00.000Z"),
            ("@yearEnd", "2024-12-31 23:59:59.999Z"),
            ("@second", "6"),
            ("@minute", "5"),
            ("@hour", "23"),
            ("@day", "29"),
            ("@month", "2"),
            ("@weekday", "4"),
            ("@year", "2024"),
        ] {
            let value = Macro::parse(name).expect("a macro").value(now);
            assert_eq!(value.to_text().as_deref(), Some(expected), "{name}");
        }
        assert_eq!(Macro::parse("@Now"), None);
    }
}
