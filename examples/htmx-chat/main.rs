//! A chat without JavaScript of its own: `cargo run --example htmx-chat`, then open what it prints in two windows.
//!
//! What is worth reading is in `site.rs` and `templates`.

#![allow(clippy::print_stdout, reason = "an example speaks on the terminal")]

#[path = "../shared/mod.rs"]
mod shared;
mod site;

#[tokio::main]
async fn main() -> Result<(), shared::Error> {
    shared::serve("the chat", 8093, site::open).await
}
