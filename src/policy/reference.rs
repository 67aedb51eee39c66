//! Casbin's own answer: slow, and the measure for gates.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use casbin::function_map::{OperatorFunction, dynamic_to_str};
use casbin::rhai::Dynamic;
use casbin::{CoreApi, DefaultModel, DefaultRoleManager, Enforcer, Model, TryIntoAdapter};
use parking_lot::RwLock;

use super::objects::{self, Closed};
use super::rows::{ANY, GrantRow, RuleRow};
use super::{Effect, Policy, Roles, RuleKind};

const MODEL: &str = include_str!("model.conf");

/// The subject that stands for whoever asks. No role can be called this: names have no line breaks.
const ASKER: &str = "\n";

/// Casbin could not answer.
#[derive(Debug, thiserror::Error)]
#[error("casbin could not decide")]
pub struct ReferenceError(#[from] casbin::Error);

/// A policy as casbin holds it, asked on behalf of somebody.
pub struct Reference {
    enforcer: Enforcer,
    closed: Closed,
}

impl Reference {
    /// Hands a policy to casbin, and `roles` to whoever will ask.
    ///
    /// # Errors
    /// If casbin refuses the policy, which is a defect.
    pub async fn new(policy: &Policy, roles: &Roles) -> Result<Self, ReferenceError> {
        let mut model = DefaultModel::from_str(MODEL).await?;
        let own = roles.names().map(|role| GrantRow {
            member: ASKER.into(),
            role: role.into(),
        });
        let own: Vec<GrantRow> = own.collect();
        fill(
            &mut model,
            policy.rules(),
            policy.grants().iter().chain(&own),
        );
        let mut enforcer = Enforcer::new_raw(model, ()).await?;
        prepare(&mut enforcer)?;
        Ok(Self {
            enforcer,
            closed: policy.closed().clone(),
        })
    }

    /// Whether casbin lets them see a record. `holds` asks a rule, which is not empty, about the
    /// record; `None` says that it cannot be decided.
    ///
    /// # Errors
    /// If casbin fails, which is a defect.
    pub fn enforce(
        &self,
        collection: &str,
        kind: RuleKind,
        record: &str,
        mut holds: impl FnMut(&str) -> Option<bool>,
    ) -> Result<bool, ReferenceError> {
        let rules = self
            .enforcer
            .get_model()
            .get_values_for_field_in_policy("p", "p", 3);
        let answers = rules
            .into_iter()
            .filter(|rule| !rule.is_empty())
            .map(|rule| {
                let answer = holds(&rule);
                (rule, answer)
            })
            .collect();
        let closed = self.closed.closes(collection);
        let _answers = Answers::give(answers, closed);
        Ok(self
            .enforcer
            .enforce((ASKER, collection, kind.as_str(), record))?)
    }
}

/// What the rules say of the record being asked about. Casbin takes only functions that hold
/// nothing, so what `row()` must know stands here while casbin is asked.
type AnswersByRule = HashMap<String, Option<bool>>;

thread_local! {
    static ANSWERS: RefCell<AnswersByRule> = RefCell::default();
    /// Whether a row closes what is asked about.
    static CLOSED: Cell<bool> = const { Cell::new(false) };
}

/// Takes the answers away again, even when asking ends with a panic.
struct Answers;

impl Answers {
    fn give(answers: AnswersByRule, closed: bool) -> Self {
        ANSWERS.set(answers);
        CLOSED.set(closed);
        Self
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        ANSWERS.take();
    }
}

/// The model's `row()`: whether a rule has its effect on the record. One that cannot be decided
/// does not allow and does deny.
fn row(rule: Dynamic, effect: Dynamic, _record: Dynamic) -> Dynamic {
    let rule = dynamic_to_str(&rule);
    if rule.is_empty() {
        return true.into();
    }
    let answer = ANSWERS.with_borrow(|answers| answers.get(&*rule).copied().flatten());
    let denies = *dynamic_to_str(&effect) == *Effect::Deny.as_str();
    answer.unwrap_or(denies).into()
}

/// The model's `about()`: whether a row that names an object is about the one that is asked for.
fn about(subject: Dynamic, written: Dynamic, effect: Dynamic, object: Dynamic) -> Dynamic {
    let (written, object) = (dynamic_to_str(&written), dynamic_to_str(&object));
    if !objects::is_object(&object) {
        return (*written == *object || *written == *ANY).into();
    }
    let effect = match *dynamic_to_str(&effect) == *Effect::Deny.as_str() {
        true => Effect::Deny,
        false => Effect::Allow,
    };
    let subject = dynamic_to_str(&subject);
    objects::is_about(&subject, &written, effect, &object, CLOSED.get()).into()
}

/// An enforcer over our model with the policy of an adapter; edits go to the adapter at once.
pub(super) async fn over(adapter: impl TryIntoAdapter) -> Result<Enforcer, casbin::Error> {
    let model = DefaultModel::from_str(MODEL).await?;
    let mut enforcer = Enforcer::new(model, adapter).await?;
    prepare(&mut enforcer)?;
    Ok(enforcer)
}

/// Adds what our model needs, and lets chains of roles be of any length (casbin's limit is 10).
fn prepare(enforcer: &mut Enforcer) -> Result<(), casbin::Error> {
    enforcer.add_function("row", OperatorFunction::Arg3(row));
    enforcer.add_function("about", OperatorFunction::Arg4(about));
    enforcer.set_role_manager(Arc::new(RwLock::new(DefaultRoleManager::new(usize::MAX))))
}

/// Writes rows into a model, at the width of its definitions.
pub(super) fn fill<'r>(
    model: &mut dyn Model,
    rules: &[Arc<RuleRow>],
    grants: impl IntoIterator<Item = &'r GrantRow>,
) {
    let rules = rules.iter().map(|row| row.to_casbin()).collect();
    model.add_policies("p", "p", rules);
    let grants = grants.into_iter().map(GrantRow::to_casbin).collect();
    model.add_policies("g", "g", grants);
}

impl RuleRow {
    fn to_casbin(&self) -> Vec<String> {
        let values: [&str; 5] = [
            &self.subject,
            &self.collection,
            &self.kind,
            &self.rule,
            self.effect.as_str(),
        ];
        values.map(str::to_owned).into()
    }
}

impl GrantRow {
    fn to_casbin(&self) -> Vec<String> {
        vec![self.member.to_string(), self.role.to_string()]
    }
}
