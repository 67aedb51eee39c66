//! A predicate about a row: what each change pays, per subscriber at worst.

use std::hint::black_box;

use crate::measure::Group;
use crate::world::{World, cases};

/// One principal.
pub fn one(world: &World) -> Group<'_> {
    let mut group = Group::new("decide about a row");
    let owner = &world.people[0];
    for case in cases() {
        let predicate = world.compile(&case.rule);
        let plain = case.plain;
        assert!(
            plain(&world.row, owner) && world.decide(&predicate, owner),
            "{} must hold for its owner",
            case.title
        );
        group.baseline(format!("plain: {}", case.title), move || {
            plain(black_box(&world.row), black_box(owner))
        });
        group.line(case.title, move || world.decide(&predicate, owner));
    }
    group
}

/// All of them.
pub fn many(world: &World) -> Group<'_> {
    let mut group = Group::new("decide for 1,000 principals");
    let [case, ..] = cases();
    let predicate = world.compile(&case.rule);
    let plain = case.plain;
    group.baseline(format!("plain: {}", case.title), move || {
        let people = black_box(&world.people);
        people
            .iter()
            .filter(|person| plain(&world.row, person))
            .count()
    });
    group.line(case.title, move || {
        let people = world.people.iter();
        people
            .filter(|person| world.decide(&predicate, person))
            .count()
    });
    group
}
