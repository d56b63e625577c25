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

pub fn render(session: &Session) -> String {
    let scripts: Vec<&str> = session
        .rows
        .iter()
        .filter_map(|r| r.name.strip_suffix(SUFFIX))
        .collect();
    if scripts.is_empty() {
        return String::new();
    }
    let mut out = "## CPython: PYTHONMALLOC=malloc over each library against built-in pymalloc\n\n"
        .to_owned();
    for figure in [Figure::Cpu, Figure::Peak] {
        let head = ["script", "built-in"]
            .into_iter()
            .chain(session.columns.iter().map(|c| c.name.as_str()));
        let mut table = Table::new(head);
        let built_in = |script: &str| session.values(script, GLIBC, |o| figure.of(o));
        let ratio_of = |script: &str, column: &str| {
            ratio(
                &session.values(&format!("{script}{SUFFIX}"), column, |o| figure.of(o)),
                &built_in(script),
            )
        };
        for script in &scripts {
            let base =
                Summary::of(&built_in(script)).map_or(String::new(), |s| figure.write(s.median));
            let cell = |column: &str| {
                ratio_of(script, column).map_or(String::new(), |r| {
                    format!("{} ±{:.2}", digits(r.median), r.spread * r.median)
                })
            };
            table.row(
                [(*script).to_owned(), base]
                    .into_iter()
                    .chain(session.columns.iter().map(|c| cell(&c.name))),
            );
        }
        let mean = |column: &str| {
            geometric_mean(
                scripts
                    .iter()
                    .filter_map(|s| ratio_of(s, column))
                    .map(|r| r.median),
            )
        };
        let means = session
            .columns
            .iter()
            .map(|c| mean(&c.name).map_or(String::new(), digits));
        table.row(
            ["geometric mean".to_owned(), "1".to_owned()]
                .into_iter()
                .chain(means),
        );
        out += &format!("### {}, built-in = 1\n\n{}", figure.title(), table.render());
    }
    out
}
