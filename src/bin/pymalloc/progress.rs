//! How far a long recording is read: one line on a terminal, now and then, and gone when it is done.

use crate::units::count;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Events between two looks at the clock; a power of two.
const EVENTS: u64 = 1 << 16;

/// Nothing is shown before, and no oftener.
const PAUSE: Duration = Duration::from_millis(300);

/// Clears the line and goes to its beginning.
const CLEAR: &str = "\r\x1b[K";

/// What is shown of one reading.
pub struct Progress<W: Write = io::Stderr> {
    out: Option<W>,
    path: PathBuf,
    shown: Instant,
    is_there: bool,
}

impl Progress {
    /// Of reading `path`, shown where standard error is a terminal.
    pub fn of(path: &Path) -> Self {
        let out = io::stderr();
        let is_terminal = out.is_terminal();
        Self::to(is_terminal.then_some(out), path)
    }
}

impl<W: Write> Progress<W> {
    fn to(out: Option<W>, path: &Path) -> Self {
        Self {
            out,
            path: path.to_owned(),
            shown: Instant::now(),
            is_there: false,
        }
    }

    /// `events` were read, of `all` if that is known.
    pub fn at(&mut self, events: u64, all: Option<u64>) {
        if events.is_multiple_of(EVENTS) && self.shown.elapsed() >= PAUSE {
            self.show(events, all);
        }
    }

    fn show(&mut self, events: u64, all: Option<u64>) {
        let Some(out) = &mut self.out else { return };
        let path = self.path.display();
        let read = count(events);
        // Progress that cannot be shown stops nobody.
        let _ = match all.filter(|all| *all > 0) {
            None => write!(out, "{CLEAR}{path}: {read} events"),
            Some(all) => {
                let part = events.min(all) * 100 / all;
                write!(out, "{CLEAR}{path}: high-water mark, {part} %")
            }
        };
        let _ = out.flush();
        self.shown = Instant::now();
        self.is_there = true;
    }

    /// It is read.
    pub fn end(&mut self) {
        if let Some(out) = self.out.as_mut().filter(|_| self.is_there) {
            let _ = write!(out, "{CLEAR}");
            let _ = out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_over_and_goes() {
        let mut text = Vec::new();
        let mut progress = Progress::to(Some(&mut text), Path::new("x.pmrec"));
        // Nothing is due yet.
        progress.at(EVENTS, None);
        progress.show(3_000_000, None);
        progress.show(1_500_000, Some(3_000_000));
        progress.end();
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<_> = text.split(CLEAR).collect();
        assert_eq!(
            lines,
            [
                "",
                "x.pmrec: 3,000,000 events",
                "x.pmrec: high-water mark, 50 %",
                ""
            ]
        );
    }

    #[test]
    fn nothing_is_written_where_nobody_looks() {
        let mut progress: Progress<Vec<u8>> = Progress::to(None, Path::new("x"));
        progress.show(1, None);
        progress.end();
        assert!(!progress.is_there);
    }
}
