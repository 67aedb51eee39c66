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
    let Some(Remembered::Item(FeedItem::Change(event))) = history.get(BEGIN, &today) else {
        panic!("the change is remembered");
    };
    assert!(event.collection.fields[0].hidden);
    let other = Field::new("name", FieldKind::Text);
    let mut key = Field::new("id", FieldKind::Text);
    key.hidden = true;
    let altered = Collection::new(CollectionKey(1), "posts", vec![other, key]);
    let altered = Arc::new(Catalog::new([altered]));
    assert!(matches!(
        history.get(BEGIN, &altered),
        Some(Remembered::Lost(_))
    ));
    assert!(matches!(
        history.get(BEGIN, &Arc::default()),
        Some(Remembered::Nothing)
    ));
}

/// A change as the log tells it later: a read from one place to another has many transactions.
fn told_later(catalog: &Catalog, end: u64, xid: u64) -> FeedItem {
    let FeedItem::Change(event) = change(catalog, xid, true) else {
        panic!("it is a change");
    };
    FeedItem::Change(Arc::new(ChangeEvent {
        transaction: Some(Transaction { end, xid }),
        position: None,
        ..(*event).clone()
    }))
}

/// Memory that began with `began`, and was told what happened from `floor` on: transactions with these ids, in this order.
fn recalled(began: &str, floor: &str, xids: &[u64]) -> (History, usize) {
    let catalog = catalog(false);
    let mut history = History::new(10, 1 << 20);
    history.note(&FeedItem::Passed(position(began)));
    let mut earlier = Earlier::until(position(began), history.earlier_bytes_max());
    earlier.begin(position(floor));
    for (end, xid) in xids.iter().enumerate() {
        earlier.push(told_later(&catalog, end as u64, *xid));
    }
    let count = history.recall(earlier);
    (history, count)
}

#[test]
fn what_happened_before_memory_began_serves_whoever_has_the_rest() {
    // 12 was in progress when memory began, and is for the feed to tell; 11 stands behind 14, for it ended later.
    let (mut history, count) = recalled("e:12:17:12", "e:10:10:", &[10, 13, 12, 14, 11, 16]);
    assert_eq!(count, 5);
    history.note(&change(&catalog(false), 17, true));
    for (seen, expected) in [
        ("e:12:17:12", Some("17")),
        ("e:10:10:", Some("10 13 14 11 16 17")),
        ("e:11:14:11,12", Some("14 11 16 17")),
        ("e:11:15:11,12", Some("11 16 17")),
        // Behind what it misses stands what it has: that is left out for each subscriber by itself.
        ("e:12:14:12", Some("14 11 16 17")),
        ("e:9:10:9", None),
        ("e:9:9:", None),
        ("f:12:17:12", None),
    ] {
        let place = history.place_of(&position(seen));
        let found = place.map(|place| ids(&mut history, place).join(" "));
        assert_eq!(found.as_deref(), expected, "{seen}");
        assert_eq!(history.place_of(&position(seen)), place, "{seen} once more");
    }
}

#[test]
fn positions_of_what_happened_before_say_what_was_told_and_no_more() {
    let (mut history, _) = recalled("e:12:17:12", "e:10:10:", &[10, 13, 14, 11, 16]);
    let seen = position("e:11:14:11,12");
    let place = history.place_of(&seen).expect("a place");
    let mut told: Vec<u64> = (0..14).filter(|xid| seen.contains(at(*xid))).collect();
    for number in place..history.end() {
        let Some(Remembered::Item(item)) = history.get(number, &catalog(false)) else {
            panic!("it is remembered");
        };
        told.extend(item.transaction().map(|transaction| transaction.xid));
        let reached = item.position().expect("a position").beside(&seen);
        for (end, xid) in [10, 13, 14, 11, 16].into_iter().enumerate() {
            let transaction = Transaction {
                end: end as u64,
                xid,
            };
            assert_eq!(
                reached.contains(transaction),
                told.contains(&xid),
                "{xid} after {told:?}"
            );
        }
    }
}

fn at(xid: u64) -> Transaction {
    Transaction { end: xid, xid }
}

#[test]
fn of_what_happened_before_memory_keeps_the_latest_whole_transactions() {
    // Half of what there is room for.
    let (mut history, count) = recalled("e:30:30:", "e:10:10:", &[10, 13, 11, 14, 15, 12, 16]);
    assert_eq!(count, 5);
    for (seen, expected) in [
        ("e:10:10:", None),
        ("e:11:14:11,12", Some("11 14 15 12 16")),
        ("e:14:14:", Some("14 15 16")),
        ("e:12:13:", None),
    ] {
        let place = history.place_of(&position(seen));
        let seen_by = |id: &&String| !position(seen).contains(at(id.parse().expect("a number")));
        let found = place.map(|place| {
            let items = ids(&mut history, place);
            let missed: Vec<_> = items.iter().filter(seen_by).cloned().collect();
            missed.join(" ")
        });
        assert_eq!(found.as_deref(), expected, "{seen}");
    }
}

#[test]
fn what_happened_before_takes_no_more_memory_than_it_may_and_no_part_of_a_transaction() {
    let catalog = catalog(false);
    let told = |xid| told_later(&catalog, xid, xid);
    let mut earlier = Earlier::until(position("e:30:30:"), 3 * size(&told(10)));
    earlier.begin(position("e:10:10:"));
    for xid in [10, 13, 14, 14, 15, 12] {
        earlier.push(told(xid));
    }
    let (floor, items) = earlier.into_parts(100).expect("of one epoch");
    let xids = items.iter().filter_map(FeedItem::transaction);
    let xids: Vec<u64> = xids.map(|transaction| transaction.xid).collect();
    assert_eq!(xids, [15, 12]);
    assert_eq!(floor.to_string(), "e:12:15:12");
}

#[test]
fn what_happened_before_is_of_no_use_when_the_beginning_is_forgotten_or_another() {
    let catalog = catalog(false);
    for disturb in [
        |history: &mut History, catalog: &Catalog| {
            for xid in 20..40 {
                history.note(&change(catalog, xid, true));
            }
        },
        |history: &mut History, _: &Catalog| history.note(&FeedItem::Passed(position("f:20:20:"))),
    ] {
        let mut history = History::new(10, 1 << 20);
        history.note(&FeedItem::Passed(position("e:20:20:")));
        disturb(&mut history, &catalog);
        let mut earlier = Earlier::until(position("e:20:20:"), history.earlier_bytes_max());
        earlier.begin(position("e:10:10:"));
        earlier.push(told_later(&catalog, 1, 10));
        assert_eq!(history.recall(earlier), 0);
        assert_eq!(history.place_of(&position("e:10:10:")), None);
    }
}
