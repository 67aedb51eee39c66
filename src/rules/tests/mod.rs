//! The contract's section 5, row by row.

mod errors;
mod hostile;
mod semantics;
mod syntax;
mod world;
