//! HTML from templates, which lie in one folder.
//!
//! *Owns* [`Templates`], and how much one of them may take.
//! *Takes* a template's name and JSON to fill it with.
//! *Gives* HTML in which every value is escaped, or what is wrong with the template.
//! *Never* reads a file outside its folder, and never logs a value.

mod complaints;
mod error;
mod folder;
mod value;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, escape_formatter};

pub use error::{Failure, TemplateError};

use crate::telemetry::Metrics;
use complaints::Complaints;

/// Steps that one rendering may take, a few milliseconds.
const FUEL: u64 = 200_000;

/// How deep templates may call one another and themselves.
const DEPTH_MAX: usize = 100;

/// Bytes that a rendering may come to: as much as a message may have.
const HTML_BYTES_MAX: usize = 1024 * 1024;

/// The templates of a folder. Files that change are read again when they are rendered next. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    /// `None` if there is no folder.
    environment: Option<Arc<Environment<'static>>>,
    complaints: Arc<Complaints>,
}

impl Templates {
    /// Those of a folder; nothing is read yet. Without a folder there are none, and all rendering fails.
    pub fn new(folder: Option<PathBuf>, metrics: Metrics) -> Self {
        Self {
            environment: folder.map(|folder| Arc::new(environment(folder))),
            complaints: Arc::new(Complaints::new(metrics)),
        }
    }

    /// Renders a template with the members of a JSON object. Reads files that are new or have changed, so it
    /// may wait for the disk.
    ///
    /// # Errors
    /// If there is no such template, or it fails, or takes too much.
    pub fn render(&self, template: &str, context: &str) -> Result<String, TemplateError> {
        let Some(environment) = &self.environment else {
            return Err(TemplateError::without_folder(template));
        };
        let failed = |error| TemplateError::of(template, &error);
        let context =
            value::object_of(context).ok_or_else(|| TemplateError::without_context(template))?;
        let mut html = Bounded(Vec::new());
        let found = environment.get_template(template).map_err(failed)?;
        found
            .render_captured_to(context, &mut html)
            .map_err(failed)?;
        Ok(String::from_utf8(html.0).expect("templates and JSON are UTF-8"))
    }

    /// The same as a JSON string; `None`, counted and now and then logged, if it fails.
    pub(crate) fn render_as_json(&self, template: &str, context: &[u8]) -> Option<Vec<u8>> {
        let context = std::str::from_utf8(context).ok()?;
        match self.render(template, context) {
            Ok(html) => Some(serde_json::to_vec(&html).expect("a text is JSON")),
            Err(error) => {
                self.complaints.note(&error);
                None
            }
        }
    }
}

fn environment(folder: PathBuf) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_loader(move |name| folder::load(&folder, name));
    // Whatever a file is called, what comes out is HTML.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // A column without a value shows nothing.
    environment.set_formatter(|output, state, value| match value.is_none() {
        true => Ok(()),
        false => escape_formatter(output, state, value),
    });
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH_MAX);
    environment
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > HTML_BYTES_MAX {
            return Err(io::Error::other("too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
