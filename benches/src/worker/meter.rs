//! What a workload is handed: the settings, a stopwatch for its timed sections, and the moments at
//! which memory is looked at.
//!
//! ```text
//! base ── prepare ──[ time ]── live ──[ time ]── drop everything ── freed ── 1 s idle ── later
//!   RSS              CPU, wall,  RSS,   more, summed up               RSS                 RSS
//!                    faults      mappings
//! ```

use super::proc;
use super::scratch::{Scratch, Zeroable};
use crate::catalogue::Scale;
use crate::outcome::{Latency, Outcome, Point};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an idle process is left alone before its resident set is read again.
const IDLE: Duration = Duration::from_secs(1);

/// What the command line says.
pub struct Settings {
    /// How much work.
    pub scale: Scale,
    /// Threads for workloads with threads; at least 2.
    pub threads: usize,
    /// Where prepared inputs lie; for `replay`, the file of calls.
    pub inputs: PathBuf,
}

/// The stopwatch of one run.
pub struct Meter {
    settings: Settings,
    outcome: Outcome,
    live_seen: bool,
    /// What the workload's own tables keep resident, KiB: in no figure of memory.
    own_kib: u64,
}

impl Meter {
    pub(super) fn new(settings: Settings) -> Meter {
        let outcome = Outcome {
            base_rss_kib: proc::rss_kib(),
            ..Outcome::default()
        };
        Meter {
            settings,
            outcome,
            live_seen: false,
            own_kib: 0,
        }
    }

    /// The settings of this run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Threads to use; at least 2.
    pub fn threads(&self) -> usize {
        self.settings.threads.max(2)
    }

    /// One of two amounts, by the scale of the run.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        match self.settings.scale {
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// Takes a table of the workload's own out of the figures of memory. It must live until the last
    /// look at live memory.
    pub fn own<T: Zeroable>(&mut self, table: &mut Scratch<T>) {
        self.own_kib += table.make_resident() as u64 / 1024;
    }

    /// Runs a timed section of `ops` operations. Sections add up.
    pub fn time<T>(&mut self, ops: u64, section: impl FnOnce() -> T) -> T {
        let before = proc::usage();
        let started = Instant::now();
        let value = section();
        let wall = started.elapsed();
        let after = proc::usage();
        let sys_ns = after.sys_ns - before.sys_ns;
        self.outcome.ops += ops;
        self.outcome.wall_ns += wall.as_nanos() as u64;
        self.outcome.sys_ns += sys_ns;
        self.outcome.cpu_ns += after.user_ns - before.user_ns + sys_ns;
        self.outcome.minor_faults += after.minor_faults - before.minor_faults;
        self.outcome.preemptions += after.preemptions - before.preemptions;
        value
    }

    /// Looks at memory while the workload's blocks are live. The last call counts.
    pub fn live(&mut self) {
        self.live_seen = true;
        self.outcome.live_rss_kib = proc::rss_kib().saturating_sub(self.own_kib);
        self.outcome.live_huge_kib = proc::huge_kib();
        self.outcome.mappings = proc::mappings();
    }

    /// The same for a workload that knows how many bytes it has asked for and not freed.
    pub fn live_with(&mut self, bytes: u64) {
        self.live();
        self.outcome.live_bytes = bytes;
    }

    /// The same for a workload that has looked itself: KiB, KiB in huge pages, mappings, bytes.
    pub fn live_was(&mut self, rss_kib: u64, huge_kib: u64, mappings: u64, bytes: u64) {
        self.live_seen = true;
        self.outcome.live_rss_kib = rss_kib.saturating_sub(self.own_kib);
        self.outcome.live_huge_kib = huge_kib;
        self.outcome.mappings = mappings;
        self.outcome.live_bytes = bytes;
    }

    /// Records what single calls took.
    pub fn latency(&mut self, latency: Latency) {
        self.outcome.latency = Some(latency);
    }

    /// Records what a live thread keeps resident beyond its stack, bytes.
    pub fn thread_bytes(&mut self, bytes: f64) {
        self.outcome.thread_bytes = Some(bytes);
    }

    /// Records one point of a sweep.
    pub fn point(&mut self, size: u64, ns: f64) {
        self.outcome.points.push(Point { size, ns });
    }

    /// Looks at memory after everything was freed, and again after an idle second if asked to.
    pub(super) fn finish(mut self, settle: bool) -> Outcome {
        self.outcome.freed_rss_kib = proc::rss_kib();
        if !self.live_seen {
            self.outcome.live_rss_kib = self.outcome.freed_rss_kib;
            self.outcome.mappings = proc::mappings();
        }
        if settle {
            std::thread::sleep(IDLE);
            self.outcome.later_rss_kib = Some(proc::rss_kib());
        }
        self.outcome.peak_rss_kib = proc::peak_rss_kib().saturating_sub(self.own_kib);
        self.outcome
    }
}
