//! The contract's section 5, row by row.

mod advice;
mod client;
mod errors;
mod hostile;
mod oracle;
mod relations;
mod semantics;
mod sieve;
mod syntax;
mod world;
