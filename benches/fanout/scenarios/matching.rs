//! One receiver among many subscriptions: what those cost who receive nothing.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::Bench;
use crate::Error;
use crate::crowd::Crowd;
use crate::figures::Line;
use crate::measure::{Load, UNDER_WAY_MAX, measure};
use crate::people::{members, name};
use crate::site::Row;
use crate::target::Target;

/// More subscriptions than this share streams.
const STREAMS_MAX: usize = 12_500;
/// So that receivers come in no order.
const STEP: usize = 7919;

/// How many streams there are, and how many subscriptions each has.
#[derive(Clone, Copy)]
struct Shape {
    streams: usize,
    slots: usize,
}

impl Shape {
    fn of(subscriptions: usize) -> Self {
        let slots = subscriptions.div_ceil(STREAMS_MAX).max(1);
        Self {
            streams: subscriptions / slots,
            slots,
        }
    }

    /// The stream and the slot that receive this change.
    fn receiver(self, place: u32) -> (usize, usize) {
        let place = place as usize * STEP;
        (place % self.streams, place % self.slots)
    }
}

/// `owner = @request.auth.id`. Where streams have several subscriptions, they are told apart by a filter.
pub(super) async fn owner(bench: &mut Bench<'_>) -> Result<(), Error> {
    let rule = "owner = @request.auth.id";
    let mut target = bench.rowcast("owner", rule).await?;
    let sizes = bench
        .options
        .sizes(&[100, 1000, 10_000, 100_000], &[100, 1000]);
    in_turn(bench, "owner", &mut target, &sizes, one_row, |shape, _| {
        if shape.slots == 1 {
            return vec!["items/*".to_owned()];
        }
        let slots = 0..shape.slots;
        slots
            .map(|slot| filtered(&format!("slot = {slot}")))
            .collect()
    })
    .await
}

/// The clients' own filters on a public collection.
pub(super) async fn filter(bench: &mut Bench<'_>) -> Result<(), Error> {
    let mut target = bench.rowcast("filter", "").await?;
    let sizes = bench.options.sizes(&[100, 1000, 10_000], &[100, 1000]);
    in_turn(
        bench,
        "filter",
        &mut target,
        &sizes,
        one_row,
        |shape, stream| {
            let slots = 0..shape.slots;
            let owner = name(stream);
            let filter = |slot| match shape.slots {
                1 => format!("owner = \"{owner}\""),
                _ => format!("owner = \"{owner}\" && slot = {slot}"),
            };
            slots.map(|slot| filtered(&filter(slot))).collect()
        },
    )
    .await
}

/// Each stream watches its own record, or several.
pub(super) async fn record(bench: &mut Bench<'_>) -> Result<(), Error> {
    let mut target = bench.rowcast("record", "").await?;
    let sizes = bench.options.sizes(&[100, 1000, 10_000], &[100, 1000]);
    let Target::Rowcast(site) = &mut target else {
        return Err("a record's topic is ours".into());
    };
    let rows = u32::try_from(sizes.iter().copied().max().unwrap_or_default())?;
    let first = site.take_numbers(rows);
    // Their ids begin at 1, as nothing has been inserted before.
    site.insert_many(first, rows).await?;
    let id = |shape: Shape, stream: usize, slot: usize| (stream * shape.slots + slot + 1) as i64;
    in_turn(
        bench,
        "record",
        &mut target,
        &sizes,
        move |shape, place| {
            let (stream, slot) = shape.receiver(place);
            Row {
                id: Some(id(shape, stream, slot)),
                ..Row::default()
            }
        },
        |shape, stream| {
            let ids = (0..shape.slots).map(|slot| id(shape, stream, slot));
            ids.map(|id| format!("items/{id}")).collect()
        },
    )
    .await
}

/// The row of a change that one subscription receives.
fn one_row(shape: Shape, place: u32) -> Row {
    let (stream, slot) = shape.receiver(place);
    Row {
        owner: name(stream),
        slot: i32::try_from(slot).unwrap_or_default(),
        ..Row::default()
    }
}

fn filtered(filter: &str) -> String {
    let options = json!({ "query": { "filter": filter } }).to_string();
    let options = utf8_percent_encode(&options, NON_ALPHANUMERIC);
    format!("items/*?options={options}")
}

async fn in_turn(
    bench: &mut Bench<'_>,
    scenario: &str,
    target: &mut Target,
    sizes: &[usize],
    row: impl Fn(Shape, u32) -> Row + Copy + Send + 'static,
    topics: impl Fn(Shape, usize) -> Vec<String>,
) -> Result<(), Error> {
    let rate = bench.options.pick(1000.0, 300.0);
    let changes = (rate * bench.options.window().as_secs_f64()) as u32;
    for round in 0..bench.options.rounds() {
        for &size in sizes {
            let shape = Shape::of(size);
            let members = members(shape.streams, shape.streams, |stream| topics(shape, stream))?;
            let mut crowd = Crowd::open(target.address(), members)?;
            let load = Load {
                rate,
                changes,
                under_way_max: UNDER_WAY_MAX,
                receivers: 1,
                row: Box::new(move |place| row(shape, place)),
            };
            let line = Line {
                scenario: scenario.to_owned(),
                contender: target.name().to_owned(),
                clients: shape.streams,
                subscriptions: shape.streams * shape.slots,
            };
            let figure = measure(target, &mut crowd, &load, line, round).await?;
            bench.results.figures.push(figure);
        }
    }
    Ok(())
}
