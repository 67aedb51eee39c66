//! A private Postgres for the demo and the tests: find or fetch the programs, start, stop, sweep up.
//!
//! *Owns* the server process, its guard and its directory.
//! *Takes* where to look for programs ([`Search`]) and how to run them ([`ClusterOptions`]).
//! *Gives* a [`Cluster`] and URLs to reach it.
//! *Never* outlives its process: however that ends, server and directory go with it.

mod account;
mod binaries;
mod cluster;
mod download;
mod guard;
mod place;

pub use binaries::{Binaries, FindError, Search};
pub use cluster::{Cluster, ClusterError, ClusterOptions, Storage, Tcp};
pub use download::DownloadError;
