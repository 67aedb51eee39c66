//! The operator `~` (contract, section 5.6): SQLite's LIKE with `\` as escape character.

use super::budget::{Budget, Exhausted};

/// SQLite refuses longer patterns.
const PATTERN_BYTES_MAX: usize = 50_000;

/// A pattern, as written behind LIKE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

/// A pattern's character, with its escape resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `%`.
    AnyRun,
    /// `_`.
    AnyOne,
    /// A character, in lower case if ASCII.
    One(char),
    /// An escape at the very end, which matches nothing.
    Nothing,
}

impl Pattern {
    /// A value known before the row: a pattern if it has a `%` of its own, else what must be contained.
    pub(super) fn of_value(value: &str) -> Self {
        if has_wildcard(value) {
            return Self(value.to_owned());
        }
        Self(format!("%{}%", escaped(value)))
    }

    /// A column's value: what must be contained, its own `%`, `_` and `\` active.
    pub(super) fn of_column(value: &str) -> Self {
        Self(format!("%{value}%"))
    }

    /// Whether a text matches, whatever the case of its ASCII letters.
    pub(super) fn matches(&self, text: &str, budget: &Budget) -> Result<bool, Exhausted> {
        if self.0.len() > PATTERN_BYTES_MAX {
            return Err(Exhausted);
        }
        budget.spend(self.0.len())?;
        matches_parts(&parts(&self.0), text, budget)
    }
}

/// Walks both at once. On a mismatch only the last `%` can take more: what earlier ones took is
/// as short as it can be.
fn matches_parts(parts: &[Part], text: &str, budget: &Budget) -> Result<bool, Exhausted> {
    let (mut part, mut rest) = (0, text.chars());
    let mut retry = None;
    loop {
        budget.spend(1)?;
        let before = rest.clone();
        match (parts.get(part), rest.next()) {
            (Some(Part::AnyRun), _) => {
                part += 1;
                if part == parts.len() {
                    return Ok(true);
                }
                rest = before.clone();
                retry = Some((part, before));
                continue;
            }
            (None, None) => return Ok(true),
            // Nothing is left for what the pattern still asks for.
            (Some(_), None) => return Ok(false),
            (Some(Part::AnyOne), Some(_)) => part += 1,
            (Some(Part::One(wanted)), Some(c)) if *wanted == c.to_ascii_lowercase() => part += 1,
            (_, Some(_)) => match &mut retry {
                None => return Ok(false),
                Some((after, from)) => {
                    from.next();
                    (part, rest) = (*after, from.clone());
                }
            },
        }
    }
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '%' => Part::AnyRun,
            '_' => Part::AnyOne,
            '\\' => chars
                .next()
                .map_or(Part::Nothing, |c| Part::One(c.to_ascii_lowercase())),
            c => Part::One(c.to_ascii_lowercase()),
        });
    }
    parts
}

/// Whether there is a `%` that no `\` takes back.
fn has_wildcard(value: &str) -> bool {
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

/// The value with `\`, `%` and `_` escaped, unless it has done so itself. Pairs are found from the
/// end, as PocketBase does.
fn escaped(value: &str) -> String {
    let mut reversed = Vec::with_capacity(value.len());
    let mut rest = value.chars().rev().peekable();
    while let Some(c) = rest.next() {
        reversed.push(c);
        if matches!(c, '\\' | '%' | '_') {
            rest.next_if_eq(&'\\');
            reversed.push('\\');
        }
    }
    reversed.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_patterns_as_in_the_contract() {
        for (value, pattern) in [
            (r"abc", r"%abc%"),
            (r"ab%c", r"ab%c"),
            (r"ab\%c", r"%ab\%c%"),
            (r"%ab\%c", r"%ab\%c"),
            (r"ab\\%c", r"ab\\%c"),
            (r"ab\\\%c", r"%ab\\\%c%"),
            (r"ab_c", r"%ab\_c%"),
            (r"ab\_c", r"%ab\_c%"),
            (r"%ab_c", r"%ab_c"),
            (r"ab\c", r"%ab\\c%"),
            (r"_ab\c_", r"%\_ab\\c\_%"),
            (r"ab\c%", r"ab\c%"),
            (r"", r"%%"),
            (r"__", r"%\_\_%"),
            (r"\", r"%\\%"),
            (r"é_", r"%é\_%"),
        ] {
            assert_eq!(Pattern::of_value(value).0, pattern, "{value}");
        }
    }

    #[test]
    fn patterns_match_as_in_sqlite() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%%", "", true),
            ("_", "", false),
            ("_", "é", true),
            ("__", "é", false),
            ("a%c", "abbc", true),
            ("a%c", "abcb", false),
            ("%a%b%", "xxaxxbxx", true),
            ("%a%b%", "xxbxxaxx", false),
            ("%ab", "aab", true),
            ("%a_b%", "aaab", true),
            ("%aab%", "aaaab", true),
            ("ABC", "abc", true),
            ("É", "é", false),
            (r"a\%", "a%", true),
            (r"a\%", "ab", false),
            (r"a\_", "ab", false),
            (r"\a", "a", true),
            (r"a\", "a", false),
            (r"%\", r"\", false),
        ] {
            let matched = Pattern(pattern.to_owned()).matches(text, &Budget::of_rule());
            assert_eq!(matched, Ok(expected), "{text:?} like {pattern:?}");
        }
    }

    #[test]
    fn a_match_that_takes_too_long_ends() {
        let text = "a".repeat(1 << 20);
        let pattern = format!("%{}b%", "a".repeat(2_000));
        assert_eq!(
            Pattern(pattern).matches(&text, &Budget::of_rule()),
            Err(Exhausted)
        );
        let long = Pattern("a".repeat(PATTERN_BYTES_MAX + 1));
        assert_eq!(long.matches("a", &Budget::of_rule()), Err(Exhausted));
    }
}
