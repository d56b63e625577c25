//! Snapshots in files.
//!
//! ```text
//! pymalloc-snapshot 1 25        the format, its version, the traceback limit
//! t 3 2                         a traceback: total frames (or -), stored frames, most recent first
//! f 2 a.py                      … each a line number and a file name
//! f 4 b.py
//! b 0 10 0                      a block: domain, size, number of its traceback; of a sample also how many
//!                               blocks it stands for
//! end 1                         the number of blocks
//! ```
//!
//! In a name a backslash stands before `n` for a line feed and before itself.

use super::frame::{Frame, Traceback};
use super::snapshot::{Snapshot, Trace};
use crate::sync::Arc;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;

/// Why a file is no snapshot.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The system refused.
    Io(io::Error),
    /// The first line belongs to another kind of file, or another version.
    Foreign,
    /// A line that no snapshot has.
    Damaged {
        /// Which, from 1.
        line: usize,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(out, "cannot read the snapshot: {error}"),
            Self::Foreign => out.write_str("not a snapshot of this version"),
            Self::Damaged { line } => write!(out, "the snapshot is damaged at line {line}"),
        }
    }
}

impl std::error::Error for LoadError {}

const MAGIC: &str = "pymalloc-snapshot 1 ";

impl Snapshot {
    /// Writes the snapshot to a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn dump(&self, path: &Path) -> io::Result<()> {
        let mut text = format!("{MAGIC}{}\n", self.traceback_limit);
        let mut numbers: HashMap<&Arc<Traceback>, usize> = HashMap::new();
        for trace in &self.traces {
            let n = numbers.len();
            let number = *numbers.entry(&trace.traceback).or_insert_with(|| {
                write_traceback(&mut text, &trace.traceback);
                n
            });
            let _ = write!(text, "b {} {} {number}", trace.domain, trace.size);
            let _ = match trace.count {
                1 => writeln!(text),
                count => writeln!(text, " {count}"),
            };
        }
        let _ = writeln!(text, "end {}", self.traces.len());
        std::fs::write(path, text)
    }

    /// Reads what [`Snapshot::dump`] wrote.
    ///
    /// # Errors
    /// When the file is something else or damaged.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(LoadError::Io)?;
        let mut lines = text.lines().zip(1..);
        let (first, _) = lines.next().ok_or(LoadError::Foreign)?;
        let limit = first
            .strip_prefix(MAGIC)
            .and_then(|limit| limit.parse().ok());
        let traceback_limit = limit.ok_or(LoadError::Foreign)?;
        let mut tracebacks: Vec<Arc<Traceback>> = Vec::new();
        let mut traces = Vec::new();
        let mut last = 1;
        while let Some((text, line)) = lines.next() {
            last = line;
            let damaged = LoadError::Damaged { line };
            match text.split_once(' ') {
                Some(("t", rest)) => {
                    let read = read_traceback(rest, || lines.next().map(|(text, _)| text));
                    tracebacks.push(Arc::new(read.ok_or(damaged)?));
                }
                Some(("b", rest)) => traces.push(read_block(rest, &tracebacks).ok_or(damaged)?),
                Some(("end", n)) if n.parse() == Ok(traces.len()) && lines.next().is_none() => {
                    return Ok(Self::new(traces, traceback_limit));
                }
                _ => return Err(damaged),
            }
        }
        Err(LoadError::Damaged { line: last + 1 })
    }
}

fn write_traceback(text: &mut String, traceback: &Traceback) {
    let n = traceback.frames().len();
    let _ = match traceback.total_nframe() {
        Some(total) => writeln!(text, "t {total} {n}"),
        None => writeln!(text, "t - {n}"),
    };
    for frame in traceback.frames().iter().rev() {
        let name = frame.filename.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(text, "f {} {name}", frame.lineno);
    }
}

fn read_traceback<'a>(head: &str, mut next: impl FnMut() -> Option<&'a str>) -> Option<Traceback> {
    let (total, n) = head.split_once(' ')?;
    let total = match total {
        "-" => None,
        total => Some(total.parse().ok()?),
    };
    let n: usize = n.parse().ok()?;
    let mut frames = Vec::new();
    for _ in 0..n {
        let (lineno, name) = next()?.strip_prefix("f ")?.split_once(' ')?;
        frames.push(Frame::new(&unescaped(name), lineno.parse().ok()?));
    }
    Some(Traceback::new(frames, total))
}

fn unescaped(name: &str) -> String {
    let mut text = String::new();
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.push(match letters.next() {
                Some('n') => '\n',
                _ => '\\',
            }),
            other => text.push(other),
        }
    }
    text
}

fn read_block(rest: &str, tracebacks: &[Arc<Traceback>]) -> Option<Trace> {
    let mut words = rest.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (domain, size) = (u32::try_from(number()?).ok()?, number()?);
    let place = usize::try_from(number()?).ok()?;
    let count = words.next().map_or(Some(1), |word| word.parse().ok())?;
    words.next().is_none().then_some(())?;
    Some(Trace {
        domain,
        size,
        count,
        traceback: Arc::clone(tracebacks.get(place)?),
    })
}
