//! The command lines of `pymalloc report` and `pymalloc why`.

use super::record::value;
use super::{Command, UsageError, next, spelled};
use crate::profile::usage::Measure;
use lexopt::Arg;
use std::path::PathBuf;

/// `pymalloc report --help`.
pub const HELP: &str = "\
usage: pymalloc report VIEW [OPTIONS] FILE
       pymalloc report diff [OPTIONS] OLD NEW

Shows a recording made by 'pymalloc record' or 'pymalloc profile'.

views, as text:
  summary     one page: sums, sizes, threads, the greatest places
  table       one row per place in the source
  tree        calls as a tree, outermost first
  leaks       what lived at the end, with the stacks that made it
  temporary   places whose blocks are freed soon after
  diff        how two recordings differ, place by place

views, as files for other programs (to stdout without --output):
  flamegraph  one HTML page that can be zoomed and searched (.svg, .png: the
              picture)
  folded      folded stacks          pprof       gzipped protobuf, for pprof
  speedscope  for speedscope.app     dhat        for Valgrind's dh_view.html
  json        everything

  --by SUM           what to add up: peak (live at the high-water mark, unless
                     told otherwise), leaks, total, temporary
  --limit N          rows of a table, stacks of leaks; otherwise 30
  --least PERCENT    smallest part shown in a tree; otherwise 1
  --within N         a block is temporary if its thread makes fewer than N
                     others while it lives; otherwise 1
  -o, --output FILE  where to write
  --help             this text
";

/// `pymalloc why --help`.
pub const WHY_HELP: &str = "\
usage: pymalloc why [--at end | peak | SECONDS] [--limit N] [-o FILE] FILE

Which live blocks, by size class and by the place that made them, keep which
arenas and pages of a recorded program from going back to the system, and how
much would return if they were moved together. With a recording made by
'pymalloc profile', places are functions and lines.

  --at MOMENT        the end of the recording (unless told otherwise), its
                     high-water mark, or so many seconds after the start
  --limit N          rows of each table; otherwise 15
  -o, --output FILE  also draw the arenas: a heat map as .svg, .png
                     or .html
  --help             this text
";

/// What to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// One page.
    Summary,
    /// Places.
    Table,
    /// Calls.
    Tree,
    /// Stacks of what lived at the end.
    Leaks,
    /// Places of short-lived blocks.
    Temporary,
    /// Two recordings.
    Diff,
    /// HTML or SVG.
    Flamegraph,
    /// Folded stacks.
    Folded,
    /// pprof's format.
    Pprof,
    /// speedscope's format.
    Speedscope,
    /// DHAT's format.
    Dhat,
    /// Everything.
    Json,
}

/// The views by name.
const VIEWS: [(&str, View); 12] = [
    ("summary", View::Summary),
    ("table", View::Table),
    ("tree", View::Tree),
    ("leaks", View::Leaks),
    ("temporary", View::Temporary),
    ("diff", View::Diff),
    ("flamegraph", View::Flamegraph),
    ("folded", View::Folded),
    ("pprof", View::Pprof),
    ("speedscope", View::Speedscope),
    ("dhat", View::Dhat),
    ("json", View::Json),
];

/// `pymalloc report`.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// What to show.
    pub view: View,
    /// `--by`.
    pub by: Measure,
    /// `--limit`.
    pub limit: usize,
    /// `--least`, in percent.
    pub least: f64,
    /// `--within`.
    pub within: u64,
    /// `--output`.
    pub output: Option<PathBuf>,
    /// The recording, or the older one of two.
    pub file: PathBuf,
    /// The newer one.
    pub newer: Option<PathBuf>,
}

/// A moment in a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Its end.
    End,
    /// Its high-water mark.
    Peak,
    /// Milliseconds after its start.
    Ms(u64),
}

/// `pymalloc why`.
#[derive(Debug, PartialEq)]
pub struct Why {
    /// `--at`.
    pub at: At,
    /// `--limit`.
    pub limit: usize,
    /// `--output`.
    pub output: Option<PathBuf>,
    /// The recording.
    pub file: PathBuf,
}

