//! An event's data: encoded once per visibility, and picked from once per list of fields.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::event::ChangeEvent;
use crate::record::{Picker, Visibility, encode_change, pick_change};

/// Lists of fields whose picks are kept while one event is delivered; those of further lists are
/// made anew for every subscription text.
const PICKS_MAX: usize = 1024;

/// An event's data, made when somebody first needs it.
pub(super) struct Encoded<'e> {
    pub event: &'e ChangeEvent,
    whole: [OnceCell<Vec<u8>>; 3],
    picks: RefCell<HashMap<(Arc<str>, Visibility), Rc<[u8]>>>,
}

/// The data for one subscription text.
pub(super) enum Data<'d> {
    Whole(&'d [u8]),
    Picked(Rc<[u8]>),
}

impl std::ops::Deref for Data<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Whole(data) => data,
            Self::Picked(data) => data,
        }
    }
}

impl<'e> Encoded<'e> {
    pub(super) fn new(event: &'e ChangeEvent) -> Self {
        Self {
            event,
            whole: Default::default(),
            picks: RefCell::default(),
        }
    }

    /// What somebody of this visibility is sent who wants what `picker` says, or all.
    pub(super) fn data(&self, visibility: Visibility, picker: Option<&Picker>) -> Data<'_> {
        let whole = self.whole(visibility);
        let Some(picker) = picker else {
            return Data::Whole(whole);
        };
        let mut picks = self.picks.borrow_mut();
        let key = (Arc::clone(picker.text()), visibility);
        if let Some(picked) = picks.get(&key) {
            return Data::Picked(Rc::clone(picked));
        }
        let picked: Rc<[u8]> = pick_change(whole, self.event.action, picker).into();
        if picks.len() < PICKS_MAX {
            picks.insert(key, Rc::clone(&picked));
        }
        Data::Picked(picked)
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
