//! Not built yet.

mod image;
