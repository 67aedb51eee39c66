//! A place in a text, shown with a mark below it.

use std::fmt;

use super::ast::Span;

/// The line of a text that something is said about, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// The line, cut to what a terminal shows.
    shown: String,
    /// Where in `shown` the mark begins and how long it is, in characters.
    mark: (usize, usize),
}

impl Excerpt {
    /// Characters of the text that are shown.
    const SHOWN_MAX: usize = 100;

    pub(super) fn new(text: &str, span: Span) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let column = text[line_start..start].chars().count();
        let end = floor(text, span.end.min(line_start + line.len()));
        let len = text
            .get(start..end)
            .map_or(0, |marked| marked.chars().count());
        // The mark shall be seen, with something before it.
        let skipped = column.saturating_sub(Self::SHOWN_MAX / 2);
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String = line
            .chars()
            .skip(skipped)
            .take(Self::SHOWN_MAX)
            .map(printable)
            .collect();
        let room = shown.chars().count().saturating_sub(column - skipped);
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: column + 1,
            mark: (column - skipped, len.min(room).max(1)),
            shown,
        }
    }
}

/// The line number, and below it the line with its mark.
impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, len) = self.mark;
        writeln!(f, "(line {}, column {})", self.line, self.column)?;
        writeln!(f, "    {}", self.shown)?;
        write!(f, "    {:before$}{:^<len$}", "", "")
    }
}

/// The nearest place at or before `at` where a character begins.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}
