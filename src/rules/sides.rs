//! The sides of a comparison: where each kind of source gets its value.

use serde_json::Value as Json;

use super::compare::{Affinity, Origin, Side};
use super::context::AuthValues;
use super::evaluate::{Evaluation, Item};
use super::functions::{Moment, TimeValue, distance_km};
use super::path::Step;
use super::predicate::Undecidable;
use super::program::{AuthMember, FieldRef, Home, Join, Place, Source, TimeCall};
use super::reach::field_ref;
use super::read;
use super::value::Value;
use super::wants::At;
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
            Source::Id(home) => column(self.id(*home)?, Affinity::Text),
            Source::Field(home, field) => field_side(field, self.field(*home, field)?),
            Source::Key(home, field) => column(self.key(*home, field)?, Affinity::Text),
            Source::JsonPath(home, field, path) => json(self.json_path(*home, field, path)?),
            Source::Length(home, field) => column(self.length(*home, field)?, Affinity::None),
            Source::Each(join) => match self.item(*join)? {
                Item::Value(value) => column(value, Affinity::None),
                Item::Row(_) => column(Value::Null, Affinity::None),
            },
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

    pub(super) fn auth_value(&self, name: &str) -> Option<&'e Json> {
        let auth: &'e AuthValues = self.request.auth?;
        auth.fields.get(name)
    }

    fn auth_field(&self, name: &str, path: &[Step]) -> Result<Side<'e>, Undecidable> {
        if let Some(field) = self.principals_field(name) {
            return self.field_of_principal(&field, path);
        }
        let Some(value) = self.auth_value(name) else {
            return Ok(Side::bound(Value::Null));
        };
        if path.is_empty() {
            return Ok(auth_side(value));
        }
        match (value, &path[0]) {
            (Json::Null, _) => Ok(Side::bound(Value::Null)),
            (Json::Object(_), _) | (Json::Array(_), Step::Item(_)) => {
                Ok(json(at_path(value, path)))
            }
            // A key, perhaps, of what is not attached.
            _ => Err(Undecidable::AuthPath {
                name: name.to_owned(),
            }),
        }
    }

    /// The field of the principal's collection; `None` where there is no such field, or no collection.
    fn principals_field(&self, name: &str) -> Option<FieldRef> {
        let collection = self.request.auth?.collection.as_ref()?;
        collection
            .field(name)
            .map(|index| field_ref(collection, index))
    }

    fn field_of_principal(&self, field: &FieldRef, path: &[Step]) -> Result<Side<'e>, Undecidable> {
        if path.is_empty() {
            return Ok(field_side(field, self.field(Home::Auth, field)?));
        }
        if field.kind == FieldKind::Json {
            return Ok(json(self.json_path(Home::Auth, field, path)?));
        }
        Err(Undecidable::AuthPath {
            name: field.name.to_string(),
        })
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

    /// Whose values are read: the record's, or those of the row that a join has chosen.
    pub(super) fn at(&self, home: Home) -> Result<At<'e>, Undecidable> {
        let join = match home {
            Home::Record => return Ok(At::Record(self.row)),
            Home::Joined(join) => join,
            Home::Auth => return Ok(self.principal()),
            Home::Nowhere => return Ok(At::Nobody),
        };
        let Join::Rows(rows) = self.join(join) else {
            return Ok(At::Nobody);
        };
        Ok(match self.item(join)? {
            Item::Row(Some(row)) => At::Joined(&rows.collection, row),
            Item::Row(None) | Item::Value(_) => At::Nobody,
        })
    }

    /// The principal's record, if it is one of ours.
    fn principal(&self) -> At<'e> {
        let auth: Option<&'e AuthValues> = self.request.auth;
        let collection = auth.and_then(|auth| Some((auth.collection.as_deref()?, auth)));
        collection.map_or(At::Nobody, |(collection, auth)| {
            At::Principal(collection, auth)
        })
    }

    fn id(&self, home: Home) -> Result<Value<'e>, Undecidable> {
        Ok(match self.at(home)? {
            At::Record(row) => Value::text(&*row.id.0),
            At::Joined(_, row) => Value::text(&*row.id.0),
            At::Principal(_, auth) => Value::text(&*auth.id),
            At::Nobody => Value::Null,
        })
    }

    fn field(&self, home: Home, field: &FieldRef) -> Result<Value<'e>, Undecidable> {
        let value = self.image_value(home, field)?;
        value.map_or(Ok(Value::Null), |json| {
            read::field(&field.kind, json).map_err(|_| unreadable(field))
        })
    }

    /// The key of a related record as its id, which is a text; `''` where there is none.
    fn key(&self, home: Home, field: &FieldRef) -> Result<Value<'e>, Undecidable> {
        let value = self.field_as_stored(home, field)?;
        Ok(value
            .to_text()
            .map_or(Value::Null, |text| Value::text(text.into_owned())))
    }

    /// As [`field`](Self::field), but NULL stays apart from what a record shows for it.
    fn field_as_stored(&self, home: Home, field: &FieldRef) -> Result<Value<'e>, Undecidable> {
        let value = self.image_value(home, field)?;
        match value.map(str::trim_ascii) {
            None => Ok(Value::Null),
            Some("null") => Ok(Value::text("")),
            Some(json) => read::field(&field.kind, json).map_err(|_| unreadable(field)),
        }
    }

    fn json_path(
        &self,
        home: Home,
        field: &FieldRef,
        path: &[Step],
    ) -> Result<Value<'e>, Undecidable> {
        let value = self.image_value(home, field)?;
        value.map_or(Ok(Value::Null), |json| {
            read::at_path(json, path).map_err(|_| unreadable(field))
        })
    }

    pub(super) fn field_items(
        &self,
        home: Home,
        field: &FieldRef,
    ) -> Result<Vec<Value<'e>>, Undecidable> {
        let value = self.image_value(home, field)?;
        value.map_or(Ok(Vec::new()), |json| {
            read::items(&field.kind, json).map_err(|_| unreadable(field))
        })
    }

    /// How many items a list has; of a relation to one, whether there is one.
    fn length(&self, home: Home, field: &FieldRef) -> Result<Value<'e>, Undecidable> {
        let items = self.field_items(home, field)?;
        let counted = items.iter().filter(|item| {
            field.is_list() || !matches!(item, Value::Text(text) if text.is_empty())
        });
        Ok(count(counted.count()))
    }

    /// A field's value as it stands in the image; `None` where there is no row.
    pub(super) fn image_value(
        &self,
        home: Home,
        field: &FieldRef,
    ) -> Result<Option<&'e str>, Undecidable> {
        let (collection, image) = match self.at(home)? {
            At::Record(row) => (row.collection, row.image),
            At::Joined(collection, row) => (collection, &row.image),
            At::Principal(collection, auth) => match &auth.image {
                Some(image) => (collection, image),
                None => {
                    return Err(Undecidable::FieldMissing {
                        name: field.name.to_string(),
                    });
                }
            },
            At::Nobody => return Ok(None),
        };
        let missing = || Undecidable::FieldMissing {
            name: field.name.to_string(),
        };
        let fields = &collection.fields;
        let is_it = |index: &usize| {
            let found = fields.get(*index);
            found.is_some_and(|found| found.name == field.name && found.kind == field.kind)
        };
        let index = Some(field.index)
            .filter(is_it)
            .or_else(|| (0..fields.len()).find(is_it))
            .filter(|&index| !(self.filter && fields[index].hidden))
            .ok_or_else(missing)?;
        let json = image.value(index).ok_or_else(missing)?;
        self.budget.spend(json.len())?;
        Ok(Some(json))
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

fn at_path<'v>(value: &'v Json, path: &[Step]) -> Value<'v> {
    let found = path.iter().try_fold(value, |value, step| match step {
        Step::Member(name) => value.as_object()?.get(name),
        Step::Item(index) => value.as_array()?.get(*index),
    });
    found.map_or(Value::Null, json_value)
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
