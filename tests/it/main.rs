//! Rowcast from the outside: one program of tests against a private Postgres.
//!
//! `cargo test --test it` needs nothing prepared. Every test has a database of its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and reports by printing"
)]

mod support;

mod architecture;
mod auth;
mod bell;
mod cli;
mod db;
mod demo;
mod docs;
mod embedded;
mod faults;
mod harness;
mod peers;
mod policy;
mod river;
mod statements;
