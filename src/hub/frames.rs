//! The frames of one group of subscribers for one event.

use std::cell::{OnceCell, RefCell};

use super::encoded::{ByExpansion, Shown};
use crate::frame::Frame;

/// One for each way in which the event is shown, made when somebody first needs it.
pub(super) struct Frames<'f> {
    make: &'f dyn Fn(Shown) -> Option<Frame>,
    plain: [OnceCell<Option<Frame>>; 3],
    expanded: RefCell<ByExpansion<Option<Frame>>>,
}

impl<'f> Frames<'f> {
    pub(super) fn new(make: &'f dyn Fn(Shown) -> Option<Frame>) -> Self {
        Self {
            make,
            plain: Default::default(),
            expanded: RefCell::default(),
        }
    }

    /// `None` if it cannot be written.
    pub(super) fn get(&self, shown: Shown) -> Option<Frame> {
        let Some(expansion) = shown.expansion else {
            let frame = &self.plain[shown.visibility as usize];
            return frame.get_or_init(|| (self.make)(shown)).clone();
        };
        let mut expanded = self.expanded.borrow_mut();
        let frame = expanded.entry((shown.visibility, expansion));
        frame.or_insert_with(|| (self.make)(shown)).clone()
    }
}
