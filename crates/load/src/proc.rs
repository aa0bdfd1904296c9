//! What the system says of processes.

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process, and those that it starts, hold as many descriptors as the system allows.
pub(crate) fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// CPU of processes so far in microseconds, user and system, known to 10 ms.
pub(crate) fn cpu_us(pids: &[u32]) -> anyhow::Result<u64> {
    let per_second = rustix::param::clock_ticks_per_second();
    let mut ticks = 0;
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Its name stands in parentheses, and may hold anything.
        let (_, rest) = stat.rsplit_once(')').context("stat")?;
        let times = rest.split_whitespace().skip(11).take(2);
        ticks += times.filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks * 1_000_000 / per_second)
}

/// Resident memory of processes in bytes.
pub(crate) fn resident(pids: &[u32]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("VmRSS")?;
        let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
        bytes += kib.context("VmRSS")? * 1_024;
    }
    Ok(bytes)
}

/// What the whole machine had to do in the last minute: with more than it has cores, times tell little.
pub(crate) fn machine_load() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().context("loadavg")?.parse()?)
}
