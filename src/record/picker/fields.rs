//! The list as text: commas, paths and modifiers.

use super::excerpt::Excerpt;
use super::{Node, Picker, Wanted};

/// Why a list of fields cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// A comma might be inside or outside.
    #[error("a parenthesis or a quote is never closed")]
    Open,
    /// There is only one modifier.
    #[error("there is no modifier :{0}; the only one is :excerpt(max) or :excerpt(max, true)")]
    UnknownModifier(String),
    /// The modifier is known, its arguments are not.
    #[error(
        "excerpt takes the most characters, from 1 to {max}, and perhaps true for an ellipsis: \
         excerpt(100, true)",
        max = Picker::EXCERPT_MAX
    )]
    Excerpt,
    /// The list is too long.
    #[error("there are more than {max} fields", max = Picker::FIELDS_MAX)]
    TooMany,
    /// A path is too long.
    #[error("a path has more than {max} names", max = Picker::DEPTH_MAX)]
    TooDeep,
}

/// Reads a list; `None` if nothing stands in it.
pub(super) fn parse(text: &str) -> Result<Option<Node>, FieldsError> {
    let mut root = Node::default();
    let mut fields = 0;
    for item in items(text)? {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        fields += 1;
        if fields > Picker::FIELDS_MAX {
            return Err(FieldsError::TooMany);
        }
        root.want(item)?;
    }
    Ok((fields > 0).then_some(root))
}

impl Node {
    fn want(&mut self, item: &str) -> Result<(), FieldsError> {
        let (path, wanted) = match item.split_once(':') {
            Some((path, modifier)) => (path.trim_end(), modified(modifier)?),
            None => (item, Wanted::Whole),
        };
        if path.split('.').count() > Picker::DEPTH_MAX {
            return Err(FieldsError::TooDeep);
        }
        let path = path.strip_suffix('.').unwrap_or(path);
        let mut node = self;
        for name in path.split('.') {
            node = match name {
                "*" => node.others.get_or_insert_default(),
                name => node.members.entry(name.into()).or_default(),
            };
        }
        // Of several the last counts.
        node.value = Some(wanted);
        Ok(())
    }
}

/// What stands between the commas, those inside parentheses and quotes apart.
fn items(text: &str) -> Result<Vec<&str>, FieldsError> {
    let mut items = Vec::new();
    let (mut start, mut depth, mut quote) = (0, 0_usize, None);
    for (at, character) in text.char_indices() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'' | '`', None) => quote = Some(character),
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            (',', None) if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 || quote.is_some() {
        return Err(FieldsError::Open);
    }
    items.push(&text[start..]);
    Ok(items)
}

fn modified(modifier: &str) -> Result<Wanted, FieldsError> {
    let mut words = modifier
        .split(['(', ')', ',', ' '])
        .map(str::trim)
        .filter(|word| !word.is_empty());
    match words.next() {
        Some("excerpt") => {}
        other => {
            let name = other.unwrap_or_default().chars().take(64).collect();
            return Err(FieldsError::UnknownModifier(name));
        }
    }
    let max = words.next().and_then(|max| max.parse().ok());
    let max = max.filter(|max| (1..=Picker::EXCERPT_MAX).contains(max));
    let ellipsis = words.next();
    if words.next().is_some() {
        return Err(FieldsError::Excerpt);
    }
    Ok(Wanted::Excerpt(Excerpt {
        characters_max: max.ok_or(FieldsError::Excerpt)?,
        ellipsis: ellipsis.is_some_and(|word| TRUE.contains(&word)),
    }))
}

/// How PocketBase lets truth be written.
const TRUE: [&str; 6] = ["1", "t", "T", "true", "TRUE", "True"];
