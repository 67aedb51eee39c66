//! Names and their modifiers, taken apart (contract, sections 5.7 and 5.8).

use super::error::{Problem, nearest};

/// What stands behind a name's colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modifier {
    IsSet,
    Length,
    Each,
    Lower,
    Changed,
}

impl Modifier {
    const ALL: [(&'static str, Self); 5] = [
        ("isset", Self::IsSet),
        ("length", Self::Length),
        ("each", Self::Each),
        ("lower", Self::Lower),
        ("changed", Self::Changed),
    ];

    fn parse(name: &str) -> Result<Self, Problem> {
        let found = Self::ALL.into_iter().find(|(written, _)| *written == name);
        found.map(|(_, modifier)| modifier).ok_or_else(|| {
            let known = Self::ALL.iter().map(|(written, _)| *written);
            Problem::UnknownModifier {
                name: name.to_owned(),
                nearest: nearest(name, known),
            }
        })
    }

    pub(super) fn as_str(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|(_, modifier)| *modifier == self);
        found.map_or("", |(written, _)| written)
    }

    pub(super) fn not_here(self) -> Problem {
        let name = self.as_str().to_owned();
        Problem::ModifierNotHere { name }
    }
}

/// The modifier at the end of a segment, and the segment without it.
pub(super) fn split_modifier(segment: &str) -> Result<(&str, Option<Modifier>), Problem> {
    let mut parts = segment.split(':');
    let name = parts.next().unwrap_or_default();
    let modifier = parts.next().map(Modifier::parse).transpose()?;
    if parts.next().is_some() {
        return Err(Problem::TwoModifiers);
    }
    if name.is_empty() {
        return Err(Problem::EmptyPart);
    }
    Ok((name, modifier))
}

/// A step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Item(usize),
}

impl Step {
    /// A segment of a path: a number counts items, and a colon is not there.
    pub(super) fn parse(segment: &str) -> Self {
        match segment.parse() {
            Ok(index) => Self::Item(index),
            Err(_) => Self::Member(segment.replace(':', "")),
        }
    }
}
