//! From text to predicate: what `attach` and a changed policy pay, once.

use rowcast::event::parse_image;

use crate::measure::Group;
use crate::world::{ROW, World, cases};

pub fn group(world: &World) -> Group<'_> {
    let mut group = Group::new("compile a rule");
    group.baseline("plain: read a row of the log", || {
        parse_image(ROW.into(), &world.collection)
    });
    for case in cases() {
        group.line(case.title, move || world.compile(&case.rule));
    }
    group
}
