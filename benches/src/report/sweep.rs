//! Cost by size as numbers: some sizes, and the steepest step between neighbours.

use super::figure::{bytes, time};
use super::table::Table;
use crate::session::Session;
use crate::stats::Summary;
use std::collections::BTreeMap;

/// Sizes shown, bytes; the plot has all.
const SHOWN: [u64; 12] = [
    1,
    16,
    64,
    256,
    512,
    1 << 10,
    4 << 10,
    32 << 10,
    256 << 10,
    1 << 20,
    8 << 20,
    64 << 20,
];

/// The medians of a sweep by size; empty when the workload is none.
pub fn curve(session: &Session, row: &str, column: &str) -> BTreeMap<u64, f64> {
    let mut by_size: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for point in session.outcomes(row, column).flat_map(|o| &o.points) {
        by_size.entry(point.size).or_default().push(point.ns);
    }
    by_size
        .into_iter()
        .filter_map(|(size, ns)| Some((size, Summary::of(&ns)?.median)))
        .collect()
}

pub fn render(session: &Session) -> String {
    let mut out = String::new();
    for row in &session.rows {
        let curves: Vec<_> = session
            .columns
            .iter()
            .map(|c| (&c.name, curve(session, &row.name, &c.name)))
            .collect();
        if curves.iter().all(|(_, curve)| curve.is_empty()) {
            continue;
        }
        let mut table = Table::new(
            ["request"]
                .into_iter()
                .chain(curves.iter().map(|(name, _)| name.as_str())),
        );
        for size in SHOWN {
            let at =
                |curve: &BTreeMap<u64, f64>| curve.get(&size).map_or(String::new(), |ns| time(*ns));
            table.row(
                [bytes(size)]
                    .into_iter()
                    .chain(curves.iter().map(|(_, curve)| at(curve))),
            );
        }
        table.row(
            ["steepest step".to_owned()]
                .into_iter()
                .chain(curves.iter().map(|(_, curve)| steepest(curve))),
        );
        out += &format!(
            "### {}: wall time per {}\n\n{}",
            row.name,
            row.unit,
            table.render()
        );
    }
    if out.is_empty() {
        out
    } else {
        format!("## Cost by size\n\n{out}")
    }
}

/// The largest growth from one size to the next, and where.
fn steepest(curve: &BTreeMap<u64, f64>) -> String {
    let steps = curve
        .iter()
        .zip(curve.iter().skip(1))
        .map(|((_, a), (size, b))| (b / a, *size));
    let steepest = steps.max_by(|a, b| a.0.total_cmp(&b.0));
    steepest.map_or(String::new(), |(factor, size)| {
        format!("× {factor:.1} at {}", bytes(size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_step_is_found() {
        let curve = BTreeMap::from([(1, 5.0), (2, 6.0), (1024, 60.0), (2048, 70.0)]);
        assert_eq!(steepest(&curve), "× 10.0 at 1 KiB");
    }

    #[test]
    fn a_sweep_becomes_a_table() {
        let text = render(&crate::report::tests::session());
        let line = text.lines().find(|l| l.starts_with("| 32 KiB")).unwrap();
        assert!(
            line.contains("40.0 ns") && line.contains("10.0 ns"),
            "{line}"
        );
    }
}
