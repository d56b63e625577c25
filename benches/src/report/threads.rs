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
        if session.columns.iter().all(|c| kib(&c.name).is_none()) {
            continue;
        }
        let cells = session.columns.iter().map(|c| {
            let trouble = session.trouble(&row.name, &c.name);
            let kib =
                kib(&c.name).map(|s| format!("{} KiB{}", digits(s.median / 1024.0), s.mark()));
            let words = kib.into_iter().chain(trouble.map(str::to_owned));
            words.collect::<Vec<_>>().join(", ")
        });
        table.row([row.name.clone()].into_iter().chain(cells));
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
        let (row, column) = (
            session.samples[0].row.clone(),
            session.columns[1].name.clone(),
        );
        for sample in &mut session.samples {
            if (&sample.row, &sample.column) == (&row, &column) {
                sample.result = Err(crate::execute::hang(std::time::Duration::ZERO));
            }
        }
        assert!(super::render(&session).contains(" hangs |"));
    }
}
