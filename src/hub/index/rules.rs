//! The rules that members of an index are kept by.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rules::{Predicate, Sieve};

/// Rules that are looked at for every row. A member with a further one is decided about whatever the row.
const RULES_MAX: usize = 256;

/// Rules by number, each with what it lets through.
#[derive(Default)]
pub(super) struct Rules {
    /// The rules are kept so that no other one gets their address.
    known: Vec<(Arc<Predicate>, Option<Sieve>)>,
    by_address: HashMap<usize, usize>,
}

impl Rules {
    /// A rule's number and sieve; `None` if it lets everything through, or there is no room for it.
    pub(super) fn sieve(&mut self, rule: &Arc<Predicate>) -> Option<(u32, &Sieve)> {
        let address = Arc::as_ptr(rule).addr();
        let number = match self.by_address.get(&address) {
            Some(number) => *number,
            None if self.known.len() < RULES_MAX => {
                self.known.push((Arc::clone(rule), Sieve::of(rule)));
                self.by_address.insert(address, self.known.len() - 1);
                self.known.len() - 1
            }
            None => return None,
        };
        let (_, sieve) = &self.known[number];
        Some((number_of(number), sieve.as_ref()?))
    }

    /// All sieves with their numbers.
    pub(super) fn sieves(&self) -> impl Iterator<Item = (u32, &Sieve)> {
        let known = self.known.iter().enumerate();
        known.filter_map(|(number, (_, sieve))| Some((number_of(number), sieve.as_ref()?)))
    }
}

fn number_of(index: usize) -> u32 {
    u32::try_from(index).expect("rules are limited")
}
