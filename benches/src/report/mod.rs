//! The report: Markdown on stdout, plots beside the samples.
//!
//! ```text
//! # title, command, machine, versions, what was left out
//! ## Summary       one line per group: ratios of geometric means
//! ## Targets       what is aimed at, and whether this run met it
//! ## each group    instructions, CPU, wall, throughput, peak RSS, page faults: a table each, ratios to
//!                  the peers at the right
//! ## CPython       PYTHONMALLOC=malloc over each library against built-in pymalloc
//! ## Single operations  percentiles and the longest call
//! ## Cost by live set   against a bump-allocator control
//! ## Live threads  what each keeps resident
//! ## RSS over time live, freed, one second later; per live byte; mappings
//! ## Cost by size  a table of some sizes, the steepest step, plots
//! ## Failures
//! ```

mod cpython;
mod figure;
mod growth;
mod latency;
mod matrix;
mod memory;
mod plot;
mod summary;
mod sweep;
mod table;
mod targets;
mod threads;

use crate::execute;
use crate::session::Session;
pub use cpython::SUFFIX;
use figure::Figure;
use pymalloc_bench::catalogue::Group;
use std::fmt::Write;
use std::path::Path;

/// Prints the report of a session and writes its plots beside its file.
///
/// # Errors
/// When a plot cannot be written.
pub fn print(session: &Session, saved: &Path) -> Result<(), String> {
    print!("{}", render(session));
    for plot in plot::write_all(session, saved)? {
        println!("Plot: {}", plot.display());
    }
    println!("Samples: {}\n", saved.display());
    Ok(())
}

/// The report as Markdown.
pub fn render(session: &Session) -> String {
    let mut out = head(session);
    out += &summary::render(session);
    out += &targets::render(session);
    let control = Group::Control.title();
    for group in session.groups().into_iter().filter(|g| *g != control) {
        let tables: String = Figure::ALL
            .iter()
            .map(|figure| matrix::render(session, group, *figure))
            .collect();
        if !tables.is_empty() {
            let _ = write!(out, "## {group}\n\n{tables}");
        }
    }
    out += &cpython::render(session);
    out += &latency::render(session);
    out += &growth::render(session);
    out += &threads::render(session);
    out += &memory::render(session);
    out += &sweep::render(session);
    out += &failures(session);
    out
}

fn head(session: &Session) -> String {
    let title = match session.kind.as_str() {
        "preload" => "Preloaded allocators",
        "instructions" => "Instructions, in process",
        "cinstructions" => "Instructions, preloaded",
        "replay" => "A recording replayed, allocators in process",
        "creplay" => "A recording replayed, allocators preloaded",
        _ => "Allocators in process",
    };
    let mut out = format!(
        "# {title}\n\n`{}`\n\n{}\n\n",
        session.command, session.machine
    );
    let versions: Vec<_> = session
        .columns
        .iter()
        .map(|c| format!("{}: {}", c.name, c.version))
        .collect();
    let _ = writeln!(out, "{}\n", versions.join(" · "));
    for note in &session.notes {
        let _ = writeln!(out, "{note}\n");
    }
    for what in &session.left_out {
        let _ = writeln!(out, "Left out: {what}\n");
    }
    out += "Medians; ± is half the interquartile range. `~` marks samples that spread by more than 10 %, `?` a single \
            sample. A ratio below 1 means that pymalloc is better. A/A is pymalloc against itself under a second \
            name: what it differs from 1 is noise. Losses above 1.05 and beyond that noise are bold.\n\n";
    out
}

fn failures(session: &Session) -> String {
    let failed = session
        .samples
        .iter()
        .filter_map(|s| Some((s, s.result.as_ref().err()?)));
    let lines: String = failed
        .map(|(s, why)| {
            let end = if execute::is_hang(why) {
                "; not run again"
            } else {
                ""
            };
            format!(
                "* {} under {}, round {}: {why}{end}\n",
                s.row,
                s.column,
                s.round + 1
            )
        })
        .collect();
    if lines.is_empty() {
        lines
    } else {
        format!("## Failures\n\n{lines}\n")
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::session::{Column, Row, Sample};
    use pymalloc_bench::outcome::{Outcome, Point};

    /// Two workloads in two groups under four columns, two rounds.
    pub fn session() -> Session {
        let column = |name: &str| Column {
            name: name.into(),
            version: "1".into(),
        };
        let row = |name: &str, group: &str| Row {
            name: name.into(),
            group: group.into(),
            unit: "pair".into(),
        };
        let mut session = Session {
            kind: "run".into(),
            columns: ["system", "mimalloc", "pymalloc", "pymalloc#2"]
                .map(column)
                .into(),
            rows: vec![
                row("small", "Micro-benchmarks"),
                row("json", "Real crates"),
                row("sweep-pair", "Cost by size"),
            ],
            ..Session::default()
        };
        for (column, cost) in [
            ("system", 40),
            ("mimalloc", 20),
            ("pymalloc", 10),
            ("pymalloc#2", 10),
        ] {
            for (row, times) in [("small", 1), ("json", 1_000_000), ("sweep-pair", 0)] {
                for round in 0..2 {
                    let cpu_ns = cost * times * 10 * u64::from(times > 0);
                    let points = (0..27).map(|bits| Point {
                        size: 1 << bits,
                        ns: cost as f64,
                    });
                    let outcome = Outcome {
                        ops: if times > 0 { 10 } else { 0 },
                        cpu_ns,
                        wall_ns: cpu_ns,
                        peak_rss_kib: 1024 * cost,
                        live_rss_kib: 1024 * cost,
                        live_bytes: 512 * 1024 * cost,
                        later_rss_kib: (times > 1).then_some(2048),
                        points: if times > 0 {
                            Vec::new()
                        } else {
                            points.collect()
                        },
                        ..Outcome::default()
                    };
                    let (row, column) = (row.into(), column.into());
                    session.samples.push(Sample {
                        row,
                        column,
                        round,
                        result: Ok(outcome),
                    });
                }
            }
        }
        session
    }

    #[test]
    fn the_report_has_every_part() {
        let mut session = session();
        session.samples[0].result = Err("exit status: 3: oh".into());
        session.left_out.push("snmalloc needs `cmake`".into());
        let report = render(&session);
        for part in [
            "# Allocators in process",
            "Left out: snmalloc needs `cmake`",
            "## Summary",
            "## Micro-benchmarks",
            "## Real crates",
            "## Resident set over time",
            "## Cost by size",
            "* small under system, round 1: exit status: 3: oh",
        ] {
            assert!(report.contains(part), "{part} is missing in\n{report}");
        }
    }
}
