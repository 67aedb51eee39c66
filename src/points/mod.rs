//! Where clients that name themselves by a key go on after they were away, kept in the database.
//!
//! *Owns* the table of resume points, and the digests by which they are found.
//! *Takes* points from the hub, by one bounded channel, and questions by another.
//! *Gives* the points of those who come back, many in one query.
//! *Never* knows who they are: only digests are kept.

mod keeper;
mod key;

pub use keeper::{FindError, Keeper, Points, PointsOptions};
pub use key::PointKey;
