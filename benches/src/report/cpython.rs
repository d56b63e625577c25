//! CPython's own pymalloc against `PYTHONMALLOC=malloc` over each library.
//!
//! Under `preload` a Python script has two rows: `NAME`, where CPython's built-in pymalloc serves small
//! requests, and `NAME/malloc`, where every request reaches the library. The base of this table is `NAME`
//! without any library.

use super::figure::{Figure, digits};
use super::table::Table;
use crate::preload::library::GLIBC;
use crate::session::Session;
use crate::stats::{Summary, geometric_mean, ratio};

/// What the name of a row ends in when `PYTHONMALLOC=malloc` is set.
pub const SUFFIX: &str = "/malloc";

/// The scripts that ran with and without `PYTHONMALLOC=malloc`.
fn scripts(session: &Session) -> Vec<&str> {
    let rows = session.rows.iter();
    rows.filter_map(|r| r.name.strip_suffix(SUFFIX)).collect()
}

/// A script over a library against the same script over CPython's own pymalloc.
fn ratio_of(session: &Session, script: &str, figure: Figure, column: &str) -> Option<Summary> {
    ratio(
        &session.values(&format!("{script}{SUFFIX}"), column, |o| figure.of(o)),
        &session.values(script, GLIBC, |o| figure.of(o)),
    )
}

/// The geometric mean of a library's ratios.
pub fn mean_of(session: &Session, figure: Figure, column: &str) -> Option<f64> {
    let scripts = scripts(session);
    geometric_mean(
        scripts
            .iter()
            .filter_map(|script| ratio_of(session, script, figure, column))
            .map(|r| r.median),
    )
}

pub fn render(session: &Session) -> String {
    let scripts = scripts(session);
    if scripts.is_empty() {
        return String::new();
    }
    let mut out = "## CPython: PYTHONMALLOC=malloc over each library against built-in pymalloc\n\n"
        .to_owned();
    if !session.columns.iter().any(|column| column.name == GLIBC) {
        return out
            + "Not in this run: the base, CPython without a library, is the column `glibc`, which `--peers` left out.\n\n";
    }
    for figure in [Figure::Cpu, Figure::Peak] {
        let head = ["script", "built-in"]
            .into_iter()
            .chain(session.columns.iter().map(|c| c.name.as_str()));
        let mut table = Table::new(head);
        for script in &scripts {
            let built_in = session.values(script, GLIBC, |o| figure.of(o));
            let base = Summary::of(&built_in).map_or(String::new(), |s| figure.write(s.median));
            let cell = |column: &str| {
                ratio_of(session, script, figure, column).map_or(String::new(), |r| {
                    format!("{} ±{:.2}", digits(r.median), r.spread * r.median)
                })
            };
            table.row(
                [(*script).to_owned(), base]
                    .into_iter()
                    .chain(session.columns.iter().map(|c| cell(&c.name))),
            );
        }
        let means = session
            .columns
            .iter()
            .map(|c| mean_of(session, figure, &c.name).map_or(String::new(), digits));
        table.row(
            ["geometric mean".to_owned(), "1".to_owned()]
                .into_iter()
                .chain(means),
        );
        out += &format!("### {}, built-in = 1\n\n{}", figure.title(), table.render());
    }
    out
}
