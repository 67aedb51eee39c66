//! The map in ARCHITECTURE.md, held against the source.
