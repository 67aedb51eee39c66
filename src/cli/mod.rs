//! Not built yet.

#[cfg(feature = "embedded")]
pub mod demo;
