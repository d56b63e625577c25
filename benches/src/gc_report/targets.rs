//! What the collector is meant to reach, and what was measured. A line stands only where its figures were
//! measured; a target is met or missed by the medians of these very samples.

use super::samples::Samples;
use super::table::short;
use std::fmt::Write;

/// Contenders that count references.
const COUNTING: [&str; 4] = ["bacon_rajan_cc", "gcmodule", "jrsonnet-gcmodule", "rust-cc"];
/// All Rust collectors.
const CRATES: [&str; 7] = [
    "dumpster",
    "bacon_rajan_cc",
    "gcmodule",
    "jrsonnet-gcmodule",
    "rust-cc",
    "gc-arena",
    "boa_gc",
];

/// Who a figure is compared with.
#[derive(Clone, Copy)]
enum Whose {
    /// One contender: how many times ours it takes.
    Times(&'static str),
    /// The best of several.
    TimesBest(&'static str, &'static [&'static str]),
    /// How much of one contender's ours is.
    Share(&'static str),
    /// Nobody: the figure itself, times a factor, and its unit.
    Itself(f64, &'static str),
}

/// Row, who, the bound that must be kept, the one aimed at. Ratios of [`Whose::Times`] are to be at least
/// that, everything else at most.
const TARGETS: [(&str, Whose, f64, f64); 27] = [
    ("a-clone", Whose::Share("rc"), 1.15, 1.0),
    ("b-alloc", Whose::Times("rc"), 2.0, 3.0),
    ("b-alloc", Whose::Times("cpython"), 5.0, 8.0),
    ("c-self", Whose::Times("cpython"), 4.0, 8.0),
    ("c-self", Whose::Times("dumpster"), 40.0, 100.0),
    ("d-pairs", Whose::Times("cpython"), 5.0, 10.0),
    ("d-pairs", Whose::Times("dumpster"), 50.0, 150.0),
    (
        "d-pairs",
        Whose::TimesBest("best counting crate", &COUNTING),
        3.0,
        7.0,
    ),
    ("d-pairs", Whose::Share("gc-arena"), f64::INFINITY, 1.0),
    ("e-tree", Whose::Times("cpython"), 4.0, 8.0),
    ("e-tree", Whose::Times("dumpster"), 40.0, 100.0),
    ("f-tree-1m", Whose::Times("cpython"), 3.0, 4.5),
    ("f-tree-1m", Whose::Times("gc-arena"), 1.5, 1.5),
    ("f-tree-4m", Whose::Times("cpython"), 3.0, 4.5),
    ("f-tree-4m", Whose::Times("gc-arena"), 1.5, 1.5),
    ("f-random-1m", Whose::Times("cpython"), 12.0, 25.0),
    ("f-random-1m", Whose::Times("gc-arena"), 2.0, 2.0),
    ("f-random-4m", Whose::Times("cpython"), 12.0, 25.0),
    ("f-random-4m", Whose::Times("gc-arena"), 2.0, 2.0),
    // A nanosecond per object is a millisecond per million.
    (
        "f-untouched",
        Whose::Itself(1.0, "ms per 1 M objects"),
        0.5,
        0.1,
    ),
    ("g-young", Whose::Itself(1.0, "ns"), 40.0, 22.0),
    ("g-young", Whose::Times("cpython"), 4.0, 4.0),
    ("g-young", Whose::TimesBest("best crate", &CRATES), 2.5, 2.5),
    ("h-random", Whose::Times("cpython"), 15.0, 30.0),
    ("h-random", Whose::Times("dumpster"), 50.0, 50.0),
    ("h-random", Whose::Share("gc-arena"), 2.0, 1.0),
    (
        "memory",
        Whose::Itself(1.0, "bytes over payload"),
        14.0,
        11.0,
    ),
];

/// The table, or nothing when no line's figures were measured.
pub fn render(all: &Samples) -> String {
    let lines: String = TARGETS
        .iter()
        .filter_map(|target| line(all, target))
        .collect();
    if lines.is_empty() {
        return lines;
    }
    let head = "| work | against | must | aim | measured | |\n|---|---|---|---|---|---|\n";
    format!("\n## Targets\n\n{head}{lines}{}", added(all))
}

fn line(all: &Samples, (workload, whose, must, aim): &(&str, Whose, f64, f64)) -> Option<String> {
    let ours = all.median(workload, "pymalloc")?;
    let other = |contender: &str| all.median(workload, contender);
    let (measured, against) = match *whose {
        Whose::Times(who) => (other(who)? / ours, format!("times faster than {who}")),
        Whose::TimesBest(name, crates) => {
            let values = crates.iter().filter_map(|contender| other(contender));
            let best = values.min_by(f64::total_cmp)?;
            (best / ours, format!("times faster than the {name}"))
        }
        Whose::Share(who) => (ours / other(who)?, format!("of {who}'s time")),
        Whose::Itself(factor, unit) => (ours * factor, unit.to_owned()),
    };
    let is_at_least = matches!(whose, Whose::Times(_) | Whose::TimesBest(..));
    let meets = |bound: f64| {
        if is_at_least {
            measured >= bound
        } else {
            measured <= bound
        }
    };
    let sign = if is_at_least { "≥" } else { "≤" };
    let bound = |bound: f64| match bound.is_finite() {
        true => format!("{sign} {bound}"),
        false => String::new(),
    };
    let verdict = match (meets(*must), meets(*aim)) {
        (false, _) => "**missed**",
        (true, false) => "must",
        (true, true) => "aim",
    };
    Some(format!(
        "| {workload} | {against} | {} | {} | {} | {verdict} |\n",
        bound(*must),
        bound(*aim),
        short(measured)
    ))
}

/// What a collection adds to the memory of an object.
fn added(all: &Samples) -> String {
    let ours = |workload| all.median(workload, "pymalloc");
    let (Some(before), Some(after)) = (ours("memory"), ours("memory-collected")) else {
        return String::new();
    };
    let mut out = String::new();
    let more = after - before;
    let verdict = if more <= 6.0 { "must" } else { "**missed**" };
    let _ = writeln!(
        out,
        "| memory-collected | bytes a collection adds | ≤ 6 | | {} | {verdict} |",
        short(more)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc_report::samples::tests::samples;

    #[test]
    fn a_target_is_met_or_missed_by_the_medians() {
        let text = render(&samples(&[
            ("b-alloc", "pymalloc", 10.0),
            ("b-alloc", "rc", 25.0),
            ("b-alloc", "cpython", 40.0),
            ("memory", "pymalloc", 10.0),
            ("memory-collected", "pymalloc", 17.5),
        ]));
        let has = |line: &str| assert!(text.contains(line), "{line} in {text}");
        has("| b-alloc | times faster than rc | ≥ 2 | ≥ 3 | 2.5 | must |");
        has("| b-alloc | times faster than cpython | ≥ 5 | ≥ 8 | 4.0 | **missed** |");
        has("| memory | bytes over payload | ≤ 14 | ≤ 11 | 10.0 | aim |");
        has("| bytes a collection adds | ≤ 6 | | 7.5 | **missed** |");
        assert!(!text.contains("g-young"), "{text}");
    }
}
