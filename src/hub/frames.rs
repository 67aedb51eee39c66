//! The frames of one group of subscribers for one event: each is made when somebody first needs it, and its
//! bytes are shared by all who receive it.

use std::cell::{OnceCell, RefCell};

use super::encoded::{ByExpansion, Data, Encoded, Shown};
use super::fragments::{Fragment, template_of};
use super::groups::Group;
use super::tally::Tally;
use crate::event::Action;
use crate::frame::Frame;
use crate::record::{encode_gap, encode_leave, entered, snapshot_row};
use crate::templates::Templates;

/// What may be told to the members of a group; `None` where it cannot be written.
pub(super) struct Frames<'f, 'e> {
    encoded: &'f Encoded<'e>,
    group: &'f Group,
    writer: Writer<'f>,
    /// What makes HTML of them, if it is for those who want HTML.
    templates: Option<&'f Templates>,
    records: ByShown,
    entering: ByShown,
    leaving: OnceCell<Option<Frame>>,
    resync: OnceCell<Option<Frame>>,
}

impl<'f, 'e> Frames<'f, 'e> {
    pub(super) fn new(encoded: &'f Encoded<'e>, group: &'f Group, writer: Writer<'f>) -> Self {
        Self {
            encoded,
            group,
            writer,
            templates: None,
            records: ByShown::default(),
            entering: ByShown::default(),
            leaving: OnceCell::new(),
            resync: OnceCell::new(),
        }
    }

    /// The same for those who want HTML, as far as the collection has templates.
    pub(super) fn in_html(self, templates: &'f Templates) -> Self {
        let templates = Some(templates);
        Self { templates, ..self }
    }

    /// The event as it happened.
    pub(super) fn record(&self, shown: Shown) -> Option<Frame> {
        let action = self.encoded.event.action;
        let make = || self.event(action, &self.data(shown));
        self.records.get(shown, make)
    }

    /// The record as if it had been created.
    pub(super) fn entering(&self, shown: Shown) -> Option<Frame> {
        let make = || self.event(Action::Create, &entered(&self.data(shown)));
        self.entering.get(shown, make)
    }

    /// That the record is not to be seen any more. Neither `fields` nor `expand` change it.
    pub(super) fn leaving(&self) -> Option<Frame> {
        let event = self.encoded.event;
        let make = || {
            let data = encode_leave(&event.collection, &event.id.0);
            self.event(Action::Delete, &data)
        };
        self.leaving.get_or_init(make).clone()
    }

    /// That what is there is to be loaded afresh.
    pub(super) fn resync(&self) -> Option<Frame> {
        let data = || encode_gap(&self.encoded.event.collection);
        let make = || self.writer.write(None, &data());
        self.resync.get_or_init(make).clone()
    }

    /// The record as one of those that are there; not kept.
    pub(super) fn snapshot_row(&self, shown: Shown) -> Option<Frame> {
        self.write(Action::Create, None, &snapshot_row(&self.data(shown)))
    }

    fn data(&self, shown: Shown) -> Data<'_> {
        self.encoded.data(shown, self.group.picker.as_ref())
    }

    fn event(&self, action: Action, data: &[u8]) -> Option<Frame> {
        self.write(action, self.encoded.id(), data)
    }

    /// What the template of an action makes of the data, or the data itself.
    fn write(&self, action: Action, id: Option<&str>, data: &[u8]) -> Option<Frame> {
        let collection = &self.encoded.event.collection;
        match self.templates.zip(template_of(collection, action)) {
            Some(template) => Fragment::frame(self.writer, id, template, data),
            None => self.writer.write(id, data),
        }
    }
}

/// Writes frames for one subscription text.
#[derive(Clone, Copy)]
pub(super) struct Writer<'w> {
    pub text: &'w str,
    pub tally: &'w Tally,
}

impl Writer<'_> {
    /// One event; `None`, and counted, if it cannot be written without breaking the stream.
    pub(super) fn write(&self, id: Option<&str>, data: &[u8]) -> Option<Frame> {
        let frame = Frame::event(id, self.text, data);
        if frame.is_none() {
            self.tally.unwritable_frame();
        }
        frame
    }
}

/// One frame for each way in which an event is shown.
#[derive(Default)]
struct ByShown {
    plain: [OnceCell<Option<Frame>>; 3],
    expanded: RefCell<ByExpansion<Option<Frame>>>,
}

impl ByShown {
    fn get(&self, shown: Shown, make: impl FnOnce() -> Option<Frame>) -> Option<Frame> {
        let Some(expansion) = shown.expansion else {
            let frame = &self.plain[shown.visibility as usize];
            return frame.get_or_init(make).clone();
        };
        let mut expanded = self.expanded.borrow_mut();
        let frame = expanded.entry((shown.visibility, expansion));
        frame.or_insert_with(make).clone()
    }
}
