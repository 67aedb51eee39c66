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
mod capture_keys;
mod capture_kinds;
mod capture_partitions;
mod capture_types;
mod cli;
mod clients;
mod cookbook;
mod crashes;
mod db;
mod demo;
mod docs;
mod embedded;
mod expand;
mod faults;
mod full_disk;
mod half_open;
mod harness;
mod hooks;
mod leave;
mod login;
mod lost_commits;
mod messages;
mod messages_http;
mod messages_policy;
mod options;
mod oracle;
mod peers;
mod policy;
mod policy_record;
mod related;
mod relations;
mod relations_past;
mod relations_slow;
mod restored;
mod resume;
mod resume_doors;
mod retention;
mod river;
mod rule_advice;
mod rules_and_topics;
mod rules_oracle;
mod schema_attach;
mod schema_copies;
mod schema_migrate;
mod schema_relations;
mod snapshot;
mod snapshot_crashes;
mod snapshot_resume;
mod statements;
mod tail;
mod templates;
mod terminated;
mod tokens;
mod webhooks;
mod writers_rights;
mod writers_schema;
