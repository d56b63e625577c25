//! How long single calls take: percentiles and the longest.

use super::figure::{digits, time};
use super::table::Table;
use crate::session::{Row, Session};
use crate::stats::{Summary, ratio};
use pymalloc_bench::catalogue::OURS;
use pymalloc_bench::outcome::Latency;

/// The longest calls of a workload under an allocator, one of each run, nanoseconds.
fn longest(session: &Session, row: &str, column: &str) -> Vec<f64> {
    session.values(row, column, |o| Some(o.latency.as_ref()?.max))
}

pub fn render(session: &Session) -> String {
    let mut table = Table::new([
        "workload",
        "allocator",
        "p50",
        "p99",
        "p99.9",
        "longest",
        "pymalloc's / its",
        "longest of all runs",
        "runs",
        "calls per run",
    ]);
    table.rows_of(session, cells);
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Single operations\n\nCPU time of single calls, two threads, less what reading the clock takes; the clock \
         ticks every 10 ns on many machines. Medians over the runs; the longest call of one run is chance, the \
         median of the longest of 20 runs is not.\n\n{}",
        table.render()
    )
}

fn cells(session: &Session, row: &Row, column: &str) -> Option<[String; 10]> {
    let summary = |figure: fn(&Latency) -> f64| {
        Summary::of(&session.values(&row.name, column, |o| o.latency.as_ref().map(figure)))
    };
    let median = |figure: fn(&Latency) -> f64| summary(figure).map(|s| s.median);
    let max = summary(|l| l.max)?;
    let against = ratio(
        &longest(session, &row.name, OURS),
        &longest(session, &row.name, column),
    );
    let worst = longest(session, &row.name, column)
        .into_iter()
        .fold(0.0, f64::max);
    Some([
        row.name.clone(),
        column.into(),
        time(median(|l| l.p50)?),
        time(median(|l| l.p99)?),
        time(median(|l| l.p999)?),
        format!(
            "{} ±{:.0}%{}",
            time(max.median),
            100.0 * max.spread,
            max.mark()
        ),
        against.map_or(String::new(), |r| digits(r.median)),
        time(worst),
        max.n_samples.to_string(),
        format!("{:.0}", median(|l| l.calls as f64)?),
    ])
}

#[cfg(test)]
mod tests {
    use crate::report::tests::session;
    use pymalloc_bench::outcome::Latency;

    #[test]
    fn the_median_of_the_longest_is_shown_with_its_ratio() {
        let mut session = session();
        for sample in &mut session.samples {
            let cost = match sample.column.as_str() {
                "mimalloc" => 40.0,
                _ => 10.0,
            };
            if let (Ok(outcome), "small") = (&mut sample.result, sample.row.as_str()) {
                outcome.latency = Some(Latency {
                    max: cost * 1000.0 * f64::from(sample.round + 1),
                    p50: cost,
                    ..Latency::default()
                });
            }
        }
        let text = super::render(&session);
        let line = text.lines().find(|l| l.contains("mimalloc")).unwrap();
        // Two runs of 40 and 80 µs; ours takes a quarter.
        assert!(line.contains("60.0 µs") && line.contains("0.25"), "{line}");
        assert!(line.contains("80.0 µs") && !text.contains("json"), "{text}");
    }
}
