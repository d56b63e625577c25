//! The summary a process leaves behind when it ends: what the library writes to `PYMALLOC_STATS_FILE`
//! and `pymalloc run --stats` reads back.
//!
//! Two programs compile this one file: the allocator library, which writes inside an exit handler, and
//! the launcher, which includes it by `#[path]` because it must not link the library (it would then run
//! on our malloc itself). So it needs only `core`, and neither half allocates, locks or panics.
//!
//! # The text
//!
//! ```text
//! pymalloc-summary 1                the format and its version
//! pid 4711                          process that wrote it
//! mapped_bytes 4194304              one line per key, `key value`
//! ⋮
//! class 0 16 3 120 2934             index, block bytes, pools, blocks in use, blocks available
//! class 40 1280 2 7 19
//! end                               proves that nothing was cut off
//! ```
//!
//! Lines end in a line feed, words are parted by one space, numbers are decimal without a sign.
//!
//! * **I1** The first line is `pymalloc-summary` and the version. A change of any key raises the version.
//! * **I2** Every key of [`Summary`]'s fields stands exactly once, in any order; no other key does.
//! * **I3** `class` lines come in rising order of the index and name only classes that have pools. A class
//!   without a line has no pools, and reads back as zeroes.
//! * **I4** `end` is the last line.
//!
//! The writer empties the file first and hands the whole text to one `write`; a process that inherited the
//! variable from its parent may write the same file, which is why `pid` is there. Two writers at once leave
//! text that breaks I2 or I4, and [`Summary::parse`] says so instead of adding them up.

use core::fmt;

/// Size classes a summary has room for: 32 of obmalloc's (16 to 512 bytes), then the medium ones.
pub const CLASSES: usize = 104;

/// Version in the first line.
const VERSION: u64 = 1;

/// First word of the first line.
const MAGIC: &str = "pymalloc-summary";

/// Keys whose value is a `u64`; `pid` is the one besides.
const COUNTERS: usize = 18;

/// One size class at the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassLine {
    /// Bytes of one block.
    pub block_bytes: u32,
    /// Pools (for a medium class: runs) of this class.
    pub pools: u64,
    /// Blocks out, those waiting in thread lists included.
    pub in_use: u64,
    /// Blocks free in those pools.
    pub available: u64,
}

impl ClassLine {
    /// A class without pools.
    pub const EMPTY: ClassLine = ClassLine {
        block_bytes: 0,
        pools: 0,
        in_use: 0,
        available: 0,
    };
}

/// What one process used, from its start to the moment of writing. `now` means that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Process that wrote it.
    pub pid: u32,
    /// Bytes held from the system now; address space that is only reserved is not counted.
    pub mapped_bytes: u64,
    /// The most `mapped_bytes` has been.
    pub mapped_peak_bytes: u64,
    /// Bytes in blocks that are out now, of all tiers.
    pub block_bytes: u64,
    /// The most `block_bytes` has been.
    pub block_peak_bytes: u64,
    /// Arenas mapped now.
    pub arenas_now: u64,
    /// The most arenas mapped at once.
    pub arenas_peak: u64,
    /// Arenas ever mapped.
    pub arenas_total: u64,
    /// Arenas given back.
    pub arenas_reclaimed: u64,
    /// Huge blocks out now.
    pub huge_now: u64,
    /// Bytes of the huge blocks out now.
    pub huge_bytes: u64,
    /// The most `huge_bytes` has been.
    pub huge_peak_bytes: u64,
    /// Huge blocks ever given out.
    pub huge_total: u64,
    /// Threads with lists of their own now.
    pub threads_now: u64,
    /// The most such threads at once.
    pub threads_peak: u64,
    /// Such threads ever.
    pub threads_total: u64,
    /// Heaps made.
    pub heaps: u64,
    /// Bytes purged: given back to the system while their addresses were kept.
    pub purged_bytes: u64,
    /// Frees of addresses that are not ours, passed on to the next allocator.
    pub foreign_frees: u64,
    /// Size classes by index; see I3 for those without pools.
    pub classes: [ClassLine; CLASSES],
}

impl Summary {
    /// A process that never asked for memory.
    pub const EMPTY: Summary = Summary {
        pid: 0,
        mapped_bytes: 0,
        mapped_peak_bytes: 0,
        block_bytes: 0,
        block_peak_bytes: 0,
        arenas_now: 0,
        arenas_peak: 0,
        arenas_total: 0,
        arenas_reclaimed: 0,
        huge_now: 0,
        huge_bytes: 0,
        huge_peak_bytes: 0,
        huge_total: 0,
        threads_now: 0,
        threads_peak: 0,
        threads_total: 0,
        heaps: 0,
        purged_bytes: 0,
        foreign_frees: 0,
        classes: [ClassLine::EMPTY; CLASSES],
    };

