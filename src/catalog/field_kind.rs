//! From Postgres' types to the kinds of field a record knows.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ColumnType, FieldKind, TypeClass};

/// What the loader reads of one row of `pg_type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PgType {
    /// `oid`.
    pub oid: u32,
    /// As `format_type` writes it, qualified unless Postgres' own.
    pub name: Arc<str>,
    /// `typtype`: `b`ase, `c`omposite, `d`omain, `e`num, `m`ultirange, `p`seudo, `r`ange.
    pub typtype: char,
    /// `typcategory`; `A` for arrays.
    pub category: char,
    /// `typelem`: what an array holds; 0 if nothing.
    pub element: u32,
    /// `typbasetype`: what a domain stands on; 0 if it is none.
    pub base: u32,
    /// Whether `pg_cast` has a function from this type to `json`: then `row_to_json` uses it, and
    /// the value may be any JSON (hstore, PostGIS geometry).
    pub casts_to_json: bool,
}

impl PgType {
    /// Not every type with an element is an array: `point` and `name` have one, too.
    fn is_array(&self) -> bool {
        self.typtype == 'b' && self.category == 'A' && self.element != 0
    }
}

/// The types in use, with the base types of domains and the element types of arrays.
#[derive(Debug, Default)]
pub(super) struct PgTypes(HashMap<u32, PgType>);

impl FromIterator<PgType> for PgTypes {
    fn from_iter<I: IntoIterator<Item = PgType>>(types: I) -> Self {
        Self(types.into_iter().map(|each| (each.oid, each)).collect())
    }
}

impl PgTypes {
    /// Postgres allows domains over domains and arrays of domains; more levels than this are
    /// nobody's schema.
    const DEPTH_MAX: usize = 32;

    /// How values of type `oid` are written. A type that is not in the table is text.
    pub(super) fn field_kind(&self, oid: u32) -> FieldKind {
        self.kind_at(oid, 0)
    }

    /// What texts are compared with: of an array its elements, of a domain what it stands on.
    pub(super) fn column_type(&self, oid: u32) -> ColumnType {
        let base = self.base(oid);
        let element = base.filter(|each| each.is_array());
        match element.map_or(base, |array| self.base(array.element)) {
            Some(each) => ColumnType {
                sql: Arc::clone(&each.name),
                class: type_class(each.oid),
            },
            None => ColumnType {
                class: TypeClass::Other,
                ..ColumnType::default()
            },
        }
    }

    /// The type at the bottom of domains over domains.
    fn base(&self, oid: u32) -> Option<&PgType> {
        let mut each = self.0.get(&oid)?;
        for _ in 0..Self::DEPTH_MAX {
            if each.typtype != 'd' {
                return Some(each);
            }
            each = self.0.get(&each.base)?;
        }
        None
    }

    fn kind_at(&self, oid: u32, depth: usize) -> FieldKind {
        let Some(each) = self.0.get(&oid).filter(|_| depth < Self::DEPTH_MAX) else {
            return builtin_kind(oid);
        };
        match each.typtype {
            'd' => self.kind_at(each.base, depth + 1),
            'c' => FieldKind::Json,
            _ if each.is_array() => {
                FieldKind::Array(Box::new(self.kind_at(each.element, depth + 1)))
            }
            'b' if each.casts_to_json && oid >= FIRST_USER_OID => FieldKind::Json,
            _ => builtin_kind(oid),
        }
    }
}

/// Which texts are values of a type that stands on no other.
fn type_class(oid: u32) -> TypeClass {
    match oid {
        // int8, int2, int4
        20 | 21 | 23 => TypeClass::Integer,
        // name, text, bpchar, varchar
        19 | 25 | 1042 | 1043 => TypeClass::Text,
        2950 => TypeClass::Uuid,
        _ => TypeClass::Other,
    }
}

/// `row_to_json` looks for casts to `json` only from here on (`FirstNormalObjectId`).
const FIRST_USER_OID: u32 = 16_384;

