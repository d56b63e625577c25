//! The allocator's figures for programs and for Prometheus.

use crate::global::{PyMalloc, Stats};
use crate::os;
use core::fmt::{self, Write};

/// The figures of the whole process, now.
pub fn stats() -> Stats {
    PyMalloc.stats()
}

/// Bytes of this process that are resident, by `/proc`; `None` where that cannot be read.
pub fn resident_bytes() -> Option<u64> {
    let file = os::File::open(c"/proc/self/statm")?;
    let mut text = [0; 128];
    let len = file.read(&mut text);
    let mut words = core::str::from_utf8(text.get(..len)?).ok()?.split(' ');
    let pages: u64 = words.nth(1)?.parse().ok()?;
    Some(pages * os::page_size() as u64)
}

/// A figure: its name, kind, meaning and value.
type Row = (&'static str, &'static str, &'static str, u64);

/// The figures that are one number each.
fn rows(stats: &Stats) -> [Row; 16] {
    let (gauge, counter) = ("gauge", "counter");
    [
        (
            "mapped_bytes",
            gauge,
            "Memory held from the system.",
            stats.mapped_bytes,
        ),
        (
            "mapped_peak_bytes",
            gauge,
            "The most it was.",
            stats.mapped_bytes_high,
        ),
        (
            "block_bytes",
            gauge,
            "In blocks that are out.",
            stats.block_bytes,
        ),
        (
            "block_peak_bytes",
            gauge,
            "An upper bound of the most.",
            stats.block_bytes_high,
        ),
        ("arenas", gauge, "Arenas of 1 MiB.", stats.arenas),
        (
            "arenas_peak",
            gauge,
            "Sum of the most of each heap.",
            stats.arenas_high,
        ),
        (
            "arenas_obtained",
            counter,
            "Arenas ever obtained.",
            stats.arenas_total,
        ),
        ("huge_blocks", gauge, "Live huge blocks.", stats.huge_blocks),
        (
            "huge_bytes",
            gauge,
            "Bytes in live huge blocks.",
            stats.huge_bytes,
        ),
        (
            "huge_peak_bytes",
            gauge,
            "The most they were.",
            stats.huge_bytes_high,
        ),
        (
            "huge_blocks_made",
            counter,
            "Huge blocks ever made.",
            stats.huge_total,
        ),
        ("threads", gauge, "Threads with lists.", stats.threads),
        (
            "threads_started",
            counter,
            "Threads that ever had lists.",
            stats.threads_total,
        ),
        ("heaps", gauge, "Heaps.", stats.heaps),
        (
            "purged_bytes",
            counter,
            "Given back to the system.",
            stats.purged_bytes,
        ),
        (
            "foreign_frees",
            counter,
            "Frees of others' pointers.",
            stats.foreign_frees,
        ),
    ]
}

/// Writes the figures as OpenMetrics text: for the `/metrics` of a program that has one.
///
/// # Errors
/// What `out` says.
///
/// ```
/// let mut text = String::new();
/// pymalloc::observe::write_open_metrics(&pymalloc::observe::stats(), &mut text)?;
/// assert!(text.contains("# TYPE pymalloc_mapped_bytes gauge\n") && text.ends_with("# EOF\n"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
pub fn write_open_metrics(stats: &Stats, out: &mut impl Write) -> fmt::Result {
    for (name, kind, help, value) in rows(stats) {
        head(out, name, kind, help)?;
        let total = if kind == "counter" { "_total" } else { "" };
        writeln!(out, "pymalloc_{name}{total} {value}")?;
    }
    if let Some(resident) = resident_bytes() {
        head(
            out,
            "resident_bytes",
            "gauge",
            "Resident of the whole process.",
        )?;
        writeln!(out, "pymalloc_resident_bytes {resident}")?;
    }
    head(
        out,
        "class_blocks",
        "gauge",
        "Blocks out of their pools, by the bytes of a block.",
    )?;
    for class in stats.classes.iter().filter(|class| class.pools > 0) {
        let bytes = class.block_bytes;
        writeln!(
            out,
            "pymalloc_class_blocks{{block_bytes=\"{bytes}\"}} {}",
            class.in_use
        )?;
    }
    out.write_str("# EOF\n")
}

fn head(out: &mut impl Write, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# TYPE pymalloc_{name} {kind}")?;
    if name.ends_with("_bytes") {
        writeln!(out, "# UNIT pymalloc_{name} bytes")?;
    }
    writeln!(out, "# HELP pymalloc_{name} {help}")
}
