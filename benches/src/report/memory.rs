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
        "of it huge pages",
        "freed",
        "1 s later",
        "kept of what was live",
        "within 5 % + 2 MiB",
        "resident per live byte",
        "mappings",
    ]);
    table.rows_of(session, cells);
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Resident set over time\n\nMiB of the whole process, medians. What is kept one idle second after \
         everything was freed is counted beyond what there was before.\n\n{}",
        table.render()
    )
}

/// What stayed of a live set an idle second after it was freed, KiB beyond what there was before.
pub struct Kept {
    live: f64,
    kept: f64,
}

impl Kept {
    /// Whether no more stayed than may: 5 % of what was live, and 2 MiB.
    pub fn is_within(&self) -> bool {
        self.kept <= 0.05 * self.live.max(0.0) + 2048.0
    }
}

/// The median of a figure of memory.
fn median(
    session: &Session,
    row: &str,
    column: &str,
    figure: fn(&Outcome) -> Option<f64>,
) -> Option<f64> {
    Summary::of(&session.values(row, column, figure)).map(|s| s.median)
}

/// What an allocator kept of a workload's memory; `None` when no sample waited for it.
pub fn kept(session: &Session, row: &str, column: &str) -> Option<Kept> {
    let later = median(session, row, column, |o| {
        o.later_rss_kib.map(|kib| kib as f64)
    })?;
    let base = median(session, row, column, |o| Some(o.base_rss_kib as f64))?;
    let live = median(session, row, column, |o| Some(o.live_rss_kib as f64))?;
    Some(Kept {
        live: live - base,
        kept: (later - base).max(0.0),
    })
}

fn cells(session: &Session, row: &Row, column: &str) -> Option<[String; 11]> {
    let median = |figure| median(session, &row.name, column, figure);
    let later = median(|o| o.later_rss_kib.map(|kib| kib as f64))?;
    let base = median(|o| Some(o.base_rss_kib as f64))?;
    let live = median(|o| Some(o.live_rss_kib as f64))?;
    let huge = median(|o| Some(o.live_huge_kib as f64))?;
    let freed = median(|o| Some(o.freed_rss_kib as f64))?;
    let mappings = median(|o| Some(o.mappings as f64))?;
    let kept = kept(session, &row.name, column)?;
    let share = if kept.live > 0.0 {
        format!("{:.0} %", 100.0 * kept.kept / kept.live)
    } else {
        String::new()
    };
    let within = if kept.is_within() { "yes" } else { "no" };
    let per_byte = median(|o| {
        let grown = o.live_rss_kib.saturating_sub(o.base_rss_kib) * 1024;
        (o.live_bytes > 0).then_some(grown as f64 / o.live_bytes as f64)
    });
    let mib = |kib: f64| digits(kib / 1024.0);
    Some([
        row.name.clone(),
        column.into(),
        mib(base),
        mib(live),
        mib(huge),
        mib(freed),
        mib(later),
        share,
        within.into(),
        per_byte.map_or(String::new(), digits),
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
        // 2 MiB are within 5 % of 20 MiB and 2 MiB more; half of 20 MiB would not be.
        assert!(line.contains("yes"), "{line}");
        // 20 MiB resident for 10 MiB asked for.
        assert!(line.contains("2.00 |"), "{line}");
        assert!(!text.contains("| small"));
    }

    #[test]
    fn what_is_kept_beyond_the_bound_is_said() {
        let mut session = crate::report::tests::session();
        for sample in &mut session.samples {
            if let Ok(outcome) = &mut sample.result {
                outcome.later_rss_kib = Some(10 * 1024);
            }
        }
        let text = super::render(&session);
        let line = text
            .lines()
            .find(|l| l.contains("| json") && l.contains("mimalloc"))
            .unwrap();
        assert!(line.contains("50 %") && line.contains(" no |"), "{line}");
    }
}
