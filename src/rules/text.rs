//! Quoted texts and their escapes (contract, section 5.2).

use super::error::Problem;

/// How long the quoted text is that `rest` begins with, its quotes included; `None` if it never ends.
pub(super) fn quoted_len(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let quote = *bytes.first()?;
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// What stands between the quotes, with its escapes resolved. An escape that is none stays as it is,
/// so that `\%` and `\_` reach the operator `~`.
pub(super) fn unescape(inner: &str) -> Result<String, Problem> {
    let mut value = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        value.push_str(&rest[..backslash]);
        let (len, c) = escape(&rest[backslash..])?;
        match c {
            Some(c) => value.push(c),
            None => value.push_str(&rest[backslash..backslash + len]),
        }
        rest = &rest[backslash + len..];
    }
    value.push_str(rest);
    if value.contains('\0') {
        return Err(Problem::Nul);
    }
    Ok(value)
}

/// How long the escape is that `rest` begins with, and what it stands for if not for itself.
fn escape(rest: &str) -> Result<(usize, Option<char>), Problem> {
    let mut chars = rest.chars();
    chars.next();
    let Some(letter) = chars.next() else {
        return Ok((1, None));
    };
    let c = match letter {
        '\\' | '\'' | '"' => letter,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => return unicode_escape(rest),
        _ => return Ok((1 + letter.len_utf8(), None)),
    };
    Ok((2, Some(c)))
}

/// `\u00e9`, or two of them where UTF-16 needs two.
fn unicode_escape(rest: &str) -> Result<(usize, Option<char>), Problem> {
    const LEN: usize = r"\u0000".len();
    let Some(first) = code_unit(rest) else {
        return Ok((2, None));
    };
    if let Some(c) = char::from_u32(first.into()) {
        return Ok((LEN, Some(c)));
    }
    let second = rest.get(LEN..).and_then(code_unit);
    let pair = second.and_then(|second| {
        let mut decoded = char::decode_utf16([first, second]);
        decoded.next().and_then(Result::ok)
    });
    pair.map(|c| (2 * LEN, Some(c)))
        .ok_or(Problem::LoneSurrogate)
}

fn code_unit(rest: &str) -> Option<u16> {
    let digits = rest.strip_prefix(r"\u")?.get(..4)?;
    let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}
