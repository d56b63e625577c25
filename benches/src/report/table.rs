//! A Markdown table, padded so that it reads in a terminal too.

use crate::session::{Row, Session};

/// Rows of cells under a head; the first column is text, the others are numbers.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head.
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Table {
        Table {
            rows: vec![head.into_iter().map(Into::into).collect()],
        }
    }

    /// Adds a row; missing cells are empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether it has a head only.
    /// Adds a row for each workload and allocator that has one.
    pub fn rows_of<C: IntoIterator<Item = String>>(
        &mut self,
        session: &Session,
        cells: impl Fn(&Session, &Row, &str) -> Option<C>,
    ) {
        for row in &session.rows {
            for column in &session.columns {
                if let Some(cells) = cells(session, row, &column.name) {
                    self.row(cells);
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table with an empty line after it.
    pub fn render(&self) -> String {
        let n_columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &[String], i: usize| row.get(i).cloned().unwrap_or_default();
        let width = |i: usize| {
            self.rows
                .iter()
                .map(|r| cell(r, i).chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        };
        let widths: Vec<usize> = (0..n_columns).map(width).collect();
        let mut out = String::new();
        for (n, row) in self.rows.iter().enumerate() {
            for (i, &w) in widths.iter().enumerate() {
                let text = cell(row, i);
                out += &if i == 0 {
                    format!("| {text:<w$} ")
                } else {
                    format!("| {text:>w$} ")
                };
            }
            out += "|\n";
            if n == 0 {
                for (i, &w) in widths.iter().enumerate() {
                    out += &if i == 0 {
                        format!("|:{}-", "-".repeat(w))
                    } else {
                        format!("|-{}:", "-".repeat(w))
                    };
                }
                out += "|\n";
            }
        }
        out.push('\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_padded_and_missing_ones_empty() {
        let mut table = Table::new(["name", "µs"]);
        assert!(table.is_empty());
        table.row(["a", "1.5"]);
        table.row(["longer"]);
        let want = "| name   |  µs |\n|:-------|----:|\n| a      | 1.5 |\n| longer |     |\n\n";
        assert_eq!(table.render(), want);
    }
}
