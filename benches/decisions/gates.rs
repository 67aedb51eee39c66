//! A gate: which rules apply to somebody, and whether they let a row pass; beside it casbin itself.

use std::cell::RefCell;
use std::sync::Arc;

use rowcast::policy::{Gate, GateCache, Member, Policy, PolicyRows, Reference, Roles, RuleKind};
use rowcast::rules::Predicate;

use crate::Error;
use crate::measure::Group;
use crate::world::World;

const RULE: &str = "owner = @request.auth.id";
const COLLECTIONS: usize = 20;
const MEMBERS: usize = 100;

/// A policy as a small company has it: a rule for everybody and one for a role per collection, and
/// people with roles.
fn policy() -> Policy {
    let mut rows = PolicyRows::default();
    let mut id = 0;
    let mut add = |ptype: &str, values: [&str; 6]| {
        id += 1;
        rows.add(id, ptype, &values.map(str::to_owned));
    };
    for number in 0..COLLECTIONS {
        let name = match number {
            0 => "posts".to_owned(),
            other => format!("c{other}"),
        };
        add("p", ["anyone", &name, "list", RULE, "allow", ""]);
        add("p", ["role:editor", &name, "*", "", "allow", ""]);
    }
    for number in 0..MEMBERS {
        add(
            "g",
            [&format!("users/m{number}"), "role:editor", "", "", "", ""],
        );
    }
    Policy::new(rows)
}

pub fn group(world: &World) -> Result<Group<'_>, Error> {
    let mut group = Group::new("ask a gate, 40 rules and 100 roles given");
    let (policy, roles) = (Arc::new(policy()), Roles::record("users", "u0", []));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let casbin = runtime.block_on(Reference::new(&policy, &roles))?;
    let predicate = world.compile(RULE);
    let owner = &world.people[0];
    let holds = move |predicate: &Predicate| Some(world.decide(predicate, owner));

    group.baseline("plain: casbin's Enforcer::enforce", move || {
        let answer = |_: &str| holds(&predicate);
        casbin
            .enforce("posts", RuleKind::List, "42", answer)
            .expect("an answer")
    });
    let cache = RefCell::new(GateCache::default());
    let (member, name) = (
        Member::new(roles.clone()),
        Arc::clone(&world.collection.name),
    );
    let cached = Arc::clone(&policy);
    group.line("gate, known", move || {
        let mut cache = cache.borrow_mut();
        let gate = cache.gate(&cached, &member, &name, RuleKind::List, |row| {
            Some(world.compile(&row.rule))
        });
        gate.opens(holds)
    });
    group.line("gate, new (rules found and compiled)", move || {
        let applicable = policy.applicable(&policy.role_set(&roles), "posts", RuleKind::List);
        let gate: Gate<Predicate> = applicable.compile(|row| Some(world.compile(&row.rule)));
        gate.opens(holds)
    });
    Ok(group)
}
