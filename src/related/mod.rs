//! Other records: the rows that rules, filters and `expand` reach from the one they are about.
//!
//! *Owns* the nouns [`Want`], [`RelatedRow`], [`Shelf`], and the statements that fetch.
//! *Takes* wants: a collection and what some of its columns must equal.
//! *Gives* the rows, of one moment for all that is fetched together; and all rows of a table, page by page.
//! *Never* decides anything, and never hands out a part of an answer as if it were the whole.

mod breaker;
mod complaints;
mod earlier;
mod gather;
mod group;
mod keys;
mod library;
mod listing;
mod past;
mod session;
mod shelf;
mod statement;
mod want;

pub use keys::{is_value_of, keys_in};
pub use library::{FetchError, Library, Reading};
pub use listing::{DatabaseTables, Listing, Tables};
pub use session::DatabaseLibrary;
pub use shelf::{Absent, Found, Mark, Shelf};
pub use want::{RelatedRow, Want};

/// Rows that one want may come to. More are as good as none: what needs them is not decided.
pub const ROWS_MAX: usize = 1_000;

/// How often it is decided again with more rows than before. Each time follows every path one step further, or
/// fetches what was too much for one go.
pub const ROUNDS_MAX: usize = 16;
