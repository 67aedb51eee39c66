//! The sides of a comparison: where each kind of source gets its value.

use serde_json::Value as Json;

use super::compare::{Affinity, Origin, Side};
use super::context::AuthValues;
use super::evaluate::Evaluation;
use super::functions::{Moment, TimeValue, distance_km};
use super::path::Step;
use super::predicate::Undecidable;
use super::program::{AuthMember, FieldRef, Place, Source, TimeCall};
use super::read;
use super::value::Value;
use crate::catalog::FieldKind;

impl<'e> Evaluation<'e> {
    /// What a source is worth now.
    pub(super) fn side(&self, source: &'e Source) -> Result<Side<'e>, Undecidable> {
        Ok(match source {
            Source::Constant(value) => Side::bound(value.borrowed()),
            Source::Macro(name) => Side::bound(name.value(self.request.now)),
            Source::Context => Side::bound(Value::text(self.request.context)),
            Source::Method => Side::bound(Value::text(self.request.method)),
            Source::Option {
                place,
                name,
                number,
            } => Side::bound(self.option(*place, name, *number)),
            Source::OptionIsSet { place, name } => {
                Side::bound(Value::bool(self.options(*place).contains_key(name)))
            }
            Source::Auth(member) => Side::bound(self.auth_member(*member)),
            Source::AuthField { name, path } => self.auth_field(name, path)?,
            Source::AuthLength(name) => self.auth_length(name)?,
            Source::Id => column(Value::text(&*self.row.id.0), Affinity::Text),
            Source::Field(field) => field_side(field, self.field(field)?),
            Source::JsonPath(field, path) => json(self.json_path(field, path)?),
            Source::Length(field) => column(self.length(field)?, Affinity::None),
            Source::Each(join) => column(self.item(*join)?, Affinity::None),
            Source::Lower(inner) => self.lower(inner)?,
            Source::Distance(points) => json(self.distance(points)?),
            Source::Time(call) => column(self.time(call)?, Affinity::None),
        })
    }

    fn lower(&self, inner: &'e Source) -> Result<Side<'e>, Undecidable> {
        let side = self.side(inner)?;
        Ok(Side {
            value: side.value.lower(),
            affinity: Affinity::None,
            ..side
        })
    }

    fn options(&self, place: Place) -> &'e std::collections::BTreeMap<String, String> {
        match place {
            Place::Query => self.request.query,
            Place::Headers => self.request.headers,
        }
    }

    fn option(&self, place: Place, name: &str, number: bool) -> Value<'e> {
        match self.options(place).get(name) {
            None => Value::Null,
            Some(text) if number => go_number(text).unwrap_or(Value::text(text)),
            Some(text) => Value::text(text),
        }
    }

