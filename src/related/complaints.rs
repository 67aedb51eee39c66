//! What is said when related rows cannot be read: once a minute for each collection and cause.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::{Collection, CollectionKey};

/// How long the same complaint is not repeated.
const SILENCE: Duration = Duration::from_secs(60);
/// Complaints remembered; there are never so many different ones at a time.
const REMEMBERED_MAX: usize = 1_000;

/// When what was last complained about.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<(CollectionKey, String), Instant>>);

impl Complaints {
    /// Says that a statement failed.
    pub(super) fn statement_failed(&self, collection: &Collection, error: &tokio_postgres::Error) {
        let code = error.code().map_or("none", |code| code.code());
        if !self.is_news(collection.key, code) {
            return;
        }
        // Only these say nothing of any value.
        let is_discreet = ["42", "55", "57"]
            .iter()
            .any(|class| code.starts_with(class));
        let error = is_discreet.then_some(error as &(dyn Error + 'static));
        tracing::warn!(
            collection.name = %collection.name,
            table = %collection.table,
            sqlstate = code,
            error,
            "related records cannot be read, so whatever depends on them is denied; {}",
            advice(code)
        );
    }

    /// Says that rows cannot be understood, or are not all there.
    pub(super) fn rows_unusable(&self, collection: &Collection, problem: &'static str) {
        if self.is_news(collection.key, problem) {
            tracing::warn!(
                collection.name = %collection.name,
                table = %collection.table,
                problem,
                "related records cannot be used, so whatever depends on them is denied"
            );
        }
    }

    fn is_news(&self, key: CollectionKey, what: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (key, what.to_owned());
        let silent = |at: &Instant| at.elapsed() < SILENCE;
        if said.get(&place).is_some_and(silent) {
            return false;
        }
        if said.len() >= REMEMBERED_MAX {
            said.clear();
        }
        said.insert(place, Instant::now());
        true
    }
}

fn advice(code: &str) -> &'static str {
    match code {
        "42501" => {
            "grant the server's role select on the table's columns; where the table has row-level security, the role \
             must own it or have bypassrls"
        }
        "42703" | "42P01" | "3F000" => "was the table changed? Run rowcast.attach again",
        "42883" => "the column's type has no equality in pg_catalog",
        _ => "the code says why",
    }
}
