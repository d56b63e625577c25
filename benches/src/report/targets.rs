//! What the allocator is meant to reach, and what was measured. Each line stands only where its figures
//! were measured; a target is met or missed by the medians of this very run.

use super::figure::{Figure, digits, time};
use super::growth;
use super::matrix::{Against, ratio_of};
use super::memory;
use super::table::Table;
use crate::session::Session;
use crate::stats::{Summary, geometric_mean};
use pymalloc_bench::catalogue::{Group, OURS, REFERENCE};

/// A line: what is aimed at, the bound, what was measured, whether that is within the bound.
struct Target {
    aim: String,
    bound: String,
    measured: String,
    met: bool,
}

impl Target {
    fn new(aim: impl Into<String>, value: f64, bound: f64) -> Target {
        Target {
            aim: aim.into(),
            bound: format!("≤ {bound:.2}"),
            measured: digits(value),
            met: value <= bound,
        }
    }
}

/// The table, or nothing when no line's figures were measured.
pub fn render(session: &Session) -> String {
    let all = match session.kind.as_str() {
        "run" => in_process(session),
        "preload" => preload(session),
        "instructions" | "cinstructions" => instructions(session),
        _ => Vec::new(),
    };
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["target", "bound", "measured", "met"]);
    for t in all {
        let met = if t.met { "yes" } else { "no" };
        table.row([t.aim, t.bound, t.measured, met.into()]);
    }
    format!("## Targets\n\n{}", table.render())
}

/// The ratios of a figure over all rows of some groups, by row.
fn ratios<'a>(
    session: &'a Session,
    groups: &[&str],
    figure: Figure,
    against: Against<'a>,
) -> Vec<(&'a str, f64)> {
    let rows = session.rows.iter();
    rows.filter(|r| groups.contains(&r.group.as_str()))
        .filter_map(|r| {
            let ratio = ratio_of(session, &r.name, figure, against)?;
            Some((r.name.as_str(), ratio.median))
        })
        .collect()
}

fn mean(ratios: &[(&str, f64)]) -> Option<f64> {
    geometric_mean(ratios.iter().map(|r| r.1))
}

/// The rows that lose, as a line of its own.
fn losses(ratios: &[(&str, f64)], bound: f64) -> Option<Target> {
    let lost = ratios.iter().filter(|r| r.1 > bound);
    let worst = ratios.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Target {
        aim: "no workload against its best peer".into(),
        bound: format!("≤ {bound:.2}"),
        measured: format!(
            "{} of {} lose, worst {} {}",
            lost.count(),
            ratios.len(),
            digits(worst.1),
            worst.0
        ),
        met: worst.1 <= bound,
    })
}

fn in_process(session: &Session) -> Vec<Target> {
    let crates = [Group::Crates.title()];
    let micro = [
        Group::Micro.title(),
        Group::Threads.title(),
        Group::Traces.title(),
    ];
    let all: Vec<&str> = micro.iter().chain(&crates).copied().collect();
    let (reference, jemalloc) = (Against::Column(REFERENCE), Against::Column("jemalloc"));
    let lines = [
        ("CPU", "", Figure::Cpu, &all[..], Against::BestPeer, 0.85),
        ("CPU", "", Figure::Cpu, &all, reference, 0.60),
        (
            "CPU",
            "real crates, ",
            Figure::Cpu,
            &crates,
            reference,
            0.95,
        ),
        (
            "CPU",
            "all but real crates, ",
            Figure::Cpu,
            &micro,
            reference,
            0.45,
        ),
        ("peak RSS", "", Figure::Peak, &all, reference, 0.75),
        ("peak RSS", "", Figure::Peak, &all, jemalloc, 0.95),
    ];
    let line = |(what, which, figure, groups, against, bound)| {
        let ratios = ratios(session, groups, figure, against);
        let against = match against {
            Against::BestPeer => "the best peer per workload",
            Against::Column(name) => name,
        };
        let aim = format!(
            "{what}, {which}{} workloads, against {against}",
            ratios.len()
        );
        Some(Target::new(aim, mean(&ratios)?, bound))
    };
    let mut targets: Vec<Target> = lines.into_iter().filter_map(line).collect();
    targets.extend(losses(
        &ratios(session, &all, Figure::Cpu, Against::BestPeer),
        1.05,
    ));
    targets.extend(kept(session));
    if let Some(growth) = growth::beyond(session, OURS) {
        let aim = "cost per replacement, largest live set against the smallest, beyond the control";
        targets.push(Target::new(aim, growth, 1.2));
    }
    targets.extend(threads(session));
    targets.extend(longest(session));
    targets
}