    fn auth_member(&self, member: AuthMember) -> Value<'e> {
        let Some(auth) = self.request.auth else {
            return Value::Null;
        };
        match member {
            AuthMember::Id => Value::text(&auth.id),
            AuthMember::CollectionId => Value::text(&auth.collection_id),
            AuthMember::CollectionName => Value::text(&auth.collection_name),
            AuthMember::Email => Value::text(&auth.email),
            AuthMember::EmailVisibility => Value::bool(auth.email_visibility),
            AuthMember::Verified => Value::bool(auth.verified),
        }
    }

    fn auth_value(&self, name: &str) -> Option<&'e Json> {
        let auth: &'e AuthValues = self.request.auth?;
        auth.fields.get(name)
    }

    fn auth_field(&self, name: &str, path: &[Step]) -> Result<Side<'e>, Undecidable> {
        let Some(value) = self.auth_value(name) else {
            return Ok(Side::bound(Value::Null));
        };
        if path.is_empty() {
            return Ok(auth_side(value));
        }
        match (value, &path[0]) {
            (Json::Null, _) => Ok(Side::bound(Value::Null)),
            (Json::Object(_), _) | (Json::Array(_), Step::Item(_)) => {
                let found = path.iter().try_fold(value, |value, step| match step {
                    Step::Member(name) => value.as_object()?.get(name),
                    Step::Item(index) => value.as_array()?.get(*index),
                });
                Ok(json(found.map_or(Value::Null, json_value)))
            }
            // It is the key of another record, or it should be.
            _ => Err(Undecidable::AuthRelation {
                name: name.to_owned(),
            }),
        }
    }

    fn auth_length(&self, name: &str) -> Result<Side<'e>, Undecidable> {
        match self.auth_value(name) {
            Some(Json::Array(items)) => Ok(column(count(items.len()), Affinity::None)),
            _ => self.auth_field(name, &[]),
        }
    }

    pub(super) fn auth_items(&self, name: &str) -> Result<Vec<Value<'e>>, Undecidable> {
        Ok(match self.auth_value(name) {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(items)) => items.iter().map(json_value).collect(),
            Some(other) => vec![json_value(other)],
        })
    }

    fn field(&self, field: &FieldRef) -> Result<Value<'e>, Undecidable> {
        let json = self.image_value(field)?;
        read::field(&field.kind, json).map_err(|_| unreadable(field))
    }

    fn json_path(&self, field: &FieldRef, path: &[Step]) -> Result<Value<'e>, Undecidable> {
        let json = self.image_value(field)?;
        read::at_path(json, path).map_err(|_| unreadable(field))
    }

    pub(super) fn field_items(&self, field: &FieldRef) -> Result<Vec<Value<'e>>, Undecidable> {
        let json = self.image_value(field)?;
        read::items(&field.kind, json).map_err(|_| unreadable(field))
    }

    fn length(&self, field: &FieldRef) -> Result<Value<'e>, Undecidable> {
        self.field_items(field).map(|items| count(items.len()))
    }

    /// A field's value as it stands in the image.
    fn image_value(&self, field: &FieldRef) -> Result<&'e str, Undecidable> {
        let missing = || Undecidable::FieldMissing {
            name: field.name.to_string(),
        };
        let fields = &self.row.collection.fields;
        let is_it = |index: &usize| {
            let found = fields.get(*index);
            found.is_some_and(|found| found.name == field.name && found.kind == field.kind)
        };
        let index = Some(field.index)
            .filter(is_it)
            .or_else(|| (0..fields.len()).find(is_it))
            .filter(|&index| !(self.filter && fields[index].hidden))
            .ok_or_else(missing)?;
        let json = self.row.image.value(index).ok_or_else(missing)?;
        self.budget.spend(json.len())?;
        Ok(json)
    }

    fn distance(&self, points: &'e [Source; 4]) -> Result<Value<'e>, Undecidable> {
        let mut numbers = [0.0; 4];
        for (number, point) in numbers.iter_mut().zip(points) {
            match self.side(point)?.value.to_f64() {
                Some(known) => *number = known,
                None => return Ok(Value::Null),
            }
        }
        Ok(Value::real(distance_km(numbers)))
    }

    fn time(&self, call: &'e TimeCall) -> Result<Value<'e>, Undecidable> {
        let now = self.request.now;
        let time = match &call.time {
            None => Some(TimeValue::Moment(Moment::from(now))),
            Some(source) => TimeValue::of(&self.side(source)?.value, now),
        };
        let mut modifiers = call.modifiers.iter().enumerate();
        let time = time.and_then(|time| {
            modifiers.try_fold(time, |time, (index, modifier)| modifier.apply(time, index))
        });
        let moment = time.and_then(TimeValue::moment);
        Ok(moment.map_or(Value::Null, |moment| Value::text(call.format.write(moment))))
    }
}

fn unreadable(field: &FieldRef) -> Undecidable {
    Undecidable::Unreadable {
        name: field.name.to_string(),
    }
}

fn column(value: Value<'_>, affinity: Affinity) -> Side<'_> {
    Side {
        value,
        origin: Origin::Column,
        affinity,
    }
}

fn json(value: Value<'_>) -> Side<'_> {
    Side {
        value,
        origin: Origin::Json,
        affinity: Affinity::None,
    }
}

/// A field's value with what PocketBase's columns make of it.
fn field_side<'v>(field: &FieldRef, value: Value<'v>) -> Side<'v> {
    match field.kind {
        FieldKind::Text | FieldKind::Date => column(value, Affinity::Text),
        // Lists stand in a column of the type JSON, which is one of numbers to SQLite.
        FieldKind::Number | FieldKind::Bool | FieldKind::Array(_) => {
            column(value, Affinity::Numeric)
        }
        FieldKind::Json => json(value),
    }
}

fn auth_side(value: &Json) -> Side<'_> {
    match value {
        Json::Null => Side::bound(Value::Null),
        Json::String(_) => column(json_value(value), Affinity::Text),
        Json::Bool(_) | Json::Number(_) => {
            column(json_value(value).stored_number(), Affinity::Numeric)
        }
        Json::Array(_) => column(json_value(value), Affinity::Numeric),
        Json::Object(_) => json(json_value(value)),
    }
}

fn json_value(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::bool(*flag),
        Json::Number(number) => Value::json_number(&number.to_string()).unwrap_or(Value::Null),
        Json::String(text) => Value::text(text),
        Json::Array(_) | Json::Object(_) => Value::text(value.to_string()),
    }
}

fn count(items: usize) -> Value<'static> {
    Value::Integer(i64::try_from(items).unwrap_or(i64::MAX))
}

/// A text read as Go's `ParseFloat` reads it; what is out of range stays a text there.
fn go_number(text: &str) -> Option<Value<'static>> {
    let number: f64 = text.parse().ok()?;
    let spelled = text
        .trim_start_matches(['+', '-'])
        .starts_with(['i', 'I', 'n', 'N']);
    (number.is_finite() || spelled).then(|| Value::real(number))
}
