//! Where fields point to: by foreign keys, or because somebody declared it.

use std::collections::HashMap;

use tokio_postgres::{GenericClient, Row};

use super::{Collection, CollectionKey, ColumnType, Relation, TypeClass};

const LOAD_RELATIONS: &str = include_str!("../../sql/catalog/load_relations.sql");

/// What the database itself says of single columns.
pub(super) struct Links(Vec<Link>);

struct Link {
    key: CollectionKey,
    field: String,
    /// What it refers to; `None`: the column is unique by itself.
    target: Option<(CollectionKey, String)>,
}

/// What somebody has declared about one collection.
pub(super) struct Declared {
    key: CollectionKey,
    /// Column and collection, or name and path.
    entries: Vec<(String, String)>,
}

impl Declared {
    /// Reads them off the row of the collection.
    pub(super) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let names: Vec<String> = row.try_get("relation_names")?;
        let targets: Vec<String> = row.try_get("relation_targets")?;
        Ok(Self {
            key: CollectionKey(row.try_get("key")?),
            entries: names.into_iter().zip(targets).collect(),
        })
    }

    /// Whether the value of an entry is a path, not a collection.
    fn is_path(target: &str) -> bool {
        target.contains('.')
    }
}

impl Links {
    /// Reads foreign keys and unique columns as a transaction sees them.
    pub(super) async fn load(client: &impl GenericClient) -> Result<Self, tokio_postgres::Error> {
        let rows = client.query(LOAD_RELATIONS, &[]).await?;
        rows.iter()
            .map(Link::read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Writes into the fields what they point to and whether they are unique. What is declared goes
    /// before foreign keys, also if it leads nowhere.
    pub(super) fn settle(&self, collections: &mut [Collection], declared: &[Declared]) {
        let places = Places::new(collections);
        let by_key: Vec<_> = self
            .0
            .iter()
            .map(|link| (link, link.relation(collections, &places)))
            .collect();
        let by_hand: Vec<_> = declared
            .iter()
            .flat_map(|each| each.relations(collections, &places))
            .collect();
        for (link, relation) in by_key {
            let Some((collection, field)) = places.field(collections, link.key, &link.field) else {
                continue;
            };
            let field = &mut collections[collection].fields[field];
            field.unique |= link.target.is_none();
            // The first of several foreign keys counts.
            field.relation = field.relation.take().or(relation);
        }
        for (collection, field, relation) in by_hand {
            collections[collection].fields[field].relation = relation;
        }
        for each in declared {
            if let Some(&place) = places.by_key.get(&each.key) {
                name_paths(&mut collections[place], each);
            }
        }
    }
}

impl Link {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let target: Option<i32> = row.try_get("target")?;
        let target_field: Option<String> = row.try_get("target_field")?;
        Ok(Self {
            key: CollectionKey(row.try_get("key")?),
            field: row.try_get("field")?,
            target: target.map(CollectionKey).zip(target_field),
        })
    }

    /// Where it leads; `None` if one of its ends is no field, or holds several values.
    fn relation(&self, collections: &[Collection], places: &Places) -> Option<Relation> {
        let (target, target_field) = self.target.as_ref()?;
        let single = |key, name| {
            let (collection, field) = places.field(collections, key, name)?;
            let field = &collections[collection].fields[field];
            (!field.is_list()).then_some(field)
        };
        single(self.key, &self.field)?;
        Some(Relation {
            collection: *target,
            field: single(*target, target_field)?.name.clone(),
        })
    }
}

impl Declared {
    /// For each column that is declared one: where it leads, or that it leads nowhere.
    fn relations<'a>(
        &'a self,
        collections: &'a [Collection],
        places: &'a Places,
    ) -> impl Iterator<Item = (usize, usize, Option<Relation>)> + 'a {
        let columns = self.entries.iter().filter(|(_, to)| !Self::is_path(to));
        columns.filter_map(move |(column, target)| {
            let (collection, field) = places.field(collections, self.key, column)?;
            let column_type = &collections[collection].fields[field].column_type;
            let relation = key_of(collections, places, target, column_type);
            Some((collection, field, relation))
        })
    }
}

/// The key of a collection, for a column of this type; `None` if there is no such collection, or its
/// key is not one column of a type like it.
fn key_of(
    collections: &[Collection],
    places: &Places,
    name: &str,
    column_type: &ColumnType,
) -> Option<Relation> {
    let target = &collections[*places.by_name.get(name)?];
    let &[key] = &*target.key_fields else {
        return None;
    };
    let key = &target.fields[key];
    (!key.is_list() && comparable(column_type, &key.column_type)).then(|| Relation {
        collection: target.key,
        field: key.name.clone(),
    })
}

/// Whether equal values have equal texts.
fn comparable(one: &ColumnType, other: &ColumnType) -> bool {
    one.class == other.class && (one.class != TypeClass::Other || one.sql == other.sql)
}

/// A column that was added later takes its name back.
fn name_paths(collection: &mut Collection, declared: &Declared) {
    for (name, path) in &declared.entries {
        if Declared::is_path(path) && collection.field(name).is_none() {
            let (name, path) = (name.as_str().into(), path.as_str().into());
            collection.aliases.insert(name, path);
        }
    }
}

/// Where collections stand in the slice.
struct Places {
    by_key: HashMap<CollectionKey, usize>,
    by_name: HashMap<String, usize>,
}

impl Places {
    fn new(collections: &[Collection]) -> Self {
        let numbered = || collections.iter().enumerate();
        Self {
            by_key: numbered().map(|(place, each)| (each.key, place)).collect(),
            by_name: numbered()
                .map(|(place, each)| (each.name.to_string(), place))
                .collect(),
        }
    }

    /// Collection and field by position.
    fn field(
        &self,
        collections: &[Collection],
        key: CollectionKey,
        name: &str,
    ) -> Option<(usize, usize)> {
        let place = *self.by_key.get(&key)?;
        Some((place, collections[place].field(name)?))
    }
}
