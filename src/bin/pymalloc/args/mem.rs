//! The command line of `pymalloc mem`.

use super::record::value;
use super::{Command, Program, UsageError, next, spelled};
use lexopt::Arg;
use std::path::PathBuf;
use std::time::Duration;

/// `pymalloc mem --help`.
pub const HELP: &str = "\
usage: pymalloc mem [OPTIONS] [--] PROGRAM ARGS...

Runs PROGRAM with libpymalloc.so preloaded and writes how much memory it has
resident over time. Input, output, exit status and signals are its own.

  -o, --output FILE  the samples, as 'mprof plot' reads them; otherwise
                     PROGRAM.dat in this folder
  --plot FILE        also draw them: .svg, .png, or .html for a page
  --blocks           also follow the bytes in live blocks and the arenas with
                     such blocks, and draw the marks that the program sets
                     (pymalloc_mark); records every call
  --follow           add up the processes it starts, too
  --interval SECONDS between two samples; otherwise 0.1, and less in the
                     first seconds
  --lib PATH         the library, as for 'run'
  --help             this text
";

/// `pymalloc mem`.
#[derive(Debug, PartialEq)]
pub struct Mem {
    /// `--lib`.
    pub lib: Option<PathBuf>,
    /// `--output`.
    pub output: Option<PathBuf>,
    /// `--plot`.
    pub plot: Option<PathBuf>,
    /// `--blocks`.
    pub blocks: bool,
    /// `--follow`.
    pub follow: bool,
    /// `--interval`.
    pub interval: Option<Duration>,
    /// What to run.
    pub program: Program,
}

/// Reads what follows `mem`.
pub fn parse(parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let command = "mem";
    let mut mem = Mem {
        lib: None,
        output: None,
        plot: None,
        blocks: false,
        follow: false,
        interval: None,
        program: Program {
            name: "".into(),
            args: Vec::new(),
        },
    };
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::MemHelp),
            Arg::Short('o') | Arg::Long("output") => {
                mem.output = Some(value(parser, "--output", "a file")?.into());
            }
            Arg::Long("plot") => mem.plot = Some(value(parser, "--plot", "a file")?.into()),
            Arg::Long("lib") => {
                let path = parser.value().map_err(|_| UsageError::NoLibPath)?;
                mem.lib = Some(path.into());
            }
            Arg::Long("blocks") => mem.blocks = true,
            Arg::Long("follow") => mem.follow = true,
            Arg::Long("interval") => {
                let (option, accepted) = ("--interval", "a number of seconds from 0.001");
                let text = value(parser, option, accepted)?;
                let seconds = text.to_str().and_then(|text| text.parse::<f64>().ok());
                let seconds = seconds.filter(|seconds| (0.001..1e6).contains(seconds));
                let bad = UsageError::BadValue { option, accepted };
                mem.interval = Some(Duration::from_secs_f64(seconds.ok_or(bad)?));
            }
            Arg::Value(name) => {
                // Fails only in the middle of an option's letters, which a value ends.
                let args = parser.raw_args().map(Iterator::collect).unwrap_or_default();
                mem.program = Program { name, args };
                return Ok(Command::Mem(mem));
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

#[cfg(test)]
mod tests {
    use super::super::parse as parse_line;
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn the_interval_is_in_seconds() {
        let parsed = |line: &str| {
            let words = format!("pymalloc mem {line}");
            parse_line(words.split(' ').map(OsString::from))
        };
        match parsed("--interval 0.25 --blocks ls -o x") {
            Ok(Command::Mem(mem)) => {
                assert_eq!(mem.interval, Some(Duration::from_millis(250)));
                assert!(mem.blocks && mem.output.is_none());
                assert_eq!(mem.program.args, ["-o", "x"]);
            }
            other => panic!("{other:?}"),
        }
        let error = parsed("--interval 0 ls")
            .expect_err("a mistake")
            .to_string();
        assert_eq!(
            error,
            "option '--interval' needs a number of seconds from 0.001"
        );
    }
}
