//! One figure of one group: workloads down, allocators across, ratios at the right, geometric means below.

use super::figure::{Figure, digits};
use super::table::Table;
use crate::session::{Row, Session};
use crate::stats::{Summary, geometric_mean, ratio};
use pymalloc_bench::catalogue::{OURS, OURS_AGAIN, REFERENCE, is_ours};

/// A loss beyond this, and beyond what the A/A columns differ, is shown in bold.
const LOSS: f64 = 1.05;

/// What a ratio of ours is taken against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Against<'a> {
    /// The peer with the best median of that workload.
    BestPeer,
    /// A column by name.
    Column(&'a str),
}

/// The ratio of ours for one workload.
pub fn ratio_of(session: &Session, row: &str, figure: Figure, against: Against) -> Option<Summary> {
    let values = |column: &str| session.values(row, column, |o| figure.of(o));
    let theirs = match against {
        Against::Column(name) => values(name),
        Against::BestPeer => {
            let peers = session
                .columns
                .iter()
                .filter(|c| !is_ours(&c.name))
                .map(|c| values(&c.name));
            let median = |v: &Vec<f64>| Summary::of(v).map_or(f64::INFINITY, |s| s.median);
            peers.min_by(|a, b| median(a).total_cmp(&median(b)))?
        }
    };
    ratio(&values(OURS), &theirs)
}

/// The geometric mean of the ratios of a group's workloads.
pub fn mean_ratio(session: &Session, group: &str, figure: Figure, against: Against) -> Option<f64> {
    let rows = session.rows.iter().filter(|r| r.group == group);
    geometric_mean(
        rows.filter_map(|r| ratio_of(session, &r.name, figure, against))
            .map(|r| r.median),
    )
}

/// The columns of ratios that the allocators of a session allow, with their headings.
pub fn ratios(session: &Session) -> Vec<(String, Against<'static>)> {
    let has = |name: &str| session.columns.iter().any(|c| c.name == name);
    let mut ratios = Vec::new();
    if has(OURS) {
        if session.columns.iter().any(|c| !is_ours(&c.name)) {
            ratios.push(("/ best peer".into(), Against::BestPeer));
        }
        if has(REFERENCE) {
            ratios.push((format!("/ {REFERENCE}"), Against::Column(REFERENCE)));
        }
        if has(OURS_AGAIN) {
            ratios.push(("A/A".into(), Against::Column(OURS_AGAIN)));
        }
    }
    ratios
}

/// The table, or nothing when no workload of the group has the figure.
pub fn render(session: &Session, group: &str, figure: Figure) -> String {
    let rows: Vec<&Row> = session
        .rows
        .iter()
        .filter(|r| r.group == group && has(session, r, figure))
        .collect();
    if rows.is_empty() || !figure.is_shown_for(group) {
        return String::new();
    }
    let ratios = if figure.has_ratios() {
        ratios(session)
    } else {
        Vec::new()
    };
    let columns = session.columns.iter().map(|c| c.name.clone());
    let mut table = Table::new(
        ["workload".to_owned()]
            .into_iter()
            .chain(columns)
            .chain(ratios.iter().map(|r| r.0.clone())),
    );
    for row in &rows {
        let cells = session
            .columns
            .iter()
            .map(|c| cell(session, row, &c.name, figure));
        let of = |against| ratio_of(session, &row.name, figure, against);
        let noise = of(Against::Column(OURS_AGAIN)).map_or(1.0, |r| r.median.max(1.0 / r.median));
        let ratio_cells = ratios.iter().map(|r| {
            let is_noise = r.1 == Against::Column(OURS_AGAIN);
            let bound = if is_noise {
                f64::INFINITY
            } else {
                noise.max(LOSS)
            };
            ratio_cell(of(r.1), figure, bound)
        });
        table.row(
            [name(row, figure)]
                .into_iter()
                .chain(cells)
                .chain(ratio_cells),
        );
    }
    if figure.has_ratios() {
        table.row(means(session, group, figure, &ratios));
    }
    format!("### {group}: {}\n\n{}", figure.title(), table.render())
}

/// Whether a workload has the figure under any allocator; a sweep has only points.
fn has(session: &Session, row: &Row, figure: Figure) -> bool {
    session.columns.iter().any(|c| {
        session
            .outcomes(&row.name, &c.name)
            .any(|o| figure.of(o).is_some())
    })
}

fn name(row: &Row, figure: Figure) -> String {
    if figure.is_per_operation() && row.unit != "run" {
        format!("{} (per {})", row.name, row.unit)
    } else {
        row.name.clone()
    }
}

fn cell(session: &Session, row: &Row, column: &str, figure: Figure) -> String {
    let trouble = session.trouble(&row.name, column);
    let Some(s) = Summary::of(&session.values(&row.name, column, |o| figure.of(o))) else {
        return trouble.unwrap_or_default().into();
    };
    let spread = match figure {
        Figure::Faults => String::new(),
        _ => spread(&s, &format!("{:.0}%", 100.0 * s.spread), figure),
    };
    let end = trouble.map_or(String::new(), |what| format!(", {what}"));
    format!("{}{spread}{end}", figure.write(s.median))
}

