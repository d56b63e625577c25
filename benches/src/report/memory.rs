//! The resident set while the work is live, after everything was freed, and one idle second later.

use super::figure::digits;
use super::table::Table;
use crate::session::{Row, Session};
use crate::stats::Summary;
use pymalloc_bench::outcome::Outcome;

pub fn render(session: &Session) -> String {
    let mut table = Table::new([
        "workload",
        "allocator",
        "before",
        "live",
        "freed",
        "1 s later",
        "kept of what was live",
        "mappings",
    ]);
    for row in &session.rows {
        for column in &session.columns {
            if let Some(cells) = cells(session, row, &column.name) {
                table.row(cells);
            }
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Resident set over time\n\nMiB of the whole process, medians.\n\n{}",
        table.render()
    )
}

fn cells(session: &Session, row: &Row, column: &str) -> Option<[String; 8]> {
    let median = |figure: fn(&Outcome) -> Option<f64>| {
        Summary::of(&session.values(&row.name, column, figure)).map(|s| s.median)
    };
    let later = median(|o| o.later_rss_kib.map(|kib| kib as f64))?;
    let base = median(|o| Some(o.base_rss_kib as f64))?;
    let live = median(|o| Some(o.live_rss_kib as f64))?;
    let freed = median(|o| Some(o.freed_rss_kib as f64))?;
    let mappings = median(|o| Some(o.mappings as f64))?;
    let kept = if live > base {
        format!("{:.0} %", 100.0 * (later - base).max(0.0) / (live - base))
    } else {
        String::new()
    };
    let mib = |kib: f64| digits(kib / 1024.0);
    Some([
        row.name.clone(),
        column.into(),
        mib(base),
        mib(live),
        mib(freed),
        mib(later),
        kept,
        format!("{mappings:.0}"),
    ])
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_workloads_that_waited_are_shown() {
        let text = super::render(&crate::report::tests::session());
        let line = text
            .lines()
            .find(|l| l.contains("| json") && l.contains("mimalloc"))
            .unwrap();
        assert!(line.contains("20.0") && line.contains("10 %"), "{line}");
        assert!(!text.contains("| small"));
    }
}
