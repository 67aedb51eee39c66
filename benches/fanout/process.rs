//! What the kernel says of a process: its processor time, its memory, and how many files it may open.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Error;

/// Ticks per second in `/proc/<pid>/stat`, the same on every Linux.
const TICKS: u64 = 100;

/// Raises our limit of open files as far as it goes, for our children, too; gives what it is now.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it cannot be raised, there are fewer clients.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Another process.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// The processor time of its threads so far, of the user and of the kernel.
    pub fn cpu(self) -> Result<Duration, Error> {
        self.scheduled().or_else(|_| self.ticked())
    }

    /// To the nanosecond, where the kernel keeps such statistics; of threads that live.
    fn scheduled(self) -> Result<Duration, Error> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            nanos += on_cpu(&fs::read_to_string(thread?.path().join("schedstat"))?)?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    fn ticked(self) -> Result<Duration, Error> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The program's name, in parentheses, may hold spaces.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS))
    }

    /// Bytes of memory that are its own or its share of what others use, too.
    pub fn memory(self) -> Result<u64, Error> {
        kilobytes(&format!("/proc/{}/smaps_rollup", self.0), "Pss:")
    }

    /// The most bytes that were resident since [`forget_peak`](Self::forget_peak).
    pub fn memory_peak(self) -> Result<u64, Error> {
        kilobytes(&format!("/proc/{}/status", self.0), "VmHWM:")
    }

    /// Begins a new peak.
    pub fn forget_peak(self) -> Result<(), Error> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.0), "5")?)
    }
}

/// The processor time of the calling thread.
pub fn own_thread_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(on_cpu(&stat).unwrap_or_default())
}

fn on_cpu(schedstat: &str) -> Result<u64, Error> {
    let first = schedstat.split_ascii_whitespace().next();
    Ok(first.ok_or("an empty schedstat")?.parse()?)
}

fn kilobytes(path: &str, name: &str) -> Result<u64, Error> {
    let text = fs::read_to_string(path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
    let value: u64 = value
        .ok_or_else(|| format!("no {name} in {path}"))?
        .parse()?;
    Ok(value * 1024)
}
