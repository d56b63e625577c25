//! The command lines of `pymalloc record` and `pymalloc profile`.

use super::{Command, Program, UsageError, next, spelled};
use crate::recording::format::MOST_FRAMES;
use lexopt::Arg;
use std::path::PathBuf;

/// `pymalloc record --help`, and `profile`'s.
pub const HELP: &str = "\
usage: pymalloc record  [OPTIONS] [--] PROGRAM ARGS...
       pymalloc profile [OPTIONS] [--] PROGRAM ARGS...

Runs PROGRAM with libpymalloc.so preloaded and writes every allocation call to
a recording: threads, sizes, alignments, order. 'profile' adds the stack of
each call. Input, output, exit status and signals are the program's own.

  -o, --output FILE  the recording; otherwise PROGRAM.pmrec in this folder.
                     An older recording there is replaced, another file is not
  --frames N         calls kept of each stack, innermost first, 1 to 128;
                     otherwise 64 ('profile' only)
  --follow           also record the processes it starts: FILE.PID each
  --limit BYTES      end the recording when it is so long; K, M, G at the end
                     of the number are powers of 1024
  --sample BYTES     record one block for every so many bytes that are
                     allocated, on average, and what it stands for: cheap
                     enough for production with 512K. 'why' needs all blocks
  --lib PATH         the library, as for 'run'
  --help             this text

The recording can be read while it grows, and after a kill: nothing is lost but
the events of a machine that goes down. 'pymalloc report' reads it.
";

/// Calls of a stack, unless told otherwise.
const FRAMES: u32 = 64;

/// `pymalloc record` and `pymalloc profile`.
#[derive(Debug, Default, PartialEq)]
pub struct Record {
    /// `--lib`.
    pub lib: Option<PathBuf>,
    /// `--output`.
    pub output: Option<PathBuf>,
    /// `--frames`; 0 for no stacks.
    pub frames: u32,
    /// `--follow`.
    pub follow: bool,
    /// `--limit`.
    pub limit: Option<u64>,
    /// `--sample`.
    pub sample: Option<u64>,
    /// What to run.
    pub program: Option<Program>,
}

/// Reads what follows `record` or `profile`.
pub fn parse(parser: &mut lexopt::Parser, stacks: bool) -> Result<Command, UsageError> {
    let command = if stacks { "profile" } else { "record" };
    let mut record = Record {
        frames: if stacks { FRAMES } else { 0 },
        ..Record::default()
    };
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::RecordHelp),
            Arg::Short('o') | Arg::Long("output") => {
                record.output = Some(value(parser, "--output", "a file")?.into());
            }
            Arg::Long("lib") => {
                let path = parser.value().map_err(|_| UsageError::NoLibPath)?;
                record.lib = Some(path.into());
            }
            Arg::Long("follow") => record.follow = true,
            Arg::Long("frames") if stacks => {
                let accepted = "a number from 1 to 128";
                let text = value(parser, "--frames", accepted)?;
                let frames = text.to_str().and_then(|text| text.parse().ok());
                let fits = |frames: &u32| (1..=MOST_FRAMES as u32).contains(frames);
                record.frames = frames.filter(fits).ok_or(UsageError::BadValue {
                    option: "--frames",
                    accepted,
                })?;
            }
            Arg::Long("limit") => record.limit = Some(bytes(parser, "--limit")?),
            Arg::Long("sample") => record.sample = Some(bytes(parser, "--sample")?),
            Arg::Value(name) => {
                // Fails only in the middle of an option's letters, which a value ends.
                let args = parser.raw_args().map(Iterator::collect).unwrap_or_default();
                record.program = Some(Program { name, args });
                return Ok(Command::Record(record));
            }
            option => {
                let option = spelled(option);
                return Err(UsageError::UnknownOptionOf { option, command });
            }
        }
    }
    let what = "a PROGRAM to run";
    Err(UsageError::Missing { command, what })
}

/// The value of the option that was just read.
pub(super) fn value(
    parser: &mut lexopt::Parser,
    option: &'static str,
    accepted: &'static str,
) -> Result<std::ffi::OsString, UsageError> {
    let bad = UsageError::BadValue { option, accepted };
    parser.value().map_err(|_| bad)
}

/// The number of bytes behind the option that was just read.
pub(super) fn bytes(parser: &mut lexopt::Parser, option: &'static str) -> Result<u64, UsageError> {
    let accepted = "a number of bytes, such as 64M";
    let text = value(parser, option, accepted)?;
    let bytes = text.to_str().and_then(size);
    bytes.ok_or(UsageError::BadValue { option, accepted })
}

/// A number of bytes with a unit of 1024's powers.
fn size(text: &str) -> Option<u64> {
    let (number, shift) = match text.char_indices().last()? {
        (at, 'K' | 'k') => (&text[..at], 10),
        (at, 'M' | 'm') => (&text[..at], 20),
        (at, 'G' | 'g') => (&text[..at], 30),
        _ => (text, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
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
    fn options_come_before_the_program() {
        let line = "profile -o x --frames 7 --follow --limit 3M --sample 512K ls -o y";
        let words: Vec<_> = line.split(' ').collect();
        let expected = Record {
            output: Some("x".into()),
            frames: 7,
            follow: true,
            limit: Some(3 << 20),
            sample: Some(512 << 10),
            program: Some(Program {
                name: "ls".into(),
                args: vec!["-o".into(), "y".into()],
            }),
            ..Record::default()
        };
        assert_eq!(parsed(&words), Ok(Command::Record(expected)));
        match parsed(&["record", "--", "ls"]) {
            Ok(Command::Record(record)) => assert_eq!(record.frames, 0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mistakes_are_named() {
        let bad = |line: &[&str]| parsed(line).expect_err("a mistake").to_string();
        assert_eq!(bad(&["record"]), "record needs a PROGRAM to run");
        assert_eq!(
            bad(&["profile", "--frames", "0", "ls"]),
            "option '--frames' needs a number from 1 to 128"
        );
        assert_eq!(
            bad(&["record", "--frames", "3", "ls"]),
            "unknown option '--frames' of record; 'pymalloc record --help' names all"
        );
        assert_eq!(
            bad(&["record", "--limit", "x", "ls"]),
            "option '--limit' needs a number of bytes, such as 64M"
        );
    }
}
