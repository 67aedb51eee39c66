//! The machine and the server the figures are from.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rowcast::embedded::Cluster;

use crate::Error;
use crate::options::Options;
use crate::site::Site;

/// Below this, a "disk" is memory.
const DISK_MIN: Duration = Duration::from_micros(20);

/// Prints what one must know to judge the figures.
pub async fn print(cluster: &Cluster, site: &Site, options: &Options) -> Result<(), Error> {
    let version: String = site
        .control
        .query_one("show server_version", &[])
        .await?
        .get(0);
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let sync = sync_latency(options.data.as_deref().unwrap_or(cluster.directory()))?;
    println!("{} cores: {}", available_parallelism()?, cpu());
    println!("Postgres {version}, fsync on, synchronous_commit on; rowcast as a {build} build");
    println!("a write of 8 kB and its fdatasync: {sync:.2?} (median of 100)");
    if options.disk_wait > 0 {
        println!("every flush made {} µs longer", options.disk_wait);
    }
    if sync < DISK_MIN {
        println!("that is no disk: choose a folder on one with --data DIR");
    }
    println!(
        "{} rounds, {:.1?} per cell, variants in turn\n",
        options.rounds(),
        options.cell()
    );
    Ok(())
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model
        .map_or("unknown model", |(_, name)| name.trim())
        .to_owned()
}

/// How long a commit has to wait for the disk at least.
fn sync_latency(folder: &Path) -> Result<Duration, Error> {
    let path = folder.join("sync-latency");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[b'x'; 8192])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
