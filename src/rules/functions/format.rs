//! `strftime`'s format, as SQLite 3.46 and later read it.

use std::fmt::{self, Write};

use jiff::civil::DateTime;

use super::moment::{JULIAN_ZERO_MS, Moment};

/// A format, read when the rule is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `%` and one of [`LETTERS`].
    Letter(char),
}

const LETTERS: &str = "defFgGHIjJklmMpPRsSTuUVwWY";

impl Format {
    /// `None` for a conversion that there is not.
    pub(in crate::rules) fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut parts = text.split('%');
        pieces.extend(parts.next().map(|first| Piece::Text(first.to_owned())));
        while let Some(part) = parts.next() {
            let mut chars = part.chars();
            match chars.next() {
                // Two in a row are one.
                None => {
                    let after = parts.next()?;
                    pieces.push(Piece::Text(format!("%{after}")));
                }
                Some(letter) if LETTERS.contains(letter) => {
                    pieces.push(Piece::Letter(letter));
                    pieces.push(Piece::Text(chars.as_str().to_owned()));
                }
                Some(_) => return None,
            }
        }
        Some(Self(pieces))
    }

    /// Writes a moment.
    pub(in crate::rules) fn write(&self, moment: Moment) -> String {
        let civil = moment.civil();
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Letter(letter) => {
                    write_letter(&mut out, *letter, moment, civil)
                        .expect("writing to a text never fails");
                }
            }
        }
        out
    }
}

fn write_letter(out: &mut String, letter: char, moment: Moment, at: DateTime) -> fmt::Result {
    let week = at.date().iso_week_date();
    let (hour, weekday) = (at.hour(), at.weekday());
    let hour12 = (hour + 11) % 12 + 1;
    let day_of_year = at.date().day_of_year();
    match letter {
        'd' => write!(out, "{:02}", at.day()),
        'e' => write!(out, "{:2}", at.day()),
        'f' => write!(out, "{:02}.{:03}", at.second(), at.millisecond()),
        'F' => write!(out, "{:04}-{:02}-{:02}", at.year(), at.month(), at.day()),
        'g' => write!(out, "{:02}", week.year().rem_euclid(100)),
        'G' => write!(out, "{:04}", week.year()),
        'H' => write!(out, "{hour:02}"),
        'I' => write!(out, "{hour12:02}"),
        'j' => write!(out, "{day_of_year:03}"),
        'J' => write_julian_day(out, moment),
        'k' => write!(out, "{hour:2}"),
        'l' => write!(out, "{hour12:2}"),
        'm' => write!(out, "{:02}", at.month()),
        'M' => write!(out, "{:02}", at.minute()),
        'p' => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
        'P' => write!(out, "{}", if hour < 12 { "am" } else { "pm" }),
        'R' => write!(out, "{hour:02}:{:02}", at.minute()),
        's' => write!(out, "{}", moment.ms().div_euclid(1000)),
        'S' => write!(out, "{:02}", at.second()),
        'T' => write!(out, "{hour:02}:{:02}:{:02}", at.minute(), at.second()),
        'u' => write!(out, "{}", weekday.to_monday_one_offset()),
        'U' => write_week(out, day_of_year, weekday.to_sunday_zero_offset()),
        'V' => write!(out, "{:02}", week.week()),
        'w' => write!(out, "{}", weekday.to_sunday_zero_offset()),
        'W' => write_week(out, day_of_year, weekday.to_monday_zero_offset()),
        _ => write!(out, "{:04}", at.year()),
    }
}

/// Weeks begun since the year began; days before the first whole one are in week 0.
fn write_week(out: &mut String, day_of_year: i16, day_of_week: i8) -> fmt::Result {
    write!(out, "{:02}", (day_of_year + 6 - i16::from(day_of_week)) / 7)
}

/// Days with a fraction, 16 digits in all.
fn write_julian_day(out: &mut String, moment: Moment) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds")]
    let days = (moment.ms() - JULIAN_ZERO_MS) as f64 / 86_400_000.0;
    let whole = format!("{days:.0}").len();
    let text = format!("{days:.*}", 16_usize.saturating_sub(whole));
    out.write_str(text.trim_end_matches('0').trim_end_matches('.'))
}
