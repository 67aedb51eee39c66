//! What is remembered, and what is not.

use super::*;
use crate::catalog::{Collection, CollectionKey, Field, FieldKind};
use crate::event::{Action, RecordId, Transaction};

fn catalog(hidden: bool) -> Arc<Catalog> {
    let mut field = Field::new("id", FieldKind::Text);
    field.hidden = hidden;
    Arc::new(Catalog::new([Collection::new(
        CollectionKey(1),
        "posts",
        vec![field],
    )]))
}

fn position(text: &str) -> Position {
    text.parse().expect("a position")
}

/// A change by transaction `xid`; each transaction is a read of its own.
fn change(catalog: &Catalog, xid: u64, ends_transaction: bool) -> FeedItem {
    let collection = Arc::clone(catalog.get(CollectionKey(1)).expect("it"));
    let json = format!(r#"{{"id":"{xid}"}}"#);
    let image = parse_image(json.into(), &collection).expect("an image");
    let reached = if ends_transaction { xid + 1 } else { xid };
    FeedItem::Change(Arc::new(ChangeEvent {
        collection,
        action: Action::Create,
        id: RecordId(xid.to_string().into()),
        old: None,
        new: Some(image.image),
        transaction: Some(Transaction { end: xid, xid }),
        position: Some(position(&format!("e:{reached}:{reached}:"))),
        ends_transaction,
    }))
}

fn ids(history: &mut History, from: u64) -> Vec<String> {
    let catalog = catalog(false);
    let items = (from..history.end()).filter_map(|number| history.get(number, &catalog));
    let ids = items.filter_map(|item| match item {
        Remembered::Item(FeedItem::Change(event)) => Some(event.id.to_string()),
        _ => None,
    });
    ids.collect()
}

#[test]
fn who_is_within_reach_finds_its_place_and_others_do_not() {
    let catalog = catalog(false);
    let mut history = History::new(4, 1 << 20);
    assert_eq!(history.place_of(&position("e:1:1:")), None);
    history.note(&FeedItem::Passed(position("e:10:10:")));
    for xid in 10..16 {
        history.note(&change(&catalog, xid, true));
    }
    for (seen, expected) in [
        ("e:16:16:", Some("")),
        ("e:14:14:", Some("14 15")),
        ("e:12:12:", Some("12 13 14 15")),
        ("e:11:11:", None),
        ("f:16:16:", None),
    ] {
        let place = history.place_of(&position(seen));
        let found = place.map(|place| ids(&mut history, place).join(" "));
        assert_eq!(found.as_deref(), expected, "{seen}");
    }
}

#[test]
fn transactions_are_forgotten_whole() {
    let catalog = catalog(false);
    let mut history = History::new(4, 1 << 20);
    history.note(&FeedItem::Passed(position("e:10:10:")));
    for _ in 0..2 {
        history.note(&change(&catalog, 10, false));
    }
    history.note(&change(&catalog, 10, true));
    history.note(&change(&catalog, 11, true));
    history.note(&change(&catalog, 12, true));
    assert_eq!(history.place_of(&position("e:10:10:")), None);
    let place = history.place_of(&position("e:11:11:")).expect("a place");
    assert_eq!(ids(&mut history, place), ["11", "12"]);
    // One that is larger than the memory leaves nothing of itself.
    for _ in 0..9 {
        history.note(&change(&catalog, 13, false));
        assert_eq!(
            history.place_of(&position("e:13:13:")).is_some(),
            history.end() - history.first <= 4 && history.floor.is_some()
        );
    }
    history.note(&change(&catalog, 13, true));
    assert_eq!(history.place_of(&position("e:13:13:")), None);
    let place = history.place_of(&position("e:14:14:")).expect("a place");
    assert_eq!(place, history.end());
}

#[test]
fn a_remembered_row_is_shown_as_the_catalog_of_today_has_it() {
    let then = catalog(false);
    let mut history = History::new(4, 1 << 20);
    history.note(&FeedItem::Passed(position("e:10:10:")));
    history.note(&change(&then, 10, true));
    let today = catalog(true);
    let Some(Remembered::Item(FeedItem::Change(event))) = history.get(0, &today) else {
        panic!("the change is remembered");
    };
    assert!(event.collection.fields[0].hidden);
    let other = Field::new("name", FieldKind::Text);
    let mut key = Field::new("id", FieldKind::Text);
    key.hidden = true;
    let altered = Collection::new(CollectionKey(1), "posts", vec![other, key]);
    let altered = Arc::new(Catalog::new([altered]));
    assert!(matches!(
        history.get(0, &altered),
        Some(Remembered::Lost(_))
    ));
    assert!(matches!(
        history.get(0, &Arc::default()),
        Some(Remembered::Nothing)
    ));
}
