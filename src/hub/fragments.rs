//! Events as HTML: a template makes it of what is told to others as JSON. It is made in the task of whoever
//! receives it first, so that the hub need not wait for it, and its bytes are shared by all who receive it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::frames::Writer;
use super::groups::Group;
use super::registry::Subscriber;
use crate::catalog::Collection;
use crate::event::Action;
use crate::frame::{Broken, Frame, Personal};
use crate::templates::Templates;

/// Whether a subscriber wants records as HTML under a subscription.
pub(super) fn is_wanted(group: &Group, subscriber: &Subscriber) -> bool {
    group.html || subscriber.progress.line().takes_html()
}

/// What shows an event of a collection; `None` if nothing does.
pub(super) fn template_of(collection: &Collection, action: Action) -> Option<&Arc<str>> {
    let templates = &collection.templates;
    let template = match action {
        Action::Create => &templates.create,
        Action::Update => &templates.update,
        Action::Delete => &templates.delete,
    };
    template.as_ref()
}

/// An event whose data is what a template makes of some JSON, as one JSON string.
pub(super) struct Fragment {
    templates: Templates,
    template: Arc<str>,
    context: Box<[u8]>,
    id: Option<String>,
    name: Box<str>,
    frame: OnceLock<Option<Frame>>,
}

impl Fragment {
    /// `None`, and counted, if it cannot be written without breaking the stream.
    pub(super) fn frame(
        writer: Writer<'_>,
        id: Option<&str>,
        (templates, template): (&Templates, &Arc<str>),
        context: &[u8],
    ) -> Option<Frame> {
        let Writer { text, tally } = writer;
        if text.chars().any(char::is_control) {
            tally.unwritable_frame();
            return None;
        }
        Some(Frame::personal(Arc::new(Self {
            templates: templates.clone(),
            template: Arc::clone(template),
            context: context.into(),
            id: id.map(str::to_owned),
            name: text.into(),
            frame: OnceLock::new(),
        })))
    }

    fn made(&self) -> Option<Frame> {
        let data = self
            .templates
            .render_as_json(&self.template, &self.context)?;
        Frame::event(self.id.as_deref(), &self.name, &data)
    }
}

impl Personal for Fragment {
    fn write(&self) -> Result<Option<Frame>, Broken> {
        Ok(self.frame.get_or_init(|| self.made()).clone())
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rows are never logged.
        f.debug_struct("Fragment")
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}
