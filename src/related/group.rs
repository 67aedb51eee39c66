//! Wants that one statement can answer.

use std::sync::Arc;

use indexmap::IndexMap;

use super::shelf::Found;
use super::statement;
use super::want::Want;
use crate::catalog::{Collection, CollectionKey};

/// Wants of one collection by the same fields, at the same time.
pub(super) struct Group {
    pub collection: Arc<Collection>,
    /// Whose texts are compared, by position in the collection.
    pub fields: Vec<usize>,
    pub before: Option<u64>,
    pub wants: Vec<Want>,
}

impl Group {
    /// Sorts wants into groups, in the order in which they come. What no row can equal is answered.
    pub(super) fn of(wants: Vec<Want>, answers: &mut Vec<(Want, Found)>) -> Vec<Self> {
        // Positions of fields mean something in one description of a collection only.
        type Key = (CollectionKey, *const Collection, Vec<usize>, Option<u64>);
        let mut groups: IndexMap<Key, Self> = IndexMap::new();
        for want in wants {
            let fits = |(index, text): &(usize, Arc<str>)| {
                let field = want.collection.fields.get(*index);
                field.is_some_and(|field| statement::fits(field, text))
            };
            if !want.equals.iter().all(fits) {
                answers.push((want, Found::Rows(Vec::new())));
                continue;
            }
            let fields: Vec<_> = want.equals.iter().map(|(index, _)| *index).collect();
            let (collection, before) = (Arc::clone(&want.collection), want.before);
            let key = (
                collection.key,
                Arc::as_ptr(&collection),
                fields.clone(),
                before,
            );
            let new = || Self {
                collection,
                fields,
                before,
                wants: Vec::new(),
            };
            groups.entry(key).or_insert_with(new).wants.push(want);
        }
        groups.into_values().collect()
    }

    /// What is bound: for each field, the texts of all wants.
    pub(super) fn parameters(&self) -> Vec<Vec<&str>> {
        let column = |place: usize| {
            let texts = self.wants.iter().map(|want| &*want.equals[place].1);
            texts.collect()
        };
        (0..self.fields.len()).map(column).collect()
    }
}
