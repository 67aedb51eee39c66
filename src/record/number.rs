//! Numbers, spelled as PocketBase spells them.

use super::text::{unquoted, write_compact};

/// Writes a number without idle zeros and with an exponent only where PocketBase uses one: below
/// 10⁻⁶ and from 10²¹ on. Digits are kept, also those beyond a double's precision.
///
/// Postgres quotes `oid` values, which are numbers here, and `NaN` and the infinities, which JSON
/// has no number for and which stay strings.
pub(super) fn write_number(out: &mut Vec<u8>, json: &str) {
    let json = unquoted(json)
        .filter(|inner| is_integer(inner))
        .unwrap_or(json);
    if !json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return write_compact(out, json);
    }
    match json.split_once(['e', 'E']) {
        None => out.extend_from_slice(without_idle_zeros(json).as_bytes()),
        Some((mantissa, exponent)) => match exponent.parse() {
            Ok(exponent) => write_scaled(out, mantissa, exponent),
            Err(_) => write_compact(out, json),
        },
    }
}

fn is_integer(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

fn without_idle_zeros(number: &str) -> &str {
    if !number.contains('.') {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.')
}

/// Writes `mantissa` · 10^`exponent`.
fn write_scaled(out: &mut Vec<u8>, mantissa: &str, exponent: i32) {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    // Where the decimal point stands, counted in digits from the first one that matters.
    let point = whole.len() as i64 + i64::from(exponent) - (all.len() - digits.len()) as i64;
    let digits = digits.trim_end_matches('0');
    out.extend_from_slice(sign.as_bytes());
    match point {
        _ if digits.is_empty() => out.push(b'0'),
        -5..=21 => write_plain(out, digits.as_bytes(), point),
        _ => write_scientific(out, digits, point - 1),
    }
}

fn write_plain(out: &mut Vec<u8>, digits: &[u8], point: i64) {
    let zeros = |count: i64| std::iter::repeat_n(b'0', usize::try_from(count).unwrap_or(0));
    let (whole, fraction) = digits.split_at(digits.len().min(usize::try_from(point).unwrap_or(0)));
    if whole.is_empty() {
        out.push(b'0');
    }
    out.extend_from_slice(whole);
    out.extend(zeros(point - digits.len() as i64));
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend(zeros(-point));
        out.extend_from_slice(fraction);
    }
}

fn write_scientific(out: &mut Vec<u8>, digits: &str, exponent: i64) {
    let (first, rest) = digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    out.extend_from_slice(format!("{first}{dot}{rest}e{exponent:+}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_pocketbase_does() {
        for (json, expected) in [
            ("0", "0"),
            ("-7", "-7"),
            ("9007199254740993", "9007199254740993"),
            ("1.50", "1.5"),
            ("5.00", "5"),
            ("100", "100"),
            ("-0.10", "-0.1"),
            ("0.000", "0"),
            ("1e+21", "1e+21"),
            ("1e+20", "100000000000000000000"),
            ("1.234567e+06", "1234567"),
            ("1.5e+15", "1500000000000000"),
            ("-1.25e+22", "-1.25e+22"),
            ("1e-05", "0.00001"),
            ("1.2e-06", "0.0000012"),
            ("1e-06", "0.000001"),
            ("1e-07", "1e-7"),
            ("-2.50E-10", "-2.5e-10"),
            ("12.5e1", "125"),
            ("12.34e1", "123.4"),
            ("0.00012e2", "0.012"),
            ("0e7", "0"),
            ("1e99999999999", "1e99999999999"),
            (r#""16384""#, "16384"),
            (r#""007""#, r#""007""#),
            (r#""NaN""#, r#""NaN""#),
            (r#""-Infinity""#, r#""-Infinity""#),
            ("true", "true"),
        ] {
            let mut out = Vec::new();
            write_number(&mut out, json);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{json}");
        }
    }
}