/// What follows a median: its spread and its mark. A single sample has no spread.
fn spread(summary: &Summary, text: &str, figure: Figure) -> String {
    match summary.n_samples {
        _ if !figure.varies() => String::new(),
        1 => summary.mark().into(),
        _ => format!(" ±{text}{}", summary.mark()),
    }
}

/// A ratio with its spread, in bold beyond `bound`.
fn ratio_cell(ratio: Option<Summary>, figure: Figure, bound: f64) -> String {
    let Some(r) = ratio else { return String::new() };
    let spread = spread(&r, &format!("{:.2}", r.spread * r.median), figure);
    let text = format!("{}{spread}", digits(r.median));
    if r.median > bound {
        format!("**{text}**")
    } else {
        text
    }
}

/// The last line: each allocator against the reference, and the ratios' own means.
fn means(
    session: &Session,
    group: &str,
    figure: Figure,
    ratios: &[(String, Against)],
) -> Vec<String> {
    let medians = |column: &str| -> Vec<Option<f64>> {
        let rows = session.rows.iter().filter(|r| r.group == group);
        rows.map(|r| Some(Summary::of(&session.values(&r.name, column, |o| figure.of(o)))?.median))
            .collect()
    };
    let base_name = session
        .columns
        .iter()
        .find(|c| c.name == REFERENCE)
        .or(session.columns.first())
        .map_or("", |c| &c.name);
    let base = medians(base_name);
    let column = |name: &str| {
        let both = medians(name)
            .into_iter()
            .zip(&base)
            .filter_map(|(a, b)| Some(a? / (*b)?));
        geometric_mean(both).map_or(String::new(), |mean| format!("× {}", digits(mean)))
    };
    let cells = session.columns.iter().map(|c| column(&c.name));
    let of_ratio =
        |against| mean_ratio(session, group, figure, against).map_or(String::new(), digits);
    let label = format!("geometric mean, {base_name} = 1");
    [label]
        .into_iter()
        .chain(cells)
        .chain(ratios.iter().map(|r| of_ratio(r.1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::session;

    #[test]
    fn ratios_are_against_the_best_peer_and_the_reference() {
        let session = session();
        let of = |against| {
            ratio_of(&session, "small", Figure::Cpu, against)
                .unwrap()
                .median
        };
        assert_eq!(of(Against::BestPeer), 0.5);
        assert_eq!(of(Against::Column("system")), 0.25);
        assert_eq!(of(Against::Column("pymalloc#2")), 1.0);
    }

    #[test]
    fn a_table_has_the_workloads_the_ratios_and_the_means() {
        let table = render(&session(), "Micro-benchmarks", Figure::Cpu);
        let row = table
            .lines()
            .find(|l| l.contains("small (per pair)"))
            .unwrap();
        assert!(
            row.contains("40.0 ns ±0%") && row.contains("0.50 ±0.00"),
            "{row}"
        );
        let means = table
            .lines()
            .find(|l| l.contains("geometric mean, mimalloc = 1"))
            .unwrap();
        assert!(
            means.contains("× 2.00") && means.contains("× 0.50"),
            "{means}"
        );
    }

    #[test]
    fn losses_are_bold() {
        let loss = Summary {
            median: 1.2,
            spread: 0.0,
            n_samples: 3,
        };
        let cell = |summary, bound| ratio_cell(Some(summary), Figure::Cpu, bound);
        assert_eq!(cell(loss, LOSS), "**1.20 ±0.00**");
        let single = Summary {
            n_samples: 1,
            ..loss
        };
        assert_eq!(cell(single, LOSS), "**1.20?**");
        assert_eq!(cell(loss, 1.3), "1.20 ±0.00");
    }

    #[test]
    fn a_loss_within_what_the_same_allocator_differs_from_itself_is_none() {
        let mut session = session();
        let row_of = |session: &Session| {
            let table = render(session, "Micro-benchmarks", Figure::Cpu);
            table
                .lines()
                .find(|l| l.contains("small"))
                .unwrap()
                .to_owned()
        };
        let scale = |session: &mut Session, column: &str, by: u64| {
            for sample in session.samples.iter_mut().filter(|s| s.column == column) {
                sample.result.as_mut().unwrap().cpu_ns *= by;
            }
        };
        scale(&mut session, OURS, 4);
        assert!(!row_of(&session).contains("**"), "{}", row_of(&session));
        scale(&mut session, OURS_AGAIN, 4);
        assert!(row_of(&session).contains("**2.00"), "{}", row_of(&session));
    }

    #[test]
    fn a_group_without_operations_has_no_table() {
        assert_eq!(render(&session(), "Cost by size", Figure::Cpu), "");
    }
}
