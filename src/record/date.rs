//! Dates and times, as PocketBase writes them: UTC, to the millisecond.

use jiff::SignedDuration;
use jiff::civil::DateTime;

use super::text::{unquoted, write_as_string};

/// Writes `"2024-05-05T10:00:00.123456+02:00"` as `"2024-05-05 08:00:00.123Z"`, truncated. What has
/// no zone is UTC, and what has no time is midnight.
///
/// What PocketBase could not store keeps Postgres' own text: `infinity`, years before 1 and
/// beyond 9999.
pub(super) fn write_date(out: &mut Vec<u8>, json: &str) {
    match unquoted(json).and_then(utc) {
        Some(date) => write_utc(out, date),
        None => write_as_string(out, json),
    }
}

fn utc(text: &str) -> Option<DateTime> {
    let (local, offset) = split_offset(text)?;
    let local: DateTime = local.parse().ok()?;
    let utc = local.checked_sub(SignedDuration::from_secs(offset)).ok()?;
    (utc.year() >= 0).then_some(utc)
}

/// Splits `…+02:00` into the local time and the offset in seconds; historical offsets have
/// seconds, too.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    const DATE_LEN: usize = "2024-05-05".len();
    if let Some(local) = text.strip_suffix('Z') {
        return Some((local, 0));
    }
    let Some(at) = text.get(DATE_LEN..)?.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let (local, offset) = text.split_at(DATE_LEN + at);
    let mut seconds = 0;
    let mut parts = offset[1..].split(':');
    for unit in [3600, 60, 1] {
        let Some(part) = parts.next() else { break };
        seconds += unit * i64::from(part.parse::<u8>().ok()?);
    }
    if parts.next().is_some() {
        return None;
    }
    Some((
        local,
        if offset.starts_with('-') {
            -seconds
        } else {
            seconds
        },
    ))
}

fn write_utc(out: &mut Vec<u8>, date: DateTime) {
    let parts = [
        (i32::from(date.year()), 4, b'-'),
        (date.month().into(), 2, b'-'),
        (date.day().into(), 2, b' '),
        (date.hour().into(), 2, b':'),
        (date.minute().into(), 2, b':'),
        (date.second().into(), 2, b'.'),
        (date.millisecond().into(), 3, b'Z'),
    ];
    out.push(b'"');
    for (value, width, mark) in parts {
        write_padded(out, value.unsigned_abs(), width);
        out.push(mark);
    }
    out.push(b'"');
}

fn write_padded(out: &mut Vec<u8>, value: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10u32.pow(place) % 10;
        out.push(b"0123456789"[digit as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc_to_the_millisecond() {
        for (text, expected) in [
            (
                "2024-05-05T10:00:00.123456+02:00",
                "2024-05-05 08:00:00.123Z",
            ),
            ("2024-05-05T10:00:00.123999", "2024-05-05 10:00:00.123Z"),
            ("2024-05-05T10:00:00+00:00", "2024-05-05 10:00:00.000Z"),
            ("2024-05-05T10:00:00Z", "2024-05-05 10:00:00.000Z"),
            ("2024-05-05T10:00:00.5-09:30", "2024-05-05 19:30:00.500Z"),
            ("1880-01-01T00:53:28+00:53:28", "1880-01-01 00:00:00.000Z"),
            ("2024-02-29", "2024-02-29 00:00:00.000Z"),
            ("0001-01-01", "0001-01-01 00:00:00.000Z"),
            ("9999-12-31T23:59:59+00:00", "9999-12-31 23:59:59.000Z"),
        ] {
            let mut out = Vec::new();
            write_date(&mut out, &format!("\"{text}\""));
            assert_eq!(
                String::from_utf8_lossy(&out),
                format!("\"{expected}\""),
                "{text}"
            );
        }
    }

    #[test]
    fn what_pocketbase_has_no_date_for_keeps_postgres_text() {
        for text in [
            "infinity",
            "-infinity",
            "0044-03-15 BC",
            "0044-03-15T10:00:00 BC",
            "0044-03-15T10:00:00+00:53:28 BC",
            "12345-01-02T03:04:05",
            "12345-01-02",
            "10000-01-01T00:59:59+01:00",
            "9999-12-31T23:59:59-01:00",
            "2024-13-01",
            "2024-05-05T10:00:00+999:00",
            "2024-05-05T10:00:00+",
            "2024-05-05T10:00:00+1:2:3:4:5:6:7",
            "",
            "é2024-05-0é5",
        ] {
            let json = format!("\"{text}\"");
            let mut out = Vec::new();
            write_date(&mut out, &json);
            assert_eq!(String::from_utf8_lossy(&out), json, "{text}");
        }
    }
}
