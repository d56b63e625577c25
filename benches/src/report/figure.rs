//! The figures that are compared between allocators, and how numbers are written.

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
}

impl Figure {
    /// In the order of the report.
    pub const ALL: [Figure; 4] = [Figure::Cpu, Figure::Wall, Figure::Peak, Figure::Faults];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Figure::Cpu => "CPU time",
            Figure::Wall => "Wall time",
            Figure::Peak => "Peak resident set",
            Figure::Faults => "Minor page faults",
        }
    }

    /// The figure of one outcome; `None` when it has none.
    pub fn of(self, outcome: &Outcome) -> Option<f64> {
        match self {
            Figure::Cpu => (outcome.ops > 0).then(|| outcome.cpu_per_op()),
            Figure::Wall => (outcome.ops > 0).then(|| outcome.wall_per_op()),
            Figure::Peak => Some(outcome.peak_rss_kib as f64),
            Figure::Faults => Some(outcome.minor_faults as f64),
        }
    }

    /// Whether ratios and means of the figure say anything: counts of zero have none.
    pub fn has_ratios(self) -> bool {
        self != Figure::Faults
    }

    /// A value with its unit.
    pub fn write(self, value: f64) -> String {
        match self {
            Figure::Cpu | Figure::Wall => time(value),
            Figure::Peak => mib(value),
            Figure::Faults => format!("{value:.0}"),
        }
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
        assert_eq!(
            [bytes(513), bytes(65_536), bytes(64 << 20)],
            ["513 B", "64 KiB", "64 MiB"]
        );
    }
}
