//! The payload: a row image becomes PocketBase's record JSON.
//!
//! *Owns* the value formats of contract section 4.4 and the picker of section 4.5.
//! *Takes* a change event and who is looking.
//! *Gives* the event's data as one line of JSON.
//! *Never* shows a hidden field to anybody but a superuser.

mod date;
mod encode;
mod expansion;
mod number;
mod picker;
mod text;
mod value;

pub use encode::{
    Visibility, encode_change, encode_expanded, encode_gap, encode_leave, encode_ready,
    encode_record, encode_refusal, entered, pick_change, snapshot_row, with_record,
};
pub use expansion::{Expansion, Related, RelatedRecord};
pub use picker::{FieldsError, Picker};
pub(crate) use value::write_value;
