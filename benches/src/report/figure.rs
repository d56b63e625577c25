//! The figures that are compared between allocators, and how numbers are written.

use pymalloc_bench::catalogue::Group;
use pymalloc_bench::outcome::Outcome;

/// A figure with a table of its own in every group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// CPU time per operation.
    Cpu,
    /// Wall time per operation.
    Wall,
    /// High-water mark of the resident set.
    Peak,
    /// Minor faults.
    Faults,
    /// Operations per second of wall time.
    Throughput,
    /// Instructions per operation.
    Instructions,
}

impl Figure {
    /// In the order of the report.
    pub const ALL: [Figure; 6] = [
        Figure::Instructions,
        Figure::Cpu,
        Figure::Wall,
        Figure::Throughput,
        Figure::Peak,
        Figure::Faults,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Figure::Cpu => "CPU time",
            Figure::Wall => "Wall time",
            Figure::Peak => "Peak resident set",
            Figure::Faults => "Minor page faults",
            Figure::Throughput => "Operations per second",
            Figure::Instructions => "Instructions",
        }
    }

    /// The figure of one outcome; `None` when it has none.
    pub fn of(self, outcome: &Outcome) -> Option<f64> {
        let timed = outcome.ops > 0 && outcome.wall_ns > 0;
        match self {
            Figure::Instructions => outcome.instructions,
            _ if !timed => None,
            Figure::Cpu => Some(outcome.cpu_per_op()),
            Figure::Wall => Some(outcome.wall_per_op()),
            Figure::Peak => Some(outcome.peak_rss_kib as f64),
            Figure::Faults => Some(outcome.minor_faults as f64),
            Figure::Throughput => Some(1e9 / outcome.wall_per_op()),
        }
    }

    /// Whether a group has a table of the figure.
    pub fn is_shown_for(self, group: &str) -> bool {
        match self {
            // Elsewhere it is the inverse of the wall time and says nothing new.
            Figure::Throughput => group == Group::Threads.title(),
            _ => true,
        }
    }

    /// Whether ratios and means of the figure say anything: counts of zero have none, and a
    /// throughput's would point the other way.
    pub fn has_ratios(self) -> bool {
        !matches!(self, Figure::Faults | Figure::Throughput)
    }

    /// Whether the figure differs from run to run, so that a single sample must be marked.
    pub fn varies(self) -> bool {
        self != Figure::Instructions
    }

    /// Whether the figure is one of a single operation.
    pub fn is_per_operation(self) -> bool {
        matches!(self, Figure::Cpu | Figure::Wall | Figure::Instructions)
    }

    /// A value with its unit.
    pub fn write(self, value: f64) -> String {
        match self {
            Figure::Cpu | Figure::Wall => time(value),
            Figure::Peak => mib(value),
            Figure::Faults => format!("{value:.0}"),
            Figure::Throughput => count(value),
            Figure::Instructions => digits(value),
        }
    }
}

/// A large number with three significant digits and a letter for thousands, millions, milliards.
pub fn count(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{} G", digits(v / 1e9)),
        v if v >= 1e6 => format!("{} M", digits(v / 1e6)),
        v if v >= 1e3 => format!("{} k", digits(v / 1e3)),
        v => digits(v),
    }
}

/// Nanoseconds with three significant digits and a unit.
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// KiB as MiB.
pub fn mib(kib: f64) -> String {
    format!("{} MiB", digits(kib / 1024.0))
}

/// Three significant digits.
pub fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Bytes in the largest unit that divides into a small number.
pub fn bytes(size: u64) -> String {
    match size {
        s if s >= 1 << 20 => format!("{} MiB", s >> 20),
        s if s >= 1 << 10 => format!("{} KiB", s >> 10),
        s => format!("{s} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(time(3.456), "3.46 ns");
        assert_eq!(time(34_567.0), "34.6 µs");
        assert_eq!(time(3.2e9), "3.20 s");
        assert_eq!(mib(1536.0), "1.50 MiB");
        assert_eq!([count(999.0), count(2.5e6)], ["999", "2.50 M"]);
        assert_eq!(
            [bytes(513), bytes(65_536), bytes(64 << 20)],
            ["513 B", "64 KiB", "64 MiB"]
        );
    }

    #[test]
    fn only_timed_outcomes_have_times_and_memory() {
        let timed = Outcome {
            ops: 10,
            wall_ns: 100,
            cpu_ns: 50,
            peak_rss_kib: 7,
            ..Outcome::default()
        };
        let values = [Figure::Cpu, Figure::Wall, Figure::Peak, Figure::Throughput];
        assert_eq!(
            values.map(|figure| figure.of(&timed)),
            [Some(5.0), Some(10.0), Some(7.0), Some(1e8)]
        );
        let counted = Outcome {
            ops: 10,
            instructions: Some(8.0),
            ..Outcome::default()
        };
        assert_eq!(values.map(|figure| figure.of(&counted)), [None; 4]);
        assert_eq!(Figure::Instructions.of(&counted), Some(8.0));
    }
}
