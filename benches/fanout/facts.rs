//! What one must know to judge the figures.

use std::fs;
use std::thread::available_parallelism;

use rowcast::embedded::Cluster;

use crate::Error;
use crate::options::Options;
use crate::site::connect;

/// The machine, the programs and how long they are measured, a line each.
pub async fn gather(
    cluster: &Cluster,
    options: &Options,
    files: u64,
) -> Result<Vec<String>, Error> {
    let admin = connect(&cluster.url("postgres")).await?;
    let version: String = admin.query_one("show server_version", &[]).await?.get(0);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown model", |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let build = match cfg!(debug_assertions) {
        true => "debug",
        false => "release",
    };
    Ok(vec![
        format!(
            "{} cores: {cpu}, Linux {}; load average {load} before the run",
            available_parallelism()?,
            kernel.trim()
        ),
        format!(
            "rowcast {} as a {build} build; Postgres {version} without fsync; clients, writers and servers on this machine",
            env!("CARGO_PKG_VERSION")
        ),
        format!(
            "{} rounds of {:.1?}, lines in turn, medians; at most {files} open files per process",
            options.rounds(),
            options.window()
        ),
    ])
}
