//! The process itself in metrics, under the names that Prometheus' own client libraries use. From `/proc`: elsewhere than
//! on Linux only the start time is told.

use std::{fmt, fs};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::clock;

/// Unit of the times in `/proc/self/stat`. The kernel's is another, but what it shows to programs has been this on all
/// architectures that matter since Linux 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    start: f64,
}

impl Process {
    /// Call it early: the start of the process is taken to be now.
    pub(super) fn started_now() -> Self {
        Self { start: clock::now().duration_since(Timestamp::UNIX_EPOCH).as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name, help, unit: Option<Unit>, value: f64| {
            encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("process_start_time", "Start time of the process since the Unix epoch.", Some(Unit::Seconds), self.start)?;
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident(&status)) {
            gauge("process_resident_memory", "Resident memory.", Some(Unit::Bytes), bytes)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            gauge("process_open_fds", "Open file descriptors.", None, open.count().saturating_sub(1) as f64)?;
        }
        if let Some(limit) = fs::read_to_string("/proc/self/limits").ok().and_then(|limits| max_fds(&limits)) {
            gauge("process_max_fds", "The most file descriptors that may be open.", None, limit)?;
        }
        if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu(&stat)) {
            let help = "User and system CPU time spent.";
            let mut metric = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, f64, f64>(&seconds, None)?;
        }
        Ok(())
    }
}

/// `VmRSS:     11528 kB`
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// `Max open files            1024                 524288               files`: the soft limit; `unlimited` is none.
fn max_fds(limits: &str) -> Option<f64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// utime and stime, fields 14 and 15. The second field is the name in parentheses, and may hold spaces and more parentheses.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   11528 kB\nThreads:\t3\n"), Some(11528.0 * 1024.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        assert_eq!(cpu("7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 8 9 20 0 3 0 1"), Some(3.0));
        for garbage in ["", "VmRSS: many kB", "Max open files unlimited", "7 (x) S 1"] {
            assert_eq!((resident(garbage), max_fds(garbage), cpu(garbage)), (None, None, None), "{garbage:?}");
        }
    }
}