/// Workloads whose memory came back within a second.
fn kept(session: &Session) -> Option<Target> {
    let within: Vec<bool> = session
        .rows
        .iter()
        .filter_map(|row| Some(memory::kept(session, &row.name, OURS)?.is_within()))
        .collect();
    let n_within = within.iter().filter(|within| **within).count();
    (!within.is_empty()).then(|| Target {
        aim: "RSS 1 s after everything was freed".into(),
        bound: "≤ 5 % of what was live + 2 MiB".into(),
        measured: format!("{n_within} of {} workloads", within.len()),
        met: n_within == within.len(),
    })
}

fn threads(session: &Session) -> Option<Target> {
    let bytes = session
        .rows
        .iter()
        .flat_map(|row| session.values(&row.name, OURS, |o| o.thread_bytes))
        .collect::<Vec<_>>();
    let kib = Summary::of(&bytes)?.median / 1024.0;
    Some(Target {
        bound: "≤ 32 KiB".into(),
        measured: format!("{} KiB", digits(kib)),
        ..Target::new("RSS per live thread beyond its stack", kib, 32.0)
    })
}

/// Our longest single call against mimalloc's and jemalloc's, for every workload about that.
fn longest(session: &Session) -> Vec<Target> {
    let of = |row: &str, column: &str| {
        let all = session.values(row, column, |o| Some(o.latency.as_ref()?.max));
        Summary::of(&all).map(|s| s.median)
    };
    let line = |row: &str| {
        let peers = [REFERENCE, "jemalloc"].map(|peer| of(row, peer));
        let best = peers.into_iter().flatten().min_by(f64::total_cmp)?;
        let ours = of(row, OURS)?;
        Some(Target {
            aim: format!("longest single call, {row}"),
            bound: format!("< {}", time(best)),
            measured: time(ours),
            met: ours < best,
        })
    };
    session
        .rows
        .iter()
        .filter_map(|row| line(&row.name))
        .collect()
}

fn preload(session: &Session) -> Vec<Target> {
    let groups = session.groups();
    let cpu = ratios(session, &groups, Figure::Cpu, Against::BestPeer);
    let peak = |column| {
        mean(&ratios(
            session,
            &groups,
            Figure::Peak,
            Against::Column(column),
        ))
    };
    let [python_cpu, python_peak] =
        [Figure::Cpu, Figure::Peak].map(|figure| super::cpython::mean_of(session, figure, OURS));
    let lines = [
        (
            "CPU, all, against the best peer per workload",
            mean(&cpu),
            0.97,
        ),
        ("peak RSS against mimalloc", peak(REFERENCE), 0.75),
        ("peak RSS against jemalloc", peak("jemalloc"), 0.95),
        ("CPython, CPU against its own pymalloc", python_cpu, 0.95),
        (
            "CPython, peak RSS against its own pymalloc",
            python_peak,
            1.0,
        ),
    ];
    lines
        .into_iter()
        .filter_map(|(aim, value, bound)| Some(Target::new(aim, value?, bound)))
        .collect()
}

fn instructions(session: &Session) -> Vec<Target> {
    let groups = session.groups();
    let line = |peer: &'static str| {
        let all = ratios(
            session,
            &groups,
            Figure::Instructions,
            Against::Column(peer),
        );
        let pairs: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| name.contains("pair") || name.contains("box"))
            .collect();
        let aim = format!("instructions of a pair against {peer}");
        Some(Target::new(aim, mean(&pairs)?, 1.0))
    };
    let peers = [REFERENCE, "mimalloc3", "rusty_alloc"];
    peers.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_compared_with_means_and_with_the_worst() {
        let session = crate::report::tests::session();
        let text = render(&session);
        let line = |aim: &str| text.lines().find(|l| l.contains(aim)).unwrap().to_owned();
        // Ours takes half of mimalloc's time everywhere.
        assert!(
            line("CPU, 2 workloads, against mimalloc").contains("0.50"),
            "{text}"
        );
        assert!(line("CPU, real crates").ends_with("| yes |"), "{text}");
        assert!(line("all but real crates").ends_with("|  no |"), "{text}");
        assert!(line("no workload").contains("0 of 2 lose"), "{text}");
        assert!(!text.contains("thread"), "{text}");
    }

    #[test]
    fn the_worst_of_the_losses_is_named() {
        let t = losses(&[("a", 0.9), ("b", 1.3), ("c", 1.1)], 1.05).unwrap();
        assert_eq!(t.measured, "2 of 3 lose, worst 1.30 b");
        assert!(!t.met);
        assert!(losses(&[], 1.05).is_none());
    }
}
