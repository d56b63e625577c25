//! What the size of the live set costs, beyond what the caches explain.

use super::figure::{Figure, digits, time};
use super::table::Table;
use crate::session::Session;
use crate::stats::Summary;

/// The sizes of `replace` and its control: suffix, and powers of two in bytes.
pub const SETS: [(&str, u32); 4] = [("1m", 20), ("64m", 26), ("1g", 30), ("4g", 32)];

/// CPU nanoseconds per replacement in a live set; of `control` under whichever column it ran.
fn cost(session: &Session, kind: &str, set: &str, column: Option<&str>) -> Option<f64> {
    let row = format!("{kind}-{set}");
    let columns = session.columns.iter().map(|c| c.name.as_str());
    let values: Vec<f64> = columns
        .filter(|c| column.is_none_or(|wanted| wanted == *c))
        .flat_map(|c| session.values(&row, c, |o| Figure::Cpu.of(o)))
        .collect();
    Summary::of(&values).map(|s| s.median)
}

/// How a cost grows from the first live set to the last, less what the control grows: 1 is no growth.
fn beyond_control(own: (f64, f64), control: (f64, f64)) -> f64 {
    (own.1 - (control.1 - control.0)) / own.0
}

/// The live sets that were measured with their control.
fn measured(session: &Session) -> Vec<&'static str> {
    let has = |kind: &str, set: &str| cost(session, kind, set, None).is_some();
    SETS.iter()
        .map(|set| set.0)
        .filter(|set| has("replace", set) && has("control", set))
        .collect()
}

/// The costs in the smallest and the largest live set.
fn ends(session: &Session, kind: &str, column: Option<&str>) -> Option<(f64, f64)> {
    let sets = measured(session);
    let [first, .., last] = sets[..] else {
        return None;
    };
    Some((
        cost(session, kind, first, column)?,
        cost(session, kind, last, column)?,
    ))
}

/// How an allocator's cost grows from the smallest live set to the largest, less what the control grows.
pub fn beyond(session: &Session, column: &str) -> Option<f64> {
    let own = ends(session, "replace", Some(column))?;
    Some(beyond_control(own, ends(session, "control", None)?))
}

pub fn render(session: &Session) -> String {
    let sets = measured(session);
    if sets.len() < 2 {
        return String::new();
    }
    let head = ["allocator".to_owned()]
        .into_iter()
        .chain(sets.iter().map(|set| format!("replace-{set}")))
        .chain(["growth".to_owned(), "beyond the control".to_owned()]);
    let mut table = Table::new(head);
    let mut row = |name: &str, kind: &str, column: Option<&str>, beyond: Option<f64>| {
        let Some(own) = ends(session, kind, column) else {
            return;
        };
        let costs = sets
            .iter()
            .map(|set| cost(session, kind, set, column).map_or(String::new(), time));
        let growth = [digits(own.1 / own.0), beyond.map_or(String::new(), digits)];
        table.row([name.to_owned()].into_iter().chain(costs).chain(growth));
    };
    for column in session.columns.iter().map(|c| c.name.as_str()) {
        row(column, "replace", Some(column), beyond(session, column));
    }
    row("control", "control", None, None);
    format!(
        "## Cost by live set\n\nCPU time per random replacement. The control reads and writes the same blocks in the \
         same order where a bump allocator has put them; what it grows from the first live set to the last is \
         subtracted in the last column.\n\n{}",
        table.render()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Row, Sample};
    use pymalloc_bench::outcome::Outcome;

    #[test]
    fn what_the_control_grows_is_no_growth() {
        assert_eq!(beyond_control((20.0, 120.0), (10.0, 110.0)), 1.0);
        assert_eq!(beyond_control((20.0, 130.0), (10.0, 110.0)), 1.5);
    }

    #[test]
    fn the_table_has_a_row_per_allocator_and_the_control() {
        let mut session = crate::report::tests::session();
        session.samples.clear();
        for (row, column, cpu_ns) in [
            ("replace-1m", "pymalloc", 20),
            ("replace-64m", "pymalloc", 130),
            ("control-1m", "system", 10),
            ("control-64m", "system", 110),
        ] {
            let outcome = Outcome {
                ops: 1,
                cpu_ns,
                wall_ns: cpu_ns,
                ..Outcome::default()
            };
            session.rows.push(Row {
                name: row.into(),
                group: String::new(),
                unit: String::new(),
            });
            session.samples.push(Sample {
                row: row.into(),
                column: column.into(),
                round: 0,
                result: Ok(outcome),
            });
        }
        let text = render(&session);
        let line = |name: &str| text.lines().find(|l| l.contains(name)).unwrap().to_owned();
        assert!(line("| pymalloc").contains("6.50") && line("| pymalloc").contains("1.50"));
        assert!(line("| control").contains("11.0"), "{text}");
        assert!(!text.contains("| mimalloc"), "{text}");
    }
}
