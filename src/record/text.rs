//! Strings and compact JSON, written so that nothing can end a line.

/// Copies a JSON value without the white space between its tokens.
///
/// Numbers keep their spelling and members their order.
pub(super) fn write_compact(out: &mut Vec<u8>, json: &str) {
    let mut rest = json;
    while let Some(quote) = rest.find('"') {
        let (tokens, string) = rest.split_at(quote);
        write_tokens(out, tokens);
        let (string, after) = string.split_at(string_end(string));
        write_escaped(out, string, false);
        rest = after;
    }
    write_tokens(out, rest);
}

/// Writes a JSON value as a JSON string: a string as it is, anything else as its text.
pub(super) fn write_as_string(out: &mut Vec<u8>, json: &str) {
    if json.starts_with('"') {
        return write_compact(out, json);
    }
    let mut compact = Vec::with_capacity(json.len());
    write_compact(&mut compact, json);
    write_string(out, &String::from_utf8_lossy(&compact));
}

/// Writes any text as a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text, true);
    out.push(b'"');
}

/// What stands between the quotes, if a JSON string without escapes is what this is.
pub(super) fn unquoted(json: &str) -> Option<&str> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains(['"', '\\'])).then_some(inner)
}

/// Where the string that `text` begins with ends, its closing quote included.
fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn write_tokens(out: &mut Vec<u8>, tokens: &str) {
    out.extend(tokens.bytes().filter(|byte| *byte > b' '));
}

/// Copies text, escaping what Go's encoder escapes, and U+0085, which Python's `splitlines` (and so
/// PocketBase's Python SDK) takes for the end of a line. `plain` text gets its quotes and
/// backslashes escaped, too; text that is JSON already has done so itself.
fn write_escaped(out: &mut Vec<u8>, text: &str, plain: bool) {
    let bytes = text.as_bytes();
    let mut written = 0;
    let mut at = 0;
    while at < bytes.len() {
        let Some((escaped, len)) = suspicious(bytes[at])
            .then(|| escape(&bytes[at..], plain))
            .flatten()
        else {
            at += 1;
            continue;
        };
        out.extend_from_slice(&bytes[written..at]);
        write_escape(out, escaped);
        at += len;
        written = at;
    }
    out.extend_from_slice(&bytes[written..]);
}

/// Whether a byte may begin something that is escaped; most never do.
fn suspicious(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < b' ' as usize {
            table[byte] = true;
            byte += 1;
        }
        let others = b"\"\\<>&\xC2\xE2";
        let mut at = 0;
        while at < others.len() {
            table[others[at] as usize] = true;
            at += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// The character to be escaped at the start of `bytes`, and how many bytes it takes.
fn escape(bytes: &[u8], plain: bool) -> Option<(u16, usize)> {
    match *bytes {
        [byte @ (b'"' | b'\\'), ..] => plain.then_some((byte.into(), 1)),
        [byte @ (..b' ' | b'<' | b'>' | b'&'), ..] => Some((byte.into(), 1)),
        [0xC2, 0x85, ..] => Some((0x85, 2)),
        [0xE2, 0x80, byte @ (0xA8 | 0xA9), ..] => Some((0x2000 | u16::from(byte - 0x80), 3)),
        _ => None,
    }
}

fn write_escape(out: &mut Vec<u8>, character: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match character {
        0x08 => b'b',
        0x09 => b't',
        0x0A => b'n',
        0x0C => b'f',
        0x0D => b'r',
        0x22 => b'"',
        0x5C => b'\\',
        _ => {
            out.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                out.push(HEX[usize::from((character >> shift) & 0xF)]);
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text stays text")
    }

    #[test]
    fn white_space_goes_only_between_tokens() {
        for (json, expected) in [
            (
                "{ \"b\" : [1, 2.50],\n\t\"a\" : \"x  y\" , \"e\":1E400 }",
                r#"{"b":[1,2.50],"a":"x  y","e":1E400}"#,
            ),
            (
                r#"["a\" \\", " , ", "\\"  , null]"#,
                r#"["a\" \\"," , ","\\",null]"#,
            ),
            ("  \r\n true ", "true"),
            (
                "\"a<b>&\u{2028}\u{85}é\"",
                r#""a\u003cb\u003e\u0026\u2028\u0085é""#,
            ),
            ("\"never closed \\", "\"never closed \\"),
            ("\"bad escape \\é", "\"bad escape \\é"),
        ] {
            assert_eq!(written(|out| write_compact(out, json)), expected, "{json}");
        }
    }

    #[test]
    fn any_text_becomes_one_string() {
        for (text, expected) in [
            ("", r#""""#),
            ("a\"\\/\n\r\t\u{8}\u{c}\u{1}", r#""a\"\\/\n\r\t\b\f\u0001""#),
            ("<\u{2029}>", r#""\u003c\u2029\u003e""#),
            ("â\u{80}€", "\"â\u{80}€\""),
        ] {
            assert_eq!(written(|out| write_string(out, text)), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_string_becomes_the_string_of_its_text() {
        for (json, expected) in [
            ("12.50", r#""12.50""#),
            ("true", r#""true""#),
            (r#""a""#, r#""a""#),
            (r#"{"a": "<"}"#, r#""{\"a\":\"\\u003c\"}""#),
        ] {
            assert_eq!(
                written(|out| write_as_string(out, json)),
                expected,
                "{json}"
            );
        }
    }
}
