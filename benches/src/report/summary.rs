//! The first table: a line per group, ratios of ours as geometric means.

use super::figure::{Figure, digits};
use super::matrix::{Against, mean_ratio, ratio_of, ratios};
use super::table::Table;
use crate::session::Session;

pub fn render(session: &Session) -> String {
    let ratios = ratios(session);
    if ratios.is_empty() {
        return String::new();
    }
    let head = |figure: &str| {
        ratios
            .iter()
            .map(move |r| format!("{figure} {}", r.0))
            .collect::<Vec<_>>()
    };
    let mut table = Table::new(
        ["group".to_owned()]
            .into_iter()
            .chain(head("CPU"))
            .chain(head("peak RSS"))
            .chain(["worst CPU / best peer".to_owned()]),
    );
    for group in session.groups() {
        let means = |figure: Figure| {
            ratios
                .iter()
                .map(move |r| mean_ratio(session, group, figure, r.1).map_or(String::new(), digits))
        };
        let Some(worst) = worst(session, group) else {
            continue;
        };
        table.row(
            [group.to_owned()]
                .into_iter()
                .chain(means(Figure::Cpu))
                .chain(means(Figure::Peak))
                .chain([worst]),
        );
    }
    if table.is_empty() {
        String::new()
    } else {
        format!(
            "## Summary: pymalloc against its peers\n\n{}",
            table.render()
        )
    }
}

/// The workload that does worst against its best peer.
fn worst(session: &Session, group: &str) -> Option<String> {
    let rows = session.rows.iter().filter(|r| r.group == group);
    let of = |name: &str| ratio_of(session, name, Figure::Cpu, Against::BestPeer).map(|r| r.median);
    let (name, ratio) = rows
        .filter_map(|r| Some((&r.name, of(&r.name)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(format!("{} {name}", digits(ratio)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_per_group_with_operations() {
        let text = super::render(&crate::report::tests::session());
        assert!(
            text.contains("| Micro-benchmarks ") && text.contains("0.50 small"),
            "{text}"
        );
        assert!(!text.contains("Cost by size"), "{text}");
    }
}
