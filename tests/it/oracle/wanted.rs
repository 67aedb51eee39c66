//! What a client asks for: topics of all kinds, with all options.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::policy::{FILTERS, Kind, Pair, Who};
use super::world::Collection;

/// How a client comes back after its connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As the SDKs do: what happened meanwhile is nobody's business.
    Anew,
    /// As an EventSource that names its subscriptions in the URL, with the last id it received.
    EventSource,
    /// As the SDKs do, each topic with a resume key.
    Keyed,
}

impl Manner {
    pub fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0..=2 => Self::Anew,
            3..=6 => Self::EventSource,
            _ => Self::Keyed,
        }
    }

    /// Whether it is owed what it missed.
    pub fn goes_on(self) -> bool {
        self != Self::Anew
    }
}

/// One topic of a client, with its options.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The whole string, which is also the name of its events.
    pub name: String,
    /// Places of the collections it speaks of.
    pub collections: Vec<usize>,
    pub kind: Kind,
    /// The one record it is about.
    pub id: Option<String>,
    pub filter: Option<Pair>,
    pub fields: Option<&'static [&'static str]>,
    pub leave: bool,
    pub snapshot: bool,
    /// A resume key that counts.
    pub is_keyed: bool,
}

const FIELDS: [&[&str]; 2] = [
    &["id", "v", "collectionName"],
    &["id", "v", "collectionName", "title", "secret", "n"],
];

impl Wanted {
    /// Draws one to four topics of all kinds.
    pub fn draw(
        rng: &mut StdRng,
        who: Who,
        manner: Manner,
        collections: &[Collection],
    ) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for _ in 0..rng.random_range(1..=4) {
            let wanted = Self::one(rng, who, manner, collections);
            if all.iter().all(|other| other.name != wanted.name) {
                all.push(wanted);
            }
        }
        all
    }

    fn one(rng: &mut StdRng, who: Who, manner: Manner, collections: &[Collection]) -> Self {
        let at = rng.random_range(0..collections.len());
        let collection = &collections[at];
        let called = if rng.random_bool(0.8) {
            collection.name
        } else {
            &collection.collection_id
        };
        let filter = rng
            .random_bool(0.4)
            .then(|| FILTERS[rng.random_range(0..FILTERS.len())]);
        let fields = rng
            .random_bool(0.25)
            .then(|| FIELDS[rng.random_range(0..FIELDS.len())]);
        let (leave, snapshot) = (rng.random_bool(0.4), rng.random_bool(0.2));
        let (topic, id) = match rng.random_range(0..8) {
            0..=2 => (format!("{called}/*"), None),
            3..=4 => (called.to_owned(), None),
            // Superusers would hear of people and marks, too.
            5 if who != Who::Superuser => ("*".to_owned(), None),
            _ => {
                let id = collection.key.id(rng.random_range(0..12));
                (format!("{called}/{id}"), Some(id))
            }
        };
        // There is none of everything.
        let snapshot = snapshot && topic != "*";
        let mut query = Map::new();
        let mut set = |name: &str, value: Option<String>| {
            query.extend(value.map(|value| (name.to_owned(), Value::from(value))));
        };
        set("filter", filter.map(|filter| filter.text.to_owned()));
        set("fields", fields.map(|fields| fields.join(",")));
        set("leave", leave.then(|| "1".to_owned()));
        set("snapshot", snapshot.then(|| "true".to_owned()));
        // A key of its own each time: nobody has been here before.
        let key = (manner == Manner::Keyed).then(|| format!("{:032x}", rng.random::<u128>()));
        set("resume", key);
        Self {
            collections: if topic == "*" {
                (0..collections.len()).collect()
            } else {
                vec![at]
            },
            kind: if id.is_some() { Kind::View } else { Kind::List },
            name: with_options(topic, query),
            id,
            filter,
            fields,
            leave,
            snapshot,
            is_keyed: manner == Manner::Keyed && !snapshot,
        }
    }
}

fn with_options(topic: String, query: Map<String, Value>) -> String {
    if query.is_empty() {
        return topic;
    }
    let options = json!({ "query": query }).to_string();
    let encoded: String = form_urlencoded::byte_serialize(options.as_bytes()).collect();
    format!("{topic}?options={encoded}")
}
