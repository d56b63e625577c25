//! What a live thread keeps resident beyond its stack.

use super::figure::digits;
use super::table::Table;
use crate::session::Session;
use crate::stats::Summary;

pub fn render(session: &Session) -> String {
    let head = session.columns.iter().map(|c| c.name.as_str());
    let mut table = Table::new(["workload"].into_iter().chain(head));
    for row in &session.rows {
        let kib =
            |column: &str| Summary::of(&session.values(&row.name, column, |o| o.thread_bytes));
        let cells: Vec<_> = session.columns.iter().map(|c| kib(&c.name)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|s| {
                s.map_or(String::new(), |s| {
                    format!("{} KiB{}", digits(s.median / 1024.0), s.mark())
                })
            });
            table.row([row.name.clone()].into_iter().chain(cells));
        }
    }
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Live threads\n\nResident memory that 2,000 threads with eight small blocks each add, per thread, beyond \
         stacks that were touched before.\n\n{}",
        table.render()
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_of_a_thread_are_shown_in_kib() {
        let mut session = crate::report::tests::session();
        assert_eq!(super::render(&session), "");
        if let Ok(outcome) = &mut session.samples[0].result {
            outcome.thread_bytes = Some(3072.0);
        }
        assert!(super::render(&session).contains("3.00 KiB?"));
    }
}
