//! A random schema: tables of several kinds of keys that hang on each other, and what their records look like.

use rand::RngExt;
use rand::rngs::StdRng;

/// The people who may be logged in; their rows change between phases only.
pub const PEOPLE: [&str; 4] = ["p0", "p1", "p2", "p3"];
/// What they belong to.
pub const TEAMS: [&str; 3] = ["red", "blue", "green"];

/// A watched table.
#[derive(Debug, Clone)]
pub struct Collection {
    pub name: &'static str,
    pub key: Key,
    /// Whether it refers to `boxes`.
    pub is_child: bool,
    /// The key of `boxes`.
    boxes: Key,
    on_delete: &'static str,
    partitions: bool,
    /// What topics may name it by, besides its name.
    pub collection_id: String,
}

/// The kinds of keys. Each is made from an integer, the column `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Integer,
    Bigint,
    Text,
    Uuid,
    /// Two columns, in another order than the table has them.
    Composite,
}

impl Key {
    fn column(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Composite => unreachable!("nothing refers to a composite key"),
        }
    }

    fn definition(self) -> String {
        match self {
            Self::Composite => "a integer not null, b text not null".to_owned(),
            single => format!("id {} not null", single.column()),
        }
    }

    /// The key's columns, in the order of the key.
    pub fn columns(self) -> &'static str {
        match self {
            Self::Composite => "b, a",
            _ => "id",
        }
    }

    /// What the key's columns are for the integer that `k` computes.
    pub fn values(self, k: &str) -> Vec<String> {
        match self {
            Self::Integer | Self::Bigint => vec![k.to_owned()],
            Self::Text => vec![format!("'k ' || ({k})")],
            Self::Uuid => vec![format!("lpad(to_hex({k}), 32, '0')::uuid")],
            Self::Composite => vec![format!("'b' || ({k}) % 3"), k.to_owned()],
        }
    }

    /// The record's id for an integer.
    pub fn id(self, k: u32) -> String {
        match self {
            Self::Integer | Self::Bigint => k.to_string(),
            Self::Text => format!("k {k}"),
            Self::Uuid => {
                let hex = format!("{k:032x}");
                format!(
                    "{}-{}-{}-{}-{}",
                    &hex[..8],
                    &hex[8..12],
                    &hex[12..16],
                    &hex[16..20],
                    &hex[20..]
                )
            }
            Self::Composite => format!("b{},{k}", k % 3),
        }
    }
}

impl Collection {
    /// Draws two to four tables.
    pub fn draw(rng: &mut StdRng) -> Vec<Self> {
        const SINGLE: [Key; 4] = [Key::Integer, Key::Bigint, Key::Text, Key::Uuid];
        const ALL: [Key; 5] = [
            Key::Integer,
            Key::Bigint,
            Key::Text,
            Key::Uuid,
            Key::Composite,
        ];
        let count = rng.random_range(2..=4);
        let names = ["boxes", "items", "notes", "parts"];
        let boxes = SINGLE[rng.random_range(0..SINGLE.len())];
        let table = |rng: &mut StdRng, name| Self {
            name,
            boxes,
            key: if name == "boxes" {
                boxes
            } else {
                ALL[rng.random_range(0..ALL.len())]
            },
            is_child: matches!(name, "items" | "notes"),
            on_delete: if name == "items" {
                "cascade"
            } else {
                "set null"
            },
            partitions: name == "parts",
            collection_id: String::new(),
        };
        let mut tables: Vec<_> = names[..3].iter().map(|name| table(rng, *name)).collect();
        tables.truncate(count);
        if count > 2 && rng.random_bool(0.7) {
            tables.push(table(rng, "parts"));
        }
        tables
    }

    /// The statements that make the table and the oracle's triggers, and attach it.
    pub fn definition(&self) -> String {
        let name = self.name;
        let parent = if self.is_child {
            format!(
                ", box {} references boxes on update cascade on delete {}",
                self.boxes.column(),
                self.on_delete
            )
        } else {
            String::new()
        };
        let partitions = if self.partitions {
            format!(" partition by hash ({})", self.key.columns())
        } else {
            String::new()
        };
        let mut sql = format!(
            "create table {name} ({}, k integer not null, n integer not null, title text, status text not null,
                owner text references people, watchers text[] not null, secret text not null, v bigint not null
                {parent}, primary key ({})){partitions};\n",
            self.key.definition(),
            self.key.columns(),
        );
        if self.partitions {
            for part in 0..3 {
                sql += &format!(
                    "create table {name}_{part} partition of {name} for values with (modulus 3, remainder {part});\n"
                );
            }
        }
        let composite = self.key == Key::Composite;
        sql += &format!(
            "create trigger a_stamp before insert or update on {name} for each row execute function oracle.stamp();
             create trigger a_note after insert or update or delete on {name}
                for each row execute function oracle.note('{name}', '{composite}');
             create trigger a_note_truncate before truncate on {name}
                execute function oracle.note_truncate('{name}', '{composite}');
             select rowcast.attach('{name}', hidden => array['secret'], relations => '{{\"watchers\": \"people\"}}');\n"
        );
        sql
    }

    /// The record as JSON, computed by Postgres from the row `r`.
    pub fn record(&self, shows_hidden: bool, fields: Option<&[&str]>) -> String {
        let (name, id) = (self.name, &self.collection_id);
        let mut members = vec![
            (
                "id",
                format!("oracle.id_of(r, {})", self.key == Key::Composite),
            ),
            ("collectionName", format!("'{name}'")),
            ("collectionId", format!("'{id}'")),
            ("title", "coalesce(r->>'title', '')".to_owned()),
            ("owner", "coalesce(r->>'owner', '')".to_owned()),
        ];
        for plain in ["k", "n", "v", "status", "watchers"] {
            members.push((plain, format!("r->'{plain}'")));
        }
        if self.key == Key::Composite {
            members.extend([("a", "r->'a'".to_owned()), ("b", "r->'b'".to_owned())]);
        }
        if self.is_child {
            // A reference is shown as its column: an integer as a number.
            let empty = match self.boxes {
                Key::Integer | Key::Bigint => "'0'",
                _ => "'\"\"'",
            };
            let sql = format!("coalesce(nullif(r->'box', 'null'), {empty}::jsonb)");
            members.push(("box", sql));
        }
        if shows_hidden {
            members.push(("secret", "r->'secret'".to_owned()));
        }
        members.retain(|(name, _)| fields.is_none_or(|fields| fields.contains(name)));
        object(&members)
    }

    /// What is said of a record that leaves.
    pub fn leaving(&self) -> String {
        object(&[
            (
                "id",
                format!("oracle.id_of(r, {})", self.key == Key::Composite),
            ),
            ("collectionName", format!("'{}'", self.name)),
            ("collectionId", format!("'{}'", self.collection_id)),
        ])
    }
}

fn object(members: &[(&str, String)]) -> String {
    let pairs: Vec<_> = members
        .iter()
        .map(|(name, sql)| format!("'{name}', {sql}"))
        .collect();
    format!("jsonb_build_object({})", pairs.join(", "))
}
