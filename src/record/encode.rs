//! The envelope and the record object.

use crate::catalog::Collection;
use crate::event::ChangeEvent;

/// Which fields are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// All but hidden ones.
    Plain,
    /// All.
    Full,
}

/// The data of a change: `{"record":{…},"action":"create"}` on one line.
pub fn encode_change(_event: &ChangeEvent, _visibility: Visibility) -> Vec<u8> {
    Vec::new()
}

/// The data of a gap in one collection: `{"record":{…},"action":"resync"}`, the record holding only
/// `collectionId`, `collectionName` and an empty `id`.
pub fn encode_gap(_collection: &Collection) -> Vec<u8> {
    Vec::new()
}
