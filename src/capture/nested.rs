//! Order within a transaction: what triggers wrote goes behind what made them fire.
//!
//! A statement trigger appends its rows when the statement has ended, and by then the statements of the
//! table's other triggers have appended theirs: the log has the inner statement before the outer one.
//! For different records that is as good an order as any, and right for cascades, whose children are to go
//! before their parents. For one record it would be wrong, so its changes are put in the order in which
//! each begins with the row the one before it ended with.

use std::collections::{HashMap, VecDeque};

use super::told::Told;
use crate::catalog::CollectionKey;
use crate::event::{ChangeEvent, RecordId};

/// The changes of inner statements, and of the outer one that comes after them; with the messages that
/// triggers sent, each at its place.
#[derive(Debug, Default)]
pub(super) struct Nested {
    events: Vec<Told>,
    bytes: usize,
    /// Where the outer statement ended, once its first row has come.
    outer: Option<u64>,
}

impl Nested {
    /// Beyond this the log's own order has to do: a memory of any size would be needed else.
    const EVENTS_MAX: usize = 20_000;
    const BYTES_MAX: usize = 64 * 1024 * 1024;

    /// Whether changes are held back.
    pub(super) fn is_holding(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether a row that comes now, from a statement that ended at `lsn`, belongs to what is held.
    pub(super) fn goes_on(&self, nested: bool, lsn: u64) -> bool {
        self.outer.is_none_or(|outer| !nested && outer == lsn)
    }

    /// Notes that a row of the outer statement has come.
    pub(super) fn reach_outer(&mut self, lsn: u64) {
        self.outer = Some(lsn);
    }

    /// Holds changes back; `false` if these are more than can be held.
    pub(super) fn hold(&mut self, events: Vec<Told>) -> bool {
        self.bytes += events.iter().map(Told::bytes).sum::<usize>();
        self.events.extend(events);
        self.events.len() <= Self::EVENTS_MAX && self.bytes <= Self::BYTES_MAX
    }

    /// Gives back everything held, in order.
    pub(super) fn release(&mut self) -> Vec<Told> {
        let Self { events, .. } = std::mem::take(self);
        in_order(events)
    }
}

/// Puts the changes of each record in the order of their images; every record keeps its places.
fn in_order(events: Vec<Told>) -> Vec<Told> {
    let mut places: HashMap<(CollectionKey, RecordId), Vec<usize>> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        if let Some(change) = event.change() {
            let record = (change.collection.key, change.id.clone());
            places.entry(record).or_default().push(place);
        }
    }
    let mut source: Vec<usize> = (0..events.len()).collect();
    for places in places.values().filter(|places| places.len() > 1) {
        let of_record = places
            .iter()
            .filter_map(|&place| Some((place, events[place].change()?)));
        for (&place, from) in places.iter().zip(chain(of_record)) {
            source[place] = from;
        }
    }
    let mut events: Vec<Option<Told>> = events.into_iter().map(Some).collect();
    source
        .into_iter()
        .filter_map(|from| events[from].take())
        .collect()
}

/// The changes of one record, in the log's order, as a chain: an outer statement's change comes last
/// in the log and goes in front if its row is what the first one begins with.
fn chain<'e>(changes: impl Iterator<Item = (usize, &'e ChangeEvent)>) -> VecDeque<usize> {
    let mut chain: VecDeque<(usize, &ChangeEvent)> = VecDeque::new();
    for (place, event) in changes {
        let goes_first = match (chain.back(), chain.front()) {
            (Some((_, last)), Some((_, first))) => {
                let (append, prepend) = (fit(last, event), fit(event, first));
                prepend > append
            }
            _ => false,
        };
        if goes_first {
            chain.push_front((place, event));
        } else {
            chain.push_back((place, event));
        }
    }
    chain.into_iter().map(|(place, _)| place).collect()
}

/// How well one change follows another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It begins with another row than the first ended with.
    No,
    /// The first deleted the record, the second creates it.
    Absent,
    /// It begins with the very row that the first ended with.
    SameRow,
}

fn fit(first: &ChangeEvent, second: &ChangeEvent) -> Fit {
    match (&first.new, &second.old) {
        (Some(new), Some(old)) if new.json() == old.json() => Fit::SameRow,
        (None, None) => Fit::Absent,
        _ => Fit::No,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::Collection;
    use crate::event::{Action, Message, RowImage};

    fn change(id: &str, old: &str, new: &str) -> Told {
        let collection = Collection::new(CollectionKey(1), "posts", Vec::new());
        let image = |text: &str| (text != "-").then(|| RowImage::new(text.into(), Box::default()));
        let (old, new) = (image(old), image(new));
        let action = match (&old, &new) {
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            _ => Action::Update,
        };
        Told::Change(ChangeEvent {
            collection: Arc::new(collection),
            action,
            id: RecordId(id.into()),
            old,
            new,
            transaction: None,
            position: None,
            ends_transaction: false,
        })
    }

    fn message(topic: &str) -> Told {
        let envelope = format!(r#"{{"topic":"{topic}"}}"#);
        Told::Message(Message::read(&envelope, "{}", &Arc::default()).expect("a message"))
    }

    /// `x:a>b` is a change of record x from row a to row b; `-` is no row, and a word alone is a message.
    fn order(log: &str) -> String {
        let mut nested = Nested::default();
        let events = log
            .split(' ')
            .map(|text| {
                let Some((id, rows)) = text.split_once(':') else {
                    return message(text);
                };
                let (old, new) = rows.split_once('>').expect("two rows");
                change(id, old, new)
            })
            .collect();
        assert!(nested.hold(events));
        let text = |image: &Option<RowImage>| {
            let json = image.as_ref().map(RowImage::json);
            json.unwrap_or("-").to_owned()
        };
        let released = nested.release();
        assert!(!nested.is_holding());
        let texts: Vec<_> = released
            .iter()
            .map(|told| match told {
                Told::Change(event) => {
                    format!("{}:{}>{}", event.id, text(&event.old), text(&event.new))
                }
                Told::Message(message) => message.topic.to_string(),
            })
            .collect();
        texts.join(" ")
    }

    #[test]
    fn each_record_changes_from_row_to_row() {
        for (what, log, expected) in [
            (
                "no trigger wrote the same record",
                "c:-> p:a>b",
                "c:-> p:a>b",
            ),
            (
                "an update of what was inserted",
                "x:a>b x:->a",
                "x:->a x:a>b",
            ),
            ("three levels", "x:b>c x:a>b x:->a", "x:->a x:a>b x:b>c"),
            ("two inner ones", "x:a>b x:b>c x:->a", "x:->a x:a>b x:b>c"),
            ("deleted by a trigger", "x:a>- x:->a", "x:->a x:a>-"),
            ("inserted again", "x:->b x:a>-", "x:a>- x:->b"),
            ("in order already", "x:a>b x:b>c", "x:a>b x:b>c"),
            (
                "other records keep their places",
                "x:a>b y:c>d x:->a",
                "x:->a y:c>d x:a>b",
            ),
            ("nothing fits", "x:a>b x:c>d", "x:a>b x:c>d"),
            (
                "messages keep their places",
                "x:a>b chat x:->a",
                "x:->a chat x:a>b",
            ),
        ] {
            let log = log.replace(":-> ", ":->n ");
            let expected = expected.replace(":-> ", ":->n ");
            assert_eq!(order(&log), expected, "{what}");
        }
    }
}