    /// Writes the text the module describes, in pieces: give it a buffer, not a file, so that one `write`
    /// can follow.
    ///
    /// # Errors
    /// Only what `out` returns, which for a buffer means that it is full. 4 KiB hold any summary of a
    /// program without medium classes, 16 KiB any at all.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(out, "{MAGIC} {VERSION}")?;
        writeln!(out, "pid {}", self.pid)?;
        for (key, value) in self.counters() {
            writeln!(out, "{key} {value}")?;
        }
        for (index, class) in self.classes.iter().enumerate() {
            if class.pools > 0 {
                writeln!(
                    out,
                    "class {index} {} {} {} {}",
                    class.block_bytes, class.pools, class.in_use, class.available
                )?;
            }
        }
        out.write_str("end\n")
    }

    /// Reads what [`Summary::write`] wrote.
    ///
    /// # Errors
    /// The first line that breaks I1 to I4, and what should stand there.
    pub fn parse(text: &str) -> Result<Summary, ParseError> {
        let mut reader = Reader::new();
        let mut lines = text.lines().zip(1..);
        let (first, _) = lines.next().ok_or(ParseError::Truncated { line: 1 })?;
        check_first(first)?;
        let mut last = 1;
        for (text, line) in lines.by_ref() {
            last = line;
            if text == "end" {
                return match lines.next() {
                    Some((_, line)) => Err(ParseError::AfterEnd { line }),
                    None => reader.finish(line),
                };
            }
            reader.line(text, line)?;
        }
        Err(ParseError::Truncated { line: last + 1 })
    }

    /// The keys with their values. By way of a copy, so that the keys stand in one table.
    fn counters(&self) -> [(&'static str, u64); COUNTERS] {
        let mut copy = *self;
        copy.counters_mut().map(|(key, value)| (key, *value))
    }

    /// The keys with where their values go, in the order they are written.
    fn counters_mut(&mut self) -> [(&'static str, &mut u64); COUNTERS] {
        [
            ("mapped_bytes", &mut self.mapped_bytes),
            ("mapped_peak_bytes", &mut self.mapped_peak_bytes),
            ("block_bytes", &mut self.block_bytes),
            ("block_peak_bytes", &mut self.block_peak_bytes),
            ("arenas_now", &mut self.arenas_now),
            ("arenas_peak", &mut self.arenas_peak),
            ("arenas_total", &mut self.arenas_total),
            ("arenas_reclaimed", &mut self.arenas_reclaimed),
            ("huge_now", &mut self.huge_now),
            ("huge_bytes", &mut self.huge_bytes),
            ("huge_peak_bytes", &mut self.huge_peak_bytes),
            ("huge_total", &mut self.huge_total),
            ("threads_now", &mut self.threads_now),
            ("threads_peak", &mut self.threads_peak),
            ("threads_total", &mut self.threads_total),
            ("heaps", &mut self.heaps),
            ("purged_bytes", &mut self.purged_bytes),
            ("foreign_frees", &mut self.foreign_frees),
        ]
    }
}

/// Why a text is not a summary. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The first line belongs to another kind of file (I1).
    Foreign,
    /// The first line names a version other than ours (I1).
    Version,
    /// The text stops before `end` (I4).
    Truncated {
        /// Line that is missing.
        line: usize,
    },
    /// Lines follow `end` (I4).
    AfterEnd {
        /// First of them.
        line: usize,
    },
    /// The line begins with no key of the format (I2).
    UnknownKey {
        /// Where.
        line: usize,
    },
    /// A key stands a second time (I2).
    Repeated {
        /// Where, the second time.
        line: usize,
        /// Which.
        key: &'static str,
    },
    /// A key never came (I2).
    Missing {
        /// Line of `end`, before which it should stand.
        line: usize,
        /// Which.
        key: &'static str,
    },
    /// The value is not a number, does not fit, or is not alone.
    Number {
        /// Where.
        line: usize,
        /// Whose value.
        key: &'static str,
    },
    /// A `class` line without five numbers that fit.
    Class {
        /// Where.
        line: usize,
    },
    /// A class that comes again, or after a higher one (I3).
    ClassOrder {
        /// Where.
        line: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ParseError::Foreign => {
                write!(
                    out,
                    "line 1: expected `{MAGIC} {VERSION}`, found another kind of file"
                )
            }
            ParseError::Version => {
                write!(
                    out,
                    "line 1: expected `{MAGIC} {VERSION}`, found another version"
                )
            }
            ParseError::Truncated { line } => {
                write!(
                    out,
                    "line {line}: expected more lines up to `end`, found the end of the file"
                )
            }
            ParseError::AfterEnd { line } => {
                write!(
                    out,
                    "line {line}: expected nothing after `end`, found another line"
                )
            }
            ParseError::UnknownKey { line } => {
                write!(
                    out,
                    "line {line}: expected `end`, `class` or a key of version {VERSION}"
                )
            }
            ParseError::Repeated { line, key } => {
                write!(out, "line {line}: expected `{key}` once, found it again")
            }
            ParseError::Missing { line, key } => {
                write!(out, "line {line}: expected `{key}` before `end`")
            }
            ParseError::Number { line, key } => {
                write!(out, "line {line}: expected one number after `{key}`")
            }
            ParseError::Class { line } => write!(
                out,
                "line {line}: expected `class` with an index below {CLASSES}, block bytes, pools, blocks in use and available"
            ),
            ParseError::ClassOrder { line } => {
                write!(
                    out,
                    "line {line}: expected classes in rising order of their index"
                )
            }
        }
    }
}

