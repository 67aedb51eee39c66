//! What the sides of a comparison are, as far as advice wants to know.

use crate::catalog::{Collection, Field, FieldKind};
use crate::rules::ast::{Comparison, Operand, OperandKind, Span};
use crate::rules::macros::Macro;
use crate::rules::path::{Modifier, split_modifier};
use crate::rules::program::AuthMember;
use crate::rules::value::Value;

/// What names mean in one text.
pub(super) struct Meanings<'m> {
    pub(super) text: &'m str,
    pub(super) collection: &'m Collection,
}

/// One side of a comparison.
#[derive(Debug, Clone)]
pub(super) enum Meaning<'m> {
    /// A text, a number, `true`, `false` or `null`.
    Literal(Value<'static>),
    Macro,
    /// A member of `@request.auth`; empty for guests.
    Auth {
        /// Its name, without modifier and path.
        member: &'m str,
        modifier: Option<Modifier>,
        has_path: bool,
    },
    /// `@request.query` or `@request.headers`; `number` if the name is that of a number field.
    Option {
        number: bool,
    },
    /// The record's own id.
    Id {
        modifier: Option<Modifier>,
    },
    Field {
        field: &'m Field,
        modifier: Option<Modifier>,
    },
    /// Inside a JSON field.
    JsonPath,
    /// Values of other records, what functions give, and what else there is.
    Other,
}

impl<'m> Meanings<'m> {
    /// A piece of the text as it was written.
    pub(super) fn written(&self, span: Span) -> &'m str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// A whole comparison as it was written.
    pub(super) fn written_comparison(&self, comparison: &Comparison) -> &'m str {
        self.written(span_of(comparison))
    }

    pub(super) fn of(&self, operand: &'m Operand) -> Meaning<'m> {
        match &operand.kind {
            OperandKind::Number(number) => Meaning::Literal(Value::Real(*number)),
            OperandKind::Text(text) => Meaning::Literal(Value::text(text.clone())),
            OperandKind::Call(_) => Meaning::Other,
            OperandKind::Name(name) => self.of_name(name),
        }
    }

    fn of_name(&self, name: &'m str) -> Meaning<'m> {
        if Macro::parse(name).is_some() {
            return Meaning::Macro;
        }
        if let Some(member) = name.strip_prefix("@request.auth.") {
            return auth(member);
        }
        let option = ["@request.query.", "@request.headers."];
        if let Some(option) = option.iter().find_map(|place| name.strip_prefix(place)) {
            return self.option(option);
        }
        if name.starts_with('@') {
            return Meaning::Other;
        }
        match name.split_once('.') {
            None => self.field(name),
            Some((first, _)) => match self.find(first).map(|field| &field.kind) {
                Some(FieldKind::Json) => Meaning::JsonPath,
                _ => Meaning::Other,
            },
        }
    }

    fn find(&self, name: &str) -> Option<&'m Field> {
        let mut fields = self.collection.fields.iter();
        fields.find(|field| &*field.name == name)
    }

    fn field(&self, segment: &'m str) -> Meaning<'m> {
        let Ok((name, modifier)) = split_modifier(segment) else {
            return Meaning::Other;
        };
        if name == "id" {
            return Meaning::Id { modifier };
        }
        match self.find(name) {
            Some(field) => Meaning::Field { field, modifier },
            None => word(segment).map_or(Meaning::Other, Meaning::Literal),
        }
    }

    fn option(&self, name: &'m str) -> Meaning<'m> {
        match split_modifier(name) {
            Ok((_, Some(Modifier::IsSet))) | Err(_) => Meaning::Other,
            Ok((name, _)) => Meaning::Option {
                number: self
                    .find(name)
                    .is_some_and(|field| field.kind == FieldKind::Number),
            },
        }
    }
}

impl Meaning<'_> {
    /// Whether it is `null` or an empty text.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Self::Literal(value) => value.is_null() || *value == Value::text(""),
            _ => false,
        }
    }

    /// The text it is, unless that is empty.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Literal(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Whether it is a number as written, not `true` or `false`.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Literal(Value::Real(_)))
    }

    pub(super) fn is_auth(&self) -> bool {
        matches!(self, Self::Auth { .. })
    }

    /// Whether it is the id of whoever asks.
    pub(super) fn is_auth_id(&self) -> bool {
        matches!(self, Self::Auth { member: "id", .. })
    }

    /// Whether it has one value that is known before a record is looked at.
    pub(super) fn is_single(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Macro | Self::Option { .. } => true,
            // Others may hold lists themselves.
            Self::Auth { member, .. } => AuthMember::parse(member).is_some(),
            _ => false,
        }
    }
}

pub(super) fn span_of(comparison: &Comparison) -> Span {
    comparison.left.span.to(comparison.right.span)
}

fn auth(member: &str) -> Meaning<'_> {
    let (first, has_path) = match member.split_once('.') {
        Some((first, _)) => (first, true),
        None => (member, false),
    };
    match split_modifier(first) {
        Ok((member, modifier)) => Meaning::Auth {
            member,
            modifier,
            has_path,
        },
        Err(_) => Meaning::Other,
    }
}

fn word(text: &str) -> Option<Value<'static>> {
    match text.to_ascii_lowercase().as_str() {
        "null" => Some(Value::Null),
        "true" => Some(Value::bool(true)),
        "false" => Some(Value::bool(false)),
        _ => None,
    }
}
