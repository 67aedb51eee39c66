//! Row images: where each column's value stands in the JSON Postgres wrote, and the record's id.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{RecordId, RowImage};
use crate::catalog::{Collection, Field, FieldKind};

/// A row image, and whether it has the shape the catalog knows.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsedImage {
    /// The row.
    pub image: RowImage,
    /// Whether its columns are exactly the collection's fields in their order. If not, the table
    /// was changed between the writing and the loading of the catalog.
    pub shape_matches: bool,
    /// Fields whose value is of another JSON type than their kind has: the column may have another
    /// type since.
    pub odd_fields: Vec<usize>,
}

/// Why a row image could not be understood. Never holds a value of the row.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is no JSON object.
    #[error("the row image is not a JSON object")]
    Malformed(#[source] serde_json::Error),
    /// It is longer than places in it can be told.
    #[error(
        "the row image has {bytes} bytes, more than the {} that can be handled",
        u32::MAX
    )]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// A column of the key is not there.
    #[error("the row image lacks the key column {column:?}")]
    KeyMissing {
        /// Which.
        column: String,
    },
    /// A column of the key has no value.
    #[error("the key column {column:?} is NULL")]
    KeyNull {
        /// Which.
        column: String,
    },
    /// A column of the key has a value that cannot be read.
    #[error("the value of the key column {column:?} is not valid JSON")]
    KeyMalformed {
        /// Which.
        column: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Locates the value of each of the collection's fields in a row image.
///
/// Columns the collection does not know are passed over; of a repeated one, the last counts.
///
/// # Errors
/// If `json` is not a JSON object or too large.
pub fn parse_image(json: Box<str>, collection: &Collection) -> Result<ParsedImage, ImageError> {
    if u32::try_from(json.len()).is_err() {
        return Err(ImageError::TooLarge { bytes: json.len() });
    }
    let columns = Columns {
        json: &json,
        collection,
    };
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    let (values, shape_matches) = deserializer
        .deserialize_map(columns)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(ImageError::Malformed)?;
    let image = RowImage::new(json, values);
    let is_odd = |&index: &usize| {
        let value = image.value(index).unwrap_or("null");
        !looks_like(value.trim_ascii(), &collection.fields[index].kind)
    };
    let odd_fields = (0..collection.fields.len()).filter(is_odd).collect();
    Ok(ParsedImage {
        image,
        shape_matches,
        odd_fields,
    })
}

/// Whether Postgres writes values of this kind in this way.
fn looks_like(value: &str, kind: &FieldKind) -> bool {
    let first = value.bytes().next().unwrap_or(b'n');
    match kind {
        _ if value == "null" => true,
        FieldKind::Json => true,
        FieldKind::Text | FieldKind::Date => first == b'"',
        FieldKind::Bool => matches!(first, b't' | b'f'),
        FieldKind::Array(_) => first == b'[',
        FieldKind::Number => {
            first == b'-'
                || first.is_ascii_digit()
                || matches!(value, r#""NaN""# | r#""Infinity""# | r#""-Infinity""#)
        }
    }
}

/// The id of the row: the key column's value as text, or those of a composite key joined by commas.
///
/// Values are taken as Postgres wrote them; a time stamp, for example, in the time zone of the
/// session that wrote the row.
///
/// # Errors
/// If a key column is missing or NULL.
pub fn record_id(image: &RowImage, collection: &Collection) -> Result<RecordId, ImageError> {
    if let &[only] = collection.key_fields.as_slice() {
        let text = key_text(image, collection, only)?;
        return Ok(RecordId(text.into()));
    }
    let mut id = String::new();
    for (place, &index) in collection.key_fields.iter().enumerate() {
        if place > 0 {
            id.push(',');
        }
        let text = key_text(image, collection, index)?;
        push_encoded(&mut id, &text);
    }
    Ok(RecordId(id.into()))
}

/// The texts of the key's columns in an id, in key order; `None` if there are not as many.
pub fn key_texts(id: &str, collection: &Collection) -> Option<Vec<String>> {
    let count = collection.key_fields.len();
    if count == 1 {
        return Some(vec![id.to_owned()]);
    }
    let texts: Vec<String> = id.split(',').map(decoded).collect();
    (texts.len() == count).then_some(texts)
}

/// What [`push_encoded`] made a text of.
fn decoded(text: &str) -> String {
    let marks = [("%2C", ","), ("%2F", "/"), ("%3F", "?"), ("%25", "%")];
    let decode = |text: String, (code, mark): (&str, &str)| text.replace(code, mark);
    marks.into_iter().fold(text.to_owned(), decode)
}

/// Appends one value of a composite key: the comma encoded because it joins, `/` and `?` because
/// topics are cut there, `%` because it encodes.
fn push_encoded(id: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '%' => id.push_str("%25"),
            ',' => id.push_str("%2C"),
            '/' => id.push_str("%2F"),
            '?' => id.push_str("%3F"),
            _ => id.push(character),
        }
    }
}

