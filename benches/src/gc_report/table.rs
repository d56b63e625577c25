//! The table of workloads and contenders, the rate of allocation, and the pauses.

use super::samples::Samples;
use super::{CONTENDERS, WORKLOADS};
use std::fmt::Write;

/// A row per workload that has samples, a column per contender that has.
pub fn render(all: &Samples) -> String {
    let has = |workload: &str, contender: &str| {
        all.summary(workload, contender).is_some() || all.failed(workload, contender)
    };
    let columns: Vec<_> = CONTENDERS
        .into_iter()
        .filter(|contender| WORKLOADS.iter().any(|row| has(row.0, contender)))
        .collect();
    let rows = WORKLOADS
        .iter()
        .filter(|row| columns.iter().any(|contender| has(row.0, contender)));
    let mut out = String::from(
        "\nNanoseconds of CPU per object (bytes for memory), medians of interleaved samples; in brackets: times \
         ours; `~` spreads by more than 10 %, `?` a single sample, `–` it cannot, see below.\n\n",
    );
    let _ = writeln!(out, "| work | {} |", columns.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(columns.len()));
    for (workload, question) in rows {
        let cells: Vec<_> = columns
            .iter()
            .map(|contender| cell(all, workload, contender))
            .collect();
        let _ = writeln!(out, "| {workload}: {question} | {} |", cells.join(" | "));
        if *workload == "g-young" {
            let rates: Vec<_> = columns
                .iter()
                .map(|contender| all.median(workload, contender))
                .map(|ns| ns.map_or("–".to_owned(), |ns| short(1e3 / ns)))
                .collect();
            let _ = writeln!(
                out,
                "| million objects a second, made and freed so | {} |",
                rates.join(" | ")
            );
        }
    }
    out + &pauses(all) + &failures(all)
}

fn cell(all: &Samples, workload: &str, contender: &str) -> String {
    let Some(summary) = all.summary(workload, contender) else {
        return "–".to_owned();
    };
    let value = format!("{}{}", short(summary.median), summary.mark());
    match all.median(workload, "pymalloc") {
        Some(ours) if contender != "pymalloc" && ours > 0.0 => {
            format!("{value} ({:.1})", summary.median / ours)
        }
        _ => value,
    }
}

fn pauses(all: &Samples) -> String {
    let mut out = String::new();
    for (workload, _) in WORKLOADS {
        for contender in CONTENDERS {
            let more = all.more(workload, contender);
            if more.is_empty() {
                continue;
            }
            let _ = writeln!(out, "\n## {workload}, {contender}\n");
            for (name, value) in more {
                let _ = writeln!(out, "* {name}: {}", short(value));
            }
        }
    }
    out
}

fn failures(all: &Samples) -> String {
    let mut out = String::new();
    for (workload, _) in WORKLOADS {
        for contender in CONTENDERS {
            match all.why(workload, contender) {
                Some("cannot") | None => {}
                Some(why) => {
                    let _ = writeln!(out, "* {contender}, {workload}: {why}");
                }
            }
        }
    }
    if out.is_empty() {
        out
    } else {
        format!("\n## Not done\n\n{out}")
    }
}

/// A figure in three digits or so.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc_report::samples::tests::samples;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            (short(1234.5), short(12.34), short(0.1234)),
            ("1234".into(), "12.3".into(), "0.123".into())
        );
    }

    #[test]
    fn a_row_has_times_ours_and_the_rate_of_allocation() {
        let text = render(&samples(&[
            ("g-young", "pymalloc", 10.0),
            ("g-young", "rc", 25.0),
        ]));
        assert!(text.contains("| work | pymalloc | rc |"), "{text}");
        assert!(text.contains("| 10.0? | 25.0? (2.5) |"), "{text}");
        assert!(text.contains("so | 100 | 40.0 |"), "{text}");
        assert!(!text.contains("a-clone"), "{text}");
    }
}