/// Reads what follows `report`.
pub fn parse(parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let command = "report";
    let mut view = None;
    let mut files: Vec<PathBuf> = Vec::new();
    let mut report = Report {
        view: View::Summary,
        by: Measure::Peak,
        limit: 30,
        least: 1.0,
        within: 1,
        output: None,
        file: PathBuf::new(),
        newer: None,
    };
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::ReportHelp),
            Arg::Short('o') | Arg::Long("output") => {
                report.output = Some(value(parser, "--output", "a file")?.into());
            }
            Arg::Long("by") => {
                let accepted = "peak, leaks, total or temporary";
                report.by = read(parser, "--by", accepted, Measure::from_name)?;
            }
            Arg::Long("limit") => report.limit = count(parser, "--limit")?,
            Arg::Long("within") => report.within = count(parser, "--within")? as u64,
            Arg::Long("least") => {
                report.least = read(parser, "--least", "a number", |text| text.parse().ok())?;
            }
            Arg::Value(word) if view.is_none() => {
                let named = VIEWS.iter().find(|(name, _)| word == *name);
                let what = "a VIEW and a FILE; 'pymalloc report --help' names the views";
                view = Some(named.ok_or(UsageError::Missing { command, what })?.1);
            }
            Arg::Value(file) => files.push(file.into()),
            option => {
                let option = spelled(option);
                return Err(UsageError::UnknownOptionOf { option, command });
            }
        }
    }
    let what = "a VIEW and a FILE; 'pymalloc report --help' names the views";
    report.view = view.ok_or(UsageError::Missing { command, what })?;
    let mut files = files.into_iter();
    let (needed, what) = match report.view {
        View::Diff => (2, "two FILEs to compare"),
        _ => (1, "one FILE"),
    };
    if files.len() != needed {
        return Err(UsageError::Missing { command, what });
    }
    report.file = files.next().unwrap_or_default();
    report.newer = files.next();
    Ok(Command::Report(report))
}

/// Reads what follows `why`.
pub fn parse_why(parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let command = "why";
    let mut file = None;
    let mut why = Why {
        at: At::End,
        limit: 15,
        output: None,
        file: PathBuf::new(),
    };
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::WhyHelp),
            Arg::Short('o') | Arg::Long("output") => {
                why.output = Some(value(parser, "--output", "a file")?.into());
            }
            Arg::Long("limit") => why.limit = count(parser, "--limit")?,
            Arg::Long("at") => {
                why.at = read(parser, "--at", "end, peak or a number of seconds", moment)?;
            }
            Arg::Value(word) if file.is_none() => file = Some(word.into()),
            option => {
                let option = spelled(option);
                return Err(UsageError::UnknownOptionOf { option, command });
            }
        }
    }
    let what = "one FILE";
    why.file = file.ok_or(UsageError::Missing { command, what })?;
    Ok(Command::Why(why))
}

fn moment(text: &str) -> Option<At> {
    match text {
        "end" => Some(At::End),
        "peak" => Some(At::Peak),
        _ => {
            let seconds: f64 = text.parse().ok()?;
            (seconds >= 0.0).then_some(At::Ms((seconds * 1000.0) as u64))
        }
    }
}

fn count(parser: &mut lexopt::Parser, option: &'static str) -> Result<usize, UsageError> {
    let positive = |text: &str| text.parse().ok().filter(|n| *n > 0);
    read(parser, option, "a number from 1", positive)
}

fn read<T>(
    parser: &mut lexopt::Parser,
    option: &'static str,
    accepted: &'static str,
    from: impl FnOnce(&str) -> Option<T>,
) -> Result<T, UsageError> {
    let text = value(parser, option, accepted)?;
    let found = text.to_str().and_then(from);
    found.ok_or(UsageError::BadValue { option, accepted })
}

#[cfg(test)]
mod tests {
    use super::super::parse as parse_line;
    use super::*;
    use std::ffi::OsString;

    fn parsed(line: &[&str]) -> Result<Command, UsageError> {
        parse_line(["pymalloc"].iter().chain(line).map(OsString::from))
    }

    #[test]
    fn views_and_options_are_read_in_any_order() {
        match parsed(&["report", "--by", "total", "table", "x", "--limit=3"]) {
            Ok(Command::Report(report)) => {
                assert_eq!((report.view, report.by), (View::Table, Measure::Total));
                assert_eq!((report.limit, report.file), (3, "x".into()));
            }
            other => panic!("{other:?}"),
        }
        match parsed(&["why", "--at", "1.5", "x"]) {
            Ok(Command::Why(why)) => assert_eq!(why.at, At::Ms(1500)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mistakes_are_named() {
        let bad = |line: &[&str]| parsed(line).expect_err("a mistake").to_string();
        assert_eq!(bad(&["report", "table"]), "report needs one FILE");
        assert_eq!(
            bad(&["report", "diff", "x"]),
            "report needs two FILEs to compare"
        );
        assert_eq!(
            bad(&["report", "tabel", "x"]),
            "report needs a VIEW and a FILE; 'pymalloc report --help' names the views"
        );
        assert_eq!(
            bad(&["report", "table", "--by", "size", "x"]),
            "option '--by' needs peak, leaks, total or temporary"
        );
        assert_eq!(
            bad(&["why", "--at", "-1", "x"]),
            "option '--at' needs end, peak or a number of seconds"
        );
    }
}