fn key_text<'i>(
    image: &'i RowImage,
    collection: &Collection,
    index: usize,
) -> Result<Cow<'i, str>, ImageError> {
    let column = || match collection.fields.get(index) {
        Some(field) => field.name.to_string(),
        None => format!("number {index}"),
    };
    match image.value(index).map(str::trim_ascii) {
        None => Err(ImageError::KeyMissing { column: column() }),
        Some("null") => Err(ImageError::KeyNull { column: column() }),
        Some(json) if json.starts_with('"') => serde_json::from_str(json)
            .map(|UnescapedString(text)| text)
            .map_err(|source| ImageError::KeyMalformed {
                column: column(),
                source,
            }),
        Some(json) => Ok(Cow::Borrowed(json)),
    }
}

/// A JSON string's text, borrowed unless it had escapes.
#[derive(serde::Deserialize)]
struct UnescapedString<'i>(#[serde(borrow)] Cow<'i, str>);

/// Visits an image's members and notes where the values of known columns stand.
struct Columns<'j, 'c> {
    json: &'j str,
    collection: &'c Collection,
}

type Located = (Box<[Option<Range<u32>>]>, bool);

impl<'de> Visitor<'de> for Columns<'de, '_> {
    type Value = Located;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Located, A::Error> {
        let fields = &self.collection.fields;
        let mut values = vec![None; fields.len()].into_boxed_slice();
        let mut shape_matches = true;
        let mut order = Vec::new();
        let mut place = 0;
        while let Some(index) = members.next_key_seed(ColumnAt { fields, place })? {
            let value: &RawValue = members.next_value()?;
            shape_matches &= index == Some(place);
            place += 1;
            if self.collection.partitioned {
                order.push(index);
            }
            if let Some(index) = index {
                values[index] = Some(range_of(value.get(), self.json));
            }
        }
        shape_matches &= place == fields.len();
        Ok((values, shape_matches || self.has_order(&order)))
    }
}

impl Columns<'_, '_> {
    /// Whether a partition has its columns in this order.
    fn has_order(&self, found: &[Option<usize>]) -> bool {
        let orders = &self.collection.column_orders;
        orders
            .iter()
            .any(|order| order.iter().copied().map(Some).eq(found.iter().copied()))
    }
}

/// Where `part` stands in `whole`, of which it is a slice.
fn range_of(part: &str, whole: &str) -> Range<u32> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    let offset = |at: usize| u32::try_from(at).expect("images over 4 GiB were refused");
    offset(start)..offset(start + part.len())
}

/// Recognises the column at one place: nearly always the field at that place.
struct ColumnAt<'c> {
    fields: &'c [Field],
    place: usize,
}

impl ColumnAt<'_> {
    fn find(&self, name: &str) -> Option<usize> {
        let expected = self.fields.get(self.place);
        if expected.is_some_and(|field| &*field.name == name) {
            return Some(self.place);
        }
        self.fields.iter().position(|field| &*field.name == name)
    }
}

impl<'de> DeserializeSeed<'de> for ColumnAt<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnAt<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.find(name))
    }
}

#[cfg(test)]
mod tests;
