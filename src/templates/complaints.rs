//! Says which templates fail, but not for every event.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::TemplateError;
use crate::telemetry::Metrics;

/// How long one template is not complained about again.
const SILENCE: Duration = Duration::from_secs(60);

/// Templates that are remembered; their names may come from outside.
const TEMPLATES_MAX: usize = 1000;

/// Who was complained about lately.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    metrics: Option<Metrics>,
    lately: Mutex<HashMap<String, Instant>>,
}

impl Complaints {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics: Some(metrics),
            lately: Mutex::default(),
        }
    }

    /// Counts a failure, and logs it if its template has not failed for a while. Of what it was filled with
    /// nothing is shown.
    pub(super) fn note(&self, error: &TemplateError) {
        if let Some(metrics) = &self.metrics {
            Metrics::count(&metrics.template_failures, error.failure.as_str());
        }
        if self.is_news(&error.template) {
            tracing::warn!(
                template = error.template,
                line = error.line,
                problem = error.kind,
                "a template fails, and what it was to show is not told"
            );
        }
    }

    fn is_news(&self, template: &str) -> bool {
        let now = Instant::now();
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lately = |told: &Instant| now.duration_since(*told) < SILENCE;
        if lately.get(template).is_some_and(is_lately) {
            return false;
        }
        if lately.len() >= TEMPLATES_MAX {
            lately.clear();
        }
        lately.insert(template.to_owned(), now);
        true
    }
}