impl core::error::Error for ParseError {}

/// What [`Summary::parse`] has read so far.
struct Reader {
    /// Counters and classes so far; the rest is zero.
    summary: Summary,
    /// Bit `i`: the counter at index `i` of [`Summary::counters`] came; bit `COUNTERS`: `pid` came.
    seen: u32,
    /// Lowest class index that may still come.
    next_class: usize,
}

impl Reader {
    /// Before the second line.
    fn new() -> Reader {
        Reader {
            summary: Summary::EMPTY,
            seen: 0,
            next_class: 0,
        }
    }

    /// Takes one line between the first and `end`.
    fn line(&mut self, text: &str, line: usize) -> Result<(), ParseError> {
        let (key, value) = text.split_once(' ').unwrap_or((text, ""));
        match key {
            "class" => self.class(value, line),
            "pid" => {
                self.see(COUNTERS, "pid", line)?;
                let pid = number(value).and_then(|pid| u32::try_from(pid).ok());
                self.summary.pid = pid.ok_or(ParseError::Number { line, key: "pid" })?;
                Ok(())
            }
            _ => self.counter(key, value, line),
        }
    }

    /// Takes a line of any key but `pid`.
    fn counter(&mut self, key: &str, value: &str, line: usize) -> Result<(), ParseError> {
        let mut places = self.summary.counters_mut();
        let index = places.iter().position(|(name, _)| *name == key);
        let index = index.ok_or(ParseError::UnknownKey { line })?;
        let (key, place) = &mut places[index];
        let key = *key;
        **place = number(value).ok_or(ParseError::Number { line, key })?;
        self.see(index, key, line)
    }

    /// Takes a `class` line, without that word.
    fn class(&mut self, values: &str, line: usize) -> Result<(), ParseError> {
        let (index, class) = class_line(values).ok_or(ParseError::Class { line })?;
        if index < self.next_class {
            return Err(ParseError::ClassOrder { line });
        }
        self.summary.classes[index] = class;
        self.next_class = index + 1;
        Ok(())
    }

    /// Notes that a key came, once.
    fn see(&mut self, index: usize, key: &'static str, line: usize) -> Result<(), ParseError> {
        if self.seen & 1 << index != 0 {
            return Err(ParseError::Repeated { line, key });
        }
        self.seen |= 1 << index;
        Ok(())
    }

    /// The summary, if no key is missing when `end` comes on `line`.
    fn finish(self, line: usize) -> Result<Summary, ParseError> {
        let names = self.summary.counters();
        let names = names.iter().map(|(name, _)| *name).chain(["pid"]);
        for (index, key) in names.enumerate() {
            if self.seen & 1 << index == 0 {
                return Err(ParseError::Missing { line, key });
            }
        }
        Ok(self.summary)
    }
}

/// Checks I1.
fn check_first(text: &str) -> Result<(), ParseError> {
    let (magic, version) = text.split_once(' ').unwrap_or((text, ""));
    if magic != MAGIC {
        return Err(ParseError::Foreign);
    }
    if number(version) != Some(VERSION) {
        return Err(ParseError::Version);
    }
    Ok(())
}

/// The five numbers after `class`; `None` when there are more, fewer, or one does not fit.
fn class_line(values: &str) -> Option<(usize, ClassLine)> {
    let mut words = values.split(' ').map(number);
    let mut next = || words.next().flatten();
    let index = usize::try_from(next()?).ok().filter(|i| *i < CLASSES)?;
    let class = ClassLine {
        block_bytes: u32::try_from(next()?).ok()?,
        pools: next()?,
        in_use: next()?,
        available: next()?,
    };
    match words.next() {
        None => Some((index, class)),
        Some(_) => None,
    }
}

/// Decimal digits and nothing else (`str::parse` would take a `+`).
fn number(word: &str) -> Option<u64> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
