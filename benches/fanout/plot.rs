//! Cost against subscribers, as a picture: both axes by powers of ten.

use std::fmt::Write as _;

use crate::figures::{Figure, Results};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 60.0;
const COLOURS: [&str; 7] = [
    "#1b6ca8", "#c8553d", "#6a994e", "#8e5ea2", "#e09f3e", "#3a3a3a", "#2a9d8f",
];

/// The values of a figure that are drawn: a scenario, a server, and which of its figures.
type Series = (
    &'static str,
    &'static str,
    fn(&Figure) -> Option<f64>,
    &'static str,
);

const SERIES: [Series; 7] = [
    (
        "open",
        "rowcast",
        Figure::per_delivery,
        "open rule, per delivery",
    ),
    (
        "open",
        "bare sockets",
        Figure::per_delivery,
        "bare sockets, per delivery",
    ),
    (
        "open",
        "axum stream",
        Figure::per_delivery,
        "axum stream, per delivery",
    ),
    ("open", "peer", Figure::per_delivery, "peer, per delivery"),
    (
        "owner",
        "rowcast",
        Figure::per_change,
        "own rows, per change",
    ),
    (
        "filter",
        "rowcast",
        Figure::per_change,
        "own filters, per change",
    ),
    (
        "record",
        "rowcast",
        Figure::per_change,
        "one record, per change",
    ),
];

/// The plot; nothing where there is nothing to draw.
pub fn svg(results: &Results) -> Option<String> {
    let series = SERIES
        .iter()
        .map(|series| (series.3, points(results, series)));
    let series: Vec<_> = series.filter(|(_, points)| points.len() > 1).collect();
    let all: Vec<(f64, f64)> = series
        .iter()
        .flat_map(|(_, points)| points.clone())
        .collect();
    let bounds = |values: Vec<f64>| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        (low.log10().floor(), high.log10().ceil())
    };
    if all.is_empty() {
        return None;
    }
    let (x_low, x_high) = bounds(all.iter().map(|point| point.0).collect());
    let (y_low, y_high) = bounds(all.iter().map(|point| point.1).collect());
    let x = |value: f64| {
        LEFT + (value.log10() - x_low) / (x_high - x_low).max(1.0) * (WIDTH - LEFT - RIGHT)
    };
    let y = |value: f64| {
        HEIGHT
            - BOTTOM
            - (value.log10() - y_low) / (y_high - y_low).max(1.0) * (HEIGHT - TOP - BOTTOM)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Server CPU against subscriptions</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for power in x_low as i32..=x_high as i32 {
        let (value, at) = (10f64.powi(power), x(10f64.powi(power)));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for power in y_low as i32..=y_high as i32 {
        let (value, at) = (10f64.powi(power), y(10f64.powi(power)));
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value} µs</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">subscriptions</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 18.0
    );
    for (number, ((name, points), colour)) in series.iter().zip(COLOURS).enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let at = TOP + 20.0 + 22.0 * number as f64;
        let from = WIDTH - RIGHT + 20.0;
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <path d=\"M{from} {at}h22\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            path.join(" "),
            from + 30.0,
            at + 4.0
        );
    }
    Some(svg + "</svg>\n")
}

/// Subscriptions and cost of a series, in order.
fn points(results: &Results, (scenario, contender, value, _): &Series) -> Vec<(f64, f64)> {
    let lines = results.lines().into_iter();
    let lines = lines.filter(|line| line.scenario == *scenario && line.contender == *contender);
    let mut points: Vec<(f64, f64)> = lines
        .filter_map(|line| Some((line.subscriptions as f64, results.middle(&line, value)?)))
        .filter(|point| point.1 > 0.0)
        .collect();
    points.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    points
}
