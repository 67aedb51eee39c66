//! What tests share: databases, waiting, and a client for the feed.

#![allow(
    dead_code,
    unused_imports,
    reason = "not every test file needs every helper"
)]

mod database;
pub mod feed;
pub mod ledger;
pub mod people;
pub mod process;
pub mod server;
pub mod source;
pub mod sse;
mod wait;

pub use database::{
    TestDatabase, client, cluster_options, database, durable_cluster, empty_database,
};
pub use feed::{Feed, with_query};
pub use server::Server;
pub use sse::{Event, Sse};
pub use wait::{DEADLINE, eventually, within};
