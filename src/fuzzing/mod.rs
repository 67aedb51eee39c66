//! Whatever others may write: texts, tokens and rows made up by a fuzzer, and what must hold for each.
//!
//! *Owns* the properties that hold for any input; each function here is one fuzz target.
//! *Takes* bytes: UTF-8, whose parts are divided by lines of `---`. What is left out has a default.
//! *Gives* nothing, or panics: then something is wrong with the room that was asked.
//! *Never* is part of a release: it is there for tests and for fuzzing (`fuzz/run`).

mod images;
mod options;
mod rules;
#[cfg(test)]
mod seeds;
mod tokens;
mod world;

/// A line that ends one part of an input.
const DIVIDER: &str = "\n---\n";

/// A rule, a row, a subscription and the claims of somebody.
pub fn rules(data: &[u8]) {
    let [rule, row, subscription, claims] = parts(data);
    rules::check(rule, row, subscription, claims);
}

/// A subscription as a client writes it.
pub fn options(data: &[u8]) {
    let [subscription] = parts(data);
    options::check(subscription);
}

/// An `Authorization` header; then the header and the claims of a token that somebody signs.
pub fn tokens(data: &[u8]) {
    let [authorization, header, claims] = parts(data);
    tokens::check(authorization, header, claims);
}

/// A row as the change log holds it.
pub fn images(data: &[u8]) {
    let [row] = parts(data);
    images::check(row);
}

/// The parts of an input; those that are not there are empty, and so are all where it is no text.
fn parts<const COUNT: usize>(data: &[u8]) -> [&str; COUNT] {
    let mut parts = std::str::from_utf8(data)
        .unwrap_or_default()
        .splitn(COUNT, DIVIDER);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
