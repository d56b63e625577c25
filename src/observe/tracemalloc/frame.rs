//! Where a block was made: frames and tracebacks.

use std::cmp::Ordering;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

/// What stands for a stack of which nothing is known.
pub(super) const UNKNOWN: &str = "<unknown>";

/// A line of a file. Shown as `file:line`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// The file.
    pub filename: String,
    /// The line in it; 0 when it is not known.
    pub lineno: u32,
}

impl Frame {
    /// A frame.
    pub fn new(filename: &str, lineno: u32) -> Self {
        Self {
            filename: filename.to_owned(),
            lineno,
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.filename, self.lineno)
    }
}

/// A stack, the oldest frame first. Compared by its frames alone. Shown as its oldest frame, as Python does.
#[derive(Clone, Debug)]
pub struct Traceback {
    frames: Vec<Frame>,
    total_nframe: Option<usize>,
}

impl Traceback {
    /// From frames, the most recent first, and the number of frames there were before the limit cut them.
    pub fn new(most_recent_first: Vec<Frame>, total_nframe: Option<usize>) -> Self {
        let mut frames = most_recent_first;
        frames.reverse();
        Self {
            frames,
            total_nframe,
        }
    }

    /// The frames, oldest first.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The most recent frame.
    pub fn most_recent(&self) -> Option<&Frame> {
        self.frames.last()
    }

    /// How many frames the stack had before the limit cut it.
    pub fn total_nframe(&self) -> Option<usize> {
        self.total_nframe
    }

    /// Lines for people: each frame, and its source line where the file can be read. `limit` > 0 keeps that many
    /// of the most recent frames, `limit` < 0 drops that many of them.
    pub fn format(&self, limit: Option<isize>, most_recent_first: bool) -> Vec<String> {
        let n = self.frames.len();
        let frames = match limit {
            None => &self.frames[..],
            Some(limit) if limit >= 0 => &self.frames[n - n.min(limit.unsigned_abs())..],
            Some(limit) => &self.frames[..n.saturating_sub(limit.unsigned_abs())],
        };
        let mut lines = Vec::new();
        let mut add = |frame: &Frame| {
            lines.push(format!(
                "  File \"{}\", line {}",
                frame.filename, frame.lineno
            ));
            if let Some(source) = source_line(frame) {
                lines.push(format!("    {source}"));
            }
        };
        if most_recent_first {
            frames.iter().rev().for_each(&mut add);
        } else {
            frames.iter().for_each(&mut add);
        }
        lines
    }
}

/// The line of the file, without the blanks around it; `None` where there is none.
fn source_line(frame: &Frame) -> Option<String> {
    let text = std::fs::read_to_string(&frame.filename).ok()?;
    let line = text.lines().nth((frame.lineno as usize).checked_sub(1)?)?;
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

impl PartialEq for Traceback {
    fn eq(&self, other: &Self) -> bool {
        self.frames == other.frames
    }
}

impl Eq for Traceback {}

impl Hash for Traceback {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.frames.hash(state);
    }
}

impl PartialOrd for Traceback {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Traceback {
    fn cmp(&self, other: &Self) -> Ordering {
        self.frames.cmp(&other.frames)
    }
}

impl fmt::Display for Traceback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.frames.first() {
            Some(frame) => frame.fmt(out),
            None => out.write_str(UNKNOWN),
        }
    }
}

/// Python's `repr` of both, for reports that are compared with Python's.
pub trait Repr {
    /// The text.
    fn repr(&self) -> String;
}

impl Repr for Frame {
    fn repr(&self) -> String {
        format!(
            "<Frame filename='{}' lineno={}>",
            self.filename, self.lineno
        )
    }
}

impl Repr for Traceback {
    fn repr(&self) -> String {
        let frames: Vec<_> = self.frames.iter().map(Repr::repr).collect();
        // A tuple of one has a comma.
        let comma = if frames.len() == 1 { "," } else { "" };
        let mut text = format!("<Traceback ({}{comma})", frames.join(", "));
        if let Some(total) = self.total_nframe {
            let _ = write!(text, " total_nframe={total}");
        }
        text.push('>');
        text
    }
}
