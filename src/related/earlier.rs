//! Rows as they were before a transaction: those that it did not touch, and those that it did as it found them.

use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;

use super::ROWS_MAX;
use super::group::Group;
use super::past::Past;
use super::shelf::Found;
use super::statement::{self, is_padded};
use super::want::{RelatedRow, Want};
use crate::catalog::{Field, TypeClass};
use crate::db::PooledClient;
use crate::event::{RecordId, RowImage};

/// Which texts are equal as values, for fields whose type alone can tell: numbers by field and text.
#[derive(Default)]
struct Ranks(HashMap<(usize, String), i64>);

/// Answers a group about the past, given what was found of the present.
///
/// # Errors
/// If the database says no; the transaction of the reading is spoilt then.
pub(super) async fn restore(
    client: &PooledClient,
    group: &Group,
    now: Vec<Option<Found>>,
    past: &Past,
) -> Result<Vec<Option<Found>>, tokio_postgres::Error> {
    let touched = match past {
        Past::Known(touched) => touched,
        Past::TooMany => return Ok(vec![Some(Found::TooMany); group.wants.len()]),
        Past::Unknown(_) => return Ok(vec![Some(Found::Failed); group.wants.len()]),
    };
    let ranks = Ranks::load(client, group, touched).await?;
    let Some(before) = Before::new(group, touched, &ranks) else {
        return Ok(vec![Some(Found::Failed); group.wants.len()]);
    };
    let answers = group.wants.iter().zip(now);
    Ok(answers
        .map(|(want, found)| found.map(|found| before.answer(want, found)))
        .collect())
}

/// The touched rows by what their fields equalled.
struct Before<'p> {
    touched: &'p HashMap<RecordId, Option<RowImage>>,
    ranks: &'p Ranks,
    group: &'p Group,
    by_values: HashMap<Vec<String>, Vec<RelatedRow>>,
}

impl<'p> Before<'p> {
    /// `None` if a value cannot be read.
    fn new(
        group: &'p Group,
        touched: &'p HashMap<RecordId, Option<RowImage>>,
        ranks: &'p Ranks,
    ) -> Option<Self> {
        let mut by_values: HashMap<_, Vec<_>> = HashMap::new();
        for (id, image) in touched {
            let Some(image) = image else { continue };
            let mut keys = HashSet::from([Vec::new()]);
            for &index in &group.fields {
                let field = &group.collection.fields[index];
                let texts = texts(image, index)?;
                let values = texts
                    .into_iter()
                    .map(|text| ranks.value(field, index, text));
                let values: Vec<_> = values.collect();
                let longer = |key: &Vec<String>| {
                    let key = key.clone();
                    values
                        .iter()
                        .map(move |value| [&key[..], std::slice::from_ref(value)].concat())
                        .collect::<Vec<_>>()
                };
                keys = keys.iter().flat_map(longer).collect();
            }
            for key in keys {
                let (id, image) = (id.clone(), image.clone());
                let rows = by_values.entry(key).or_default();
                // As good as any number beyond.
                if rows.len() <= ROWS_MAX {
                    rows.push(RelatedRow { id, image });
                }
            }
        }
        Some(Self {
            touched,
            ranks,
            group,
            by_values,
        })
    }

    fn answer(&self, want: &Want, found: Found) -> Found {
        let mut rows = match found {
            Found::Rows(rows) => rows,
            other => return other,
        };
        rows.retain(|row| !self.touched.contains_key(&row.id));
        let value = |(index, text): &(usize, std::sync::Arc<str>)| {
            let field = &self.group.collection.fields[*index];
            self.ranks.value(field, *index, text.to_string())
        };
        let key: Vec<_> = want.equals.iter().map(value).collect();
        rows.extend(self.by_values.get(&key).into_iter().flatten().cloned());
        if rows.len() > ROWS_MAX {
            return Found::TooMany;
        }
        Found::Rows(rows)
    }
}

impl Ranks {
    /// Has the database compare what cannot be compared here.
    async fn load(
        client: &PooledClient,
        group: &Group,
        touched: &HashMap<RecordId, Option<RowImage>>,
    ) -> Result<Self, tokio_postgres::Error> {
        let mut ranks = HashMap::new();
        for (place, &index) in group.fields.iter().enumerate() {
            let field = &group.collection.fields[index];
            if field.column_type.class != TypeClass::Other {
                continue;
            }
            let wanted = group
                .wants
                .iter()
                .map(|want| want.equals[place].1.to_string());
            let images = touched.values().flatten();
            let had = images.flat_map(|image| texts(image, index)).flatten();
            let distinct: HashSet<String> = wanted.chain(had).collect();
            let distinct: Vec<String> = distinct.into_iter().collect();
            let sql = statement::rank(&field.column_type);
            let statement = client.prepare_cached(&sql).await?;
            for row in client.query(&statement, &[&distinct]).await? {
                ranks.insert((index, row.try_get(0)?), row.try_get(1)?);
            }
        }
        Ok(Self(ranks))
    }

    /// A text that is the same for equal values of a field.
    fn value(&self, field: &Field, index: usize, text: String) -> String {
        match field.column_type.class {
            TypeClass::Integer => text
                .parse::<i64>()
                .map_or(text, |number| number.to_string()),
            TypeClass::Uuid => text.replace('-', "").to_ascii_lowercase(),
            TypeClass::Text if is_padded(&field.column_type) => {
                text.trim_end_matches(' ').to_owned()
            }
            TypeClass::Text => text,
            TypeClass::Other => {
                let rank = self.0.get(&(index, text));
                rank.map_or_else(String::new, ToString::to_string)
            }
        }
    }
}

/// The texts of a value as keys are written: none of NULL, each element of an array. `None` if the image does
/// not have the field, or it cannot be read.
fn texts(image: &RowImage, index: usize) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    push_texts(image.value(index)?.trim_ascii(), &mut texts)?;
    Some(texts)
}

fn push_texts(json: &str, texts: &mut Vec<String>) -> Option<()> {
    match json.as_bytes().first()? {
        b'n' => {}
        b'"' => texts.push(serde_json::from_str(json).ok()?),
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            for element in elements {
                push_texts(element.get(), texts)?;
            }
        }
        _ => texts.push(json.to_owned()),
    }
    Some(())
}