/// The built-in types that are more than text; their numbers never change.
fn builtin_kind(oid: u32) -> FieldKind {
    match oid {
        16 => FieldKind::Bool,
        // int8, int2, int4, oid, float4, float8, numeric
        20 | 21 | 23 | 26 | 700 | 701 | 1700 => FieldKind::Number,
        // date, timestamp, timestamptz
        1082 | 1114 | 1184 => FieldKind::Date,
        // json, jsonb, record
        114 | 3802 | 2249 => FieldKind::Json,
        _ => FieldKind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `pg_type` of Postgres 15 has it: name, oid, typtype, typcategory, typelem.
    const BUILT_IN: &[(&str, u32, char, char, u32)] = &[
        ("bool", 16, 'b', 'B', 0),
        ("bytea", 17, 'b', 'U', 0),
        ("char", 18, 'b', 'Z', 0),
        ("name", 19, 'b', 'S', 18),
        ("int8", 20, 'b', 'N', 0),
        ("int2", 21, 'b', 'N', 0),
        ("int2vector", 22, 'b', 'A', 21),
        ("int4", 23, 'b', 'N', 0),
        ("text", 25, 'b', 'S', 0),
        ("oid", 26, 'b', 'N', 0),
        ("oidvector", 30, 'b', 'A', 26),
        ("json", 114, 'b', 'U', 0),
        ("xml", 142, 'b', 'U', 0),
        ("point", 600, 'b', 'G', 701),
        ("lseg", 601, 'b', 'G', 600),
        ("path", 602, 'b', 'G', 0),
        ("box", 603, 'b', 'G', 600),
        ("polygon", 604, 'b', 'G', 0),
        ("line", 628, 'b', 'G', 701),
        ("cidr", 650, 'b', 'I', 0),
        ("float4", 700, 'b', 'N', 0),
        ("float8", 701, 'b', 'N', 0),
        ("circle", 718, 'b', 'G', 0),
        ("macaddr8", 774, 'b', 'U', 0),
        ("money", 790, 'b', 'N', 0),
        ("macaddr", 829, 'b', 'U', 0),
        ("inet", 869, 'b', 'I', 0),
        ("_bool", 1000, 'b', 'A', 16),
        ("_int4", 1007, 'b', 'A', 23),
        ("_text", 1009, 'b', 'A', 25),
        ("bpchar", 1042, 'b', 'S', 0),
        ("varchar", 1043, 'b', 'S', 0),
        ("date", 1082, 'b', 'D', 0),
        ("time", 1083, 'b', 'D', 0),
        ("timestamp", 1114, 'b', 'D', 0),
        ("timestamptz", 1184, 'b', 'D', 0),
        ("_timestamptz", 1185, 'b', 'A', 1184),
        ("interval", 1186, 'b', 'T', 0),
        ("timetz", 1266, 'b', 'D', 0),
        ("bit", 1560, 'b', 'V', 0),
        ("varbit", 1562, 'b', 'V', 0),
        ("numeric", 1700, 'b', 'N', 0),
        ("regclass", 2205, 'b', 'N', 0),
        ("record", 2249, 'p', 'P', 0),
        ("uuid", 2950, 'b', 'U', 0),
        ("pg_lsn", 3220, 'b', 'U', 0),
        ("tsvector", 3614, 'b', 'U', 0),
        ("tsquery", 3615, 'b', 'U', 0),
        ("jsonb", 3802, 'b', 'U', 0),
        ("_jsonb", 3807, 'b', 'A', 3802),
        ("int4range", 3904, 'r', 'R', 0),
        ("tstzrange", 3910, 'r', 'R', 0),
        ("jsonpath", 4072, 'b', 'U', 0),
        ("int4multirange", 4451, 'm', 'R', 0),
        ("xid8", 5069, 'b', 'U', 0),
    ];

    fn types(own: impl IntoIterator<Item = PgType>) -> PgTypes {
        let built_in = BUILT_IN
            .iter()
            .map(|&(name, oid, typtype, category, element)| PgType {
                oid,
                name: name.into(),
                typtype,
                category,
                element,
                base: 0,
                // `jsonb` has one, and must not be the reason for what becomes of it.
                casts_to_json: true,
            });
        built_in.chain(own).collect()
    }

    fn own(oid: u32, typtype: char, category: char) -> PgType {
        PgType {
            oid,
            name: format!("own.t{oid}").into(),
            typtype,
            category,
            element: 0,
            base: 0,
            casts_to_json: false,
        }
    }

    fn array(element: FieldKind) -> FieldKind {
        FieldKind::Array(Box::new(element))
    }

    #[test]
    fn built_in_types_have_their_kinds() {
        let types = types([]);
        for &(name, oid, ..) in BUILT_IN {
            let expected = match name {
                "bool" => FieldKind::Bool,
                "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "oid" => {
                    FieldKind::Number
                }
                "date" | "timestamp" | "timestamptz" => FieldKind::Date,
                "json" | "jsonb" | "record" => FieldKind::Json,
                "_bool" => array(FieldKind::Bool),
                "_int4" | "int2vector" | "oidvector" => array(FieldKind::Number),
                "_text" => array(FieldKind::Text),
                "_timestamptz" => array(FieldKind::Date),
                "_jsonb" => array(FieldKind::Json),
                _ => FieldKind::Text,
            };
            assert_eq!(types.field_kind(oid), expected, "{name}");
        }
    }

    #[test]
    fn types_of_the_users_own_have_their_kinds() {
        let types = types([
            own(20_001, 'e', 'E'),
            own(20_002, 'c', 'C'),
            own(20_003, 'r', 'R'),
            own(20_004, 'b', 'U'),
            PgType {
                casts_to_json: true,
                ..own(20_005, 'b', 'U')
            },
            PgType {
                element: 20_002,
                ..own(20_006, 'b', 'A')
            },
            PgType {
                base: 20_009,
                ..own(20_008, 'd', 'N')
            },
            PgType {
                base: 23,
                ..own(20_009, 'd', 'N')
            },
            PgType {
                base: 1009,
                ..own(20_010, 'd', 'A')
            },
            PgType {
                element: 20_010,
                ..own(20_011, 'b', 'A')
            },
        ]);
        for (what, oid, expected) in [
            ("enum", 20_001, FieldKind::Text),
            ("composite", 20_002, FieldKind::Json),
            ("range", 20_003, FieldKind::Text),
            ("extension type", 20_004, FieldKind::Text),
            ("extension type with cast to json", 20_005, FieldKind::Json),
            ("array of composites", 20_006, array(FieldKind::Json)),
            ("domain over domain over int4", 20_008, FieldKind::Number),
            ("domain over text[]", 20_010, array(FieldKind::Text)),
            (
                "array of a domain over text[]",
                20_011,
                array(array(FieldKind::Text)),
            ),
            ("unknown", 99_999, FieldKind::Text),
        ] {
            assert_eq!(types.field_kind(oid), expected, "{what}");
        }
    }

    #[test]
    fn texts_are_compared_with_elements_and_with_what_domains_stand_on() {
        let types = types([
            own(20_001, 'e', 'E'),
            PgType {
                base: 20_003,
                ..own(20_002, 'd', 'N')
            },
            PgType {
                base: 20,
                ..own(20_003, 'd', 'N')
            },
            PgType {
                element: 20_002,
                ..own(20_004, 'b', 'A')
            },
            PgType {
                base: 1009,
                ..own(20_005, 'd', 'A')
            },
            PgType {
                element: 20_005,
                ..own(20_006, 'b', 'A')
            },
        ]);
        for (what, oid, sql, class) in [
            ("int2", 21, "int2", TypeClass::Integer),
            ("int4", 23, "int4", TypeClass::Integer),
            ("int8", 20, "int8", TypeClass::Integer),
            ("uuid", 2950, "uuid", TypeClass::Uuid),
            ("name", 19, "name", TypeClass::Text),
            ("text", 25, "text", TypeClass::Text),
            ("bpchar", 1042, "bpchar", TypeClass::Text),
            ("varchar", 1043, "varchar", TypeClass::Text),
            ("numeric", 1700, "numeric", TypeClass::Other),
            ("int4[]", 1007, "int4", TypeClass::Integer),
            ("enum", 20_001, "own.t20001", TypeClass::Other),
            ("domain over domain", 20_002, "int8", TypeClass::Integer),
            ("array of a domain", 20_004, "int8", TypeClass::Integer),
            ("domain over text[]", 20_005, "text", TypeClass::Text),
            ("array of arrays", 20_006, "_text", TypeClass::Other),
            ("unknown", 99_999, "text", TypeClass::Other),
        ] {
            let sql = sql.into();
            assert_eq!(types.column_type(oid), ColumnType { sql, class }, "{what}");
        }
    }

    #[test]
    fn a_domain_that_stands_on_itself_is_text() {
        let types = types([PgType {
            base: 20_001,
            ..own(20_001, 'd', 'U')
        }]);
        assert_eq!(types.field_kind(20_001), FieldKind::Text);
        assert_eq!(types.column_type(20_001).class, TypeClass::Other);
    }
}
