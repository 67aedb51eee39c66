//! An event's data: encoded once per visibility and expansion, and picked from once per list of fields.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::expand::{ExpansionId, Expansions};
use crate::event::ChangeEvent;
use crate::record::{Picker, Visibility, encode_change, encode_expanded, pick_change};

/// Lists of fields whose picks are kept while one event is delivered; those of further lists are
/// made anew for every subscription text.
const PICKS_MAX: usize = 1024;

/// An event's data, made when somebody first needs it.
pub(super) struct Encoded<'e> {
    pub event: &'e ChangeEvent,
    pub expansions: Expansions<'e>,
    id: OnceCell<Option<String>>,
    whole: [OnceCell<Vec<u8>>; 3],
    expanded: RefCell<ByExpansion<Rc<[u8]>>>,
    picks: RefCell<Picks>,
}

/// What there is for each expansion.
pub(super) type ByExpansion<T> = HashMap<(Visibility, ExpansionId), T>;

/// By the text of the list.
type Picks = HashMap<(Arc<str>, Shown), Rc<[u8]>>;

/// What somebody is shown of an event who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shown {
    pub visibility: Visibility,
    /// `None` for a record without `expand`.
    pub expansion: Option<ExpansionId>,
}

/// The data for one subscription text.
pub(super) enum Data<'d> {
    Whole(&'d [u8]),
    Shared(Rc<[u8]>),
}

impl std::ops::Deref for Data<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(data) => data,
            Self::Shared(data) => data,
        }
    }
}

impl<'e> Encoded<'e> {
    pub(super) fn new(event: &'e ChangeEvent) -> Self {
        Self {
            event,
            expansions: Expansions::default(),
            id: OnceCell::new(),
            whole: Default::default(),
            expanded: RefCell::default(),
            picks: RefCell::default(),
        }
    }

    /// The event's position as the `id` of a frame.
    pub(super) fn id(&self) -> Option<&str> {
        let position = || self.event.position.as_ref().map(ToString::to_string);
        self.id.get_or_init(position).as_deref()
    }

    /// What somebody is sent who is shown this and wants what `picker` says, or all.
    pub(super) fn data(&self, shown: Shown, picker: Option<&Picker>) -> Data<'_> {
        let Some(picker) = picker else {
            return self.all(shown);
        };
        let mut picks = self.picks.borrow_mut();
        let key = (Arc::clone(picker.text()), shown);
        if let Some(picked) = picks.get(&key) {
            return Data::Shared(Rc::clone(picked));
        }
        let picked: Rc<[u8]> = pick_change(&self.all(shown), self.event.action, picker).into();
        if picks.len() < PICKS_MAX {
            picks.insert(key, Rc::clone(&picked));
        }
        Data::Shared(picked)
    }

    fn all(&self, shown: Shown) -> Data<'_> {
        let Shown {
            visibility,
            expansion,
        } = shown;
        match expansion {
            None => Data::Whole(self.whole(visibility)),
            Some(expansion) => Data::Shared(self.expanded(visibility, expansion)),
        }
    }

    fn expanded(&self, visibility: Visibility, expansion: ExpansionId) -> Rc<[u8]> {
        let mut expanded = self.expanded.borrow_mut();
        let data = expanded.entry((visibility, expansion)).or_insert_with(|| {
            let encode = |expansion: &_| encode_expanded(self.event, visibility, expansion);
            self.expansions.with(expansion, encode).into()
        });
        Rc::clone(data)
    }

    fn whole(&self, visibility: Visibility) -> &[u8] {
        let [plain, own, full] = &self.whole;
        let cell = match visibility {
            Visibility::Plain => plain,
            Visibility::Own => own,
            Visibility::Full => full,
        };
        cell.get_or_init(|| encode_change(self.event, visibility))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Collection, CollectionKey, Field, FieldKind};
    use crate::event::{Action, RecordId, RowImage};

    const PLAIN: Shown = Shown {
        visibility: Visibility::Plain,
        expansion: None,
    };

    fn event() -> ChangeEvent {
        let fields = vec![Field::new("title", FieldKind::Text)];
        ChangeEvent {
            collection: Arc::new(Collection::new(CollectionKey(1), "posts", fields)),
            action: Action::Create,
            id: RecordId("a".into()),
            old: None,
            new: Some(RowImage::new("\"T\"".into(), [Some(0..3)].into())),
            transaction: None,
            position: None,
            ends_transaction: false,
        }
    }

    fn picker(fields: &str) -> Option<Picker> {
        Picker::parse(fields).expect("a good list")
    }

    #[test]
    fn what_many_ask_for_is_picked_once() {
        let event = event();
        let encoded = Encoded::new(&event);
        let (one, other) = (picker("title"), picker("title"));
        let data = |picker: &Option<Picker>| encoded.data(PLAIN, picker.as_ref());
        let (Data::Shared(first), Data::Shared(second)) = (data(&one), data(&other)) else {
            panic!("both ask for some fields");
        };
        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!(*first, *br#"{"record":{"title":"T"},"action":"create"}"#);
        assert!(matches!(data(&None), Data::Whole(_)));
    }

    #[test]
    fn picks_are_kept_up_to_a_limit_and_made_beyond_it() {
        let event = event();
        let encoded = Encoded::new(&event);
        for n in 0..=PICKS_MAX {
            let picker = picker(&format!("title,x{n}"));
            let data = encoded.data(PLAIN, picker.as_ref());
            assert_eq!(*data, *br#"{"record":{"title":"T"},"action":"create"}"#);
        }
        assert_eq!(encoded.picks.borrow().len(), PICKS_MAX);
    }
}
