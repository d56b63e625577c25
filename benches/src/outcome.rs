//! What one run of one workload in one process measured: the line a worker prints and the runner reads.

use serde::{Deserialize, Serialize};

/// One measured run. Times cover the timed sections only, never the preparation of inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Operations in the timed sections; the workload's unit says what one operation is.
    pub ops: u64,
    /// Wall time, nanoseconds.
    pub wall_ns: u64,
    /// User plus system CPU time of all threads, nanoseconds.
    pub cpu_ns: u64,
    /// The system part of `cpu_ns`.
    pub sys_ns: u64,
    /// High-water mark of the resident set of this process alone (`VmHWM`), KiB.
    pub peak_rss_kib: u64,
    /// Resident set before the workload began, KiB.
    pub base_rss_kib: u64,
    /// Resident set while the workload's memory is still live, KiB.
    pub live_rss_kib: u64,
    /// How much of `live_rss_kib` lies in huge pages, KiB.
    #[serde(default)]
    pub live_huge_kib: u64,
    /// Resident set right after everything was freed, KiB.
    pub freed_rss_kib: u64,
    /// Resident set one idle second after that, KiB; absent when the run did not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later_rss_kib: Option<u64>,
    /// Minor page faults in the timed sections.
    pub minor_faults: u64,
    /// Memory mappings of the process while the workload's memory is live.
    pub mappings: u64,
    /// Bytes the workload had asked for and not freed when `live_rss_kib` was read; 0 when it does not count them.
    #[serde(default)]
    pub live_bytes: u64,
    /// How often the kernel took the CPU away in the timed sections: a sign of a busy machine.
    pub preemptions: u64,
    /// Cost by size, for the sweeps only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
    /// How long single calls took, for the workloads about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Resident bytes per live thread beyond its stack, for the workload about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_bytes: Option<f64>,
    /// Instructions per operation, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<f64>,
    /// The resident set as the runner saw it from outside while the process ran, for some samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Moment>,
}

/// CPU nanoseconds of single calls to the allocator, less what the clock itself takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Calls measured.
    pub calls: u64,
    /// The middle call.
    pub p50: f64,
    /// 99 of 100 calls took no longer.
    pub p99: f64,
    /// 999 of 1,000 calls took no longer.
    pub p999: f64,
    /// The longest call.
    pub max: f64,
    /// What reading the clock took and was subtracted.
    pub clock: f64,
    /// Fraction of the calls that took longer, and the time they exceeded; for the plot.
    pub tail: Vec<(f64, f64)>,
}

/// One look at a running process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds since the process was started.
    pub ms: u32,
    /// Its resident set then, KiB.
    pub kib: u64,
}

/// One point of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Request in bytes.
    pub size: u64,
    /// Nanoseconds per operation.
    pub ns: f64,
}

impl Outcome {
    /// CPU nanoseconds per operation.
    pub fn cpu_per_op(&self) -> f64 {
        self.cpu_ns as f64 / self.ops.max(1) as f64
    }

    /// Wall nanoseconds per operation.
    pub fn wall_per_op(&self) -> f64 {
        self.wall_ns as f64 / self.ops.max(1) as f64
    }
}
