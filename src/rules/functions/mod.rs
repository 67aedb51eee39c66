//! The functions of the language (contract, section 5.10).

mod distance;
mod format;
mod modifier;
mod moment;

pub(super) use distance::distance_km;
pub(super) use format::Format;
pub(super) use modifier::Modifier;
pub(super) use moment::{Moment, TimeValue};
