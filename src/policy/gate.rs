//! A gate: all that a policy says about one set of roles, one collection and one kind of rule.

use std::sync::Arc;

use super::rows::{Effect, RuleRow};

/// The rows that stand between a set of roles and a collection, in the table's order.
#[derive(Debug, Clone, Default)]
pub struct Applicable {
    /// Whose rules open.
    pub allow: Vec<Arc<RuleRow>>,
    /// Whose rules close, whatever opens.
    pub deny: Vec<Arc<RuleRow>>,
}

impl Applicable {
    pub(super) fn push(&mut self, row: &Arc<RuleRow>) {
        let rows = match row.effect {
            Effect::Allow => &mut self.allow,
            Effect::Deny => &mut self.deny,
        };
        rows.push(Arc::clone(row));
    }

    /// Makes the gate. `compile` reads a rule that is not empty; `None` says that it cannot be read:
    /// such a rule never allows and always denies.
    pub fn compile<P>(&self, mut compile: impl FnMut(&RuleRow) -> Option<P>) -> Gate<P> {
        if self.allow.is_empty() {
            return Gate::never();
        }
        let mut gate = Gate::never();
        for row in &self.deny {
            match compile_rule(row, &mut compile) {
                Compiled::Asks(rule) => gate.deny.push(rule),
                Compiled::Always | Compiled::Unreadable => return Gate::never(),
            }
        }
        for row in &self.allow {
            match compile_rule(row, &mut compile) {
                Compiled::Always => gate.public = true,
                Compiled::Asks(rule) => gate.allow.push(rule),
                Compiled::Unreadable => {}
            }
        }
        gate.simplified()
    }
}

enum Compiled<P> {
    Always,
    Asks(P),
    Unreadable,
}

fn compile_rule<P>(row: &RuleRow, compile: impl FnOnce(&RuleRow) -> Option<P>) -> Compiled<P> {
    if row.always_holds() {
        return Compiled::Always;
    }
    compile(row).map_or(Compiled::Unreadable, Compiled::Asks)
}

/// What decides about a record: something allows it and nothing denies it.
///
/// Invariant: a gate that never opens asks no rule, and one that asks for no allow is public.
#[derive(Debug, Clone)]
pub struct Gate<P> {
    /// Something allows without looking at the record.
    public: bool,
    allow: Vec<P>,
    deny: Vec<P>,
}

impl<P> Gate<P> {
    /// A gate that never opens.
    pub fn never() -> Self {
        Self {
            public: false,
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }

    fn simplified(mut self) -> Self {
        if self.public {
            self.allow.clear();
        } else if self.allow.is_empty() {
            return Self::never();
        }
        self
    }

    /// Whether it never opens, whatever the record.
    pub fn is_never(&self) -> bool {
        !self.public && self.allow.is_empty()
    }

    /// Whether it opens for every record.
    pub fn is_always(&self) -> bool {
        self.public && self.deny.is_empty()
    }

    /// Whether it opens. `holds` asks a rule about the record; `None` says that it cannot be
    /// decided: then it neither allows nor spares from a denial.
    pub fn opens(&self, mut holds: impl FnMut(&P) -> Option<bool>) -> bool {
        (self.public || self.allow.iter().any(|rule| holds(rule) == Some(true)))
            && self.deny.iter().all(|rule| holds(rule) == Some(false))
    }

    /// The rules that open it and those that close it, as compiled.
    pub fn rules(&self) -> (&[P], &[P]) {
        (&self.allow, &self.deny)
    }
}
