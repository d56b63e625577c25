//! The command line.

mod follow;
mod mem;
mod record;
mod report;

pub use follow::{LIVE_HELP, Listen, Live, SERVE_HELP, Serve};
pub use mem::{HELP as MEM_HELP, Mem};
pub use record::{HELP as RECORD_HELP, Record};
pub use report::{At, HELP as REPORT_HELP, Report, View, WHY_HELP, Why};

use lexopt::Arg;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// `pymalloc --help`.
pub const HELP: &str = "\
usage: pymalloc run [--lib PATH] [--stats] [--] PROGRAM ARGS...
       pymalloc record | profile [OPTIONS] [--] PROGRAM ARGS...
       pymalloc report VIEW [OPTIONS] FILE
       pymalloc why [OPTIONS] FILE
       pymalloc mem [OPTIONS] [--] PROGRAM ARGS...
       pymalloc live [OPTIONS] FILE
       pymalloc serve --listen ADDRESS [OPTIONS] [--] PROGRAM ARGS... | FILE
       pymalloc --help | --version

commands:
  run      run a dynamically linked program on pymalloc, by LD_PRELOAD
  record   run it and write every allocation call to a file
  profile  the same, with the stack of every call
  report   what a recording says: peak, leaks, temporary blocks, flame
           graph, pprof and other formats
  why      which live blocks keep which memory from going back
  mem      run a program and write its memory over time
  live     show a recording in the terminal while it grows
  serve    run a program and give its figures to Prometheus and pprof, or
           those of a growing recording

'pymalloc COMMAND --help' says more.
";

/// What may come first.
const COMMANDS: &str = "run, record, profile, report, why, mem, live, serve, --help, --version";

/// `pymalloc run --help`.
pub const RUN_HELP: &str = "\
usage: pymalloc run [--lib PATH] [--stats] [--] PROGRAM ARGS...
       pymalloc run [--lib PATH] --stats

Runs PROGRAM with libpymalloc.so in front of LD_PRELOAD. Input, output, exit
status and signals are the program's own.

  --lib PATH   the library; otherwise the one named by PYMALLOC_LIB, the one
               beside this command, the one in deps/ beside it
  --stats      at exit, print to stderr what PROGRAM used; without PROGRAM,
               run a demonstration under the system's malloc and under ours
               and print both to stdout
  --help       this text

exit status: PROGRAM's own, or
  127  there is no such program           2  the command line is wrong
  126  it cannot be executed              1  anything else, as when PROGRAM
                                             would ignore LD_PRELOAD
";

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print [`RUN_HELP`].
    RunHelp,
    /// Print the version.
    Version,
    /// Run a program, or the demonstration.
    Run(Run),
    /// Be the demonstration's workload (hidden: `demo` starts it).
    DemoWorkload,
    /// Print [`record::HELP`].
    RecordHelp,
    /// Run a program and record it.
    Record(Record),
    /// Print [`report::HELP`].
    ReportHelp,
    /// Show a recording.
    Report(Report),
    /// Print [`follow::LIVE_HELP`].
    LiveHelp,
    /// Show a growing recording.
    Live(Live),
    /// Print [`follow::SERVE_HELP`].
    ServeHelp,
    /// Run a program that serves its figures, or serve a growing recording.
    Serve(Serve),
    /// Print [`mem::HELP`].
    MemHelp,
    /// Run a program and sample its memory.
    Mem(Mem),
    /// Print [`report::WHY_HELP`].
    WhyHelp,
    /// Show what keeps memory.
    Why(Why),
}

/// `pymalloc run`.
#[derive(Debug, Default, PartialEq)]
pub struct Run {
    /// `--lib`.
    pub lib: Option<PathBuf>,
    /// `--stats`.
    pub stats: bool,
    /// PROGRAM and ARGS; `None` only with `stats`.
    pub program: Option<Program>,
}

/// What to run, as the user named it.
#[derive(Debug, PartialEq)]
pub struct Program {
    /// Path, or a name to look up in `PATH`.
    pub name: OsString,
    /// What it is given, after its name.
    pub args: Vec<OsString>,
}

/// A command line that cannot be understood.
#[derive(Debug, PartialEq)]
pub enum UsageError {
    /// Nothing was asked.
    NoCommand,
    /// The first word is no command.
    UnknownCommand(OsString),
    /// An option `pymalloc` itself does not have.
    UnknownOption(OsString),
    /// An option `run` does not have.
    UnknownRunOption(OsString),
    /// `--lib` at the end of the line.
    NoLibPath,
    /// `--stats=yes` and the like.
    UnexpectedValue(String),
    /// `run` without PROGRAM and without `--stats`.
    NoProgram,
    /// An option that this command does not have.
    UnknownOptionOf {
        /// Which option.
        option: OsString,
        /// Of which command.
        command: &'static str,
    },
    /// An option without the value it needs, or with one it does not take.
    BadValue {
        /// Which option.
        option: &'static str,
        /// What it needs.
        accepted: &'static str,
    },
    /// What is missing on the line.
    Missing {
        /// Of which command.
        command: &'static str,
        /// What it needs.
        what: &'static str,
    },
}

impl fmt::Display for UsageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::NoCommand => {
                write!(out, "no command; accepted are {COMMANDS}")
            }
            UsageError::UnknownCommand(name) => write!(
                out,
                "unknown command '{}'; accepted are {COMMANDS}",
                name.display()
            ),
            UsageError::UnknownOption(option) => write!(
                out,
                "unknown option '{}'; accepted are --help, --version, and a command's options after it",
                option.display()
            ),
            UsageError::UnknownRunOption(option) => write!(
                out,
                "unknown option '{}' of run; accepted are --lib PATH, --stats, --help",
                option.display()
            ),
            UsageError::NoLibPath => {
                write!(
                    out,
                    "option '--lib' needs a value, the path of libpymalloc.so"
                )
            }
            UsageError::UnexpectedValue(option) => write!(out, "option '{option}' takes no value"),
            UsageError::NoProgram => {
                write!(
                    out,
                    "run needs a PROGRAM, or --stats alone for the demonstration"
                )
            }
            UsageError::UnknownOptionOf { option, command } => write!(
                out,
                "unknown option '{}' of {command}; 'pymalloc {command} --help' names all",
                option.display()
            ),
            UsageError::BadValue { option, accepted } => {
                write!(out, "option '{option}' needs {accepted}")
            }
            UsageError::Missing { command, what } => write!(out, "{command} needs {what}"),
        }
    }
}

/// Reads the command line, the command's own name first.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut parser = lexopt::Parser::from_iter(line);
    let command = match next(&mut parser)? {
        None => return Err(UsageError::NoCommand),
        Some(Arg::Short('h') | Arg::Long("help")) => Command::Help,
        Some(Arg::Short('V') | Arg::Long("version")) => Command::Version,
        Some(Arg::Value(name)) if name == "run" => return parse_run(&mut parser),
        Some(Arg::Value(name)) if name == "record" => return record::parse(&mut parser, false),
        Some(Arg::Value(name)) if name == "profile" => return record::parse(&mut parser, true),
        Some(Arg::Value(name)) if name == "report" => return report::parse(&mut parser),
        Some(Arg::Value(name)) if name == "live" => return follow::parse_live(&mut parser),
        Some(Arg::Value(name)) if name == "serve" => return follow::parse_serve(&mut parser),
        Some(Arg::Value(name)) if name == "mem" => return mem::parse(&mut parser),
        Some(Arg::Value(name)) if name == "why" => return report::parse_why(&mut parser),
        Some(Arg::Value(name)) if name == "demo-workload" => Command::DemoWorkload,
        Some(Arg::Value(name)) => return Err(UsageError::UnknownCommand(name)),
        Some(option) => return Err(UsageError::UnknownOption(spelled(option))),
    };
    match next(&mut parser)? {
        None => Ok(command),
        Some(Arg::Value(name)) => Err(UsageError::UnknownCommand(name)),
        Some(option) => Err(UsageError::UnknownOption(spelled(option))),
    }
}

/// Reads what follows `run`. The first word that is no option is PROGRAM; all after it is the program's.
fn parse_run(parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let mut run = Run::default();
    while let Some(arg) = next(parser)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::RunHelp),
            Arg::Long("stats") => run.stats = true,
            Arg::Long("lib") => {
                let path = parser.value().map_err(|_| UsageError::NoLibPath)?;
                run.lib = Some(path.into());
            }
            Arg::Value(name) => {
                // Fails only in the middle of an option's letters, which a value ends.
                let args = parser.raw_args().map(Iterator::collect).unwrap_or_default();
                run.program = Some(Program { name, args });
                break;
            }
            option => return Err(UsageError::UnknownRunOption(spelled(option))),
        }
    }
    if run.program.is_none() && !run.stats {
        return Err(UsageError::NoProgram);
    }
    Ok(Command::Run(run))
}

/// The next word; the only error at this point is a value that the option before does not take.
fn next(parser: &mut lexopt::Parser) -> Result<Option<Arg<'_>>, UsageError> {
    parser.next().map_err(|error| match error {
        lexopt::Error::UnexpectedValue { option, .. } => UsageError::UnexpectedValue(option),
        other => UsageError::UnknownOption(other.to_string().into()),
    })
}

/// An option as the user typed it.
fn spelled(option: Arg<'_>) -> OsString {
    match option {
        Arg::Short(letter) => format!("-{letter}").into(),
        Arg::Long(name) => format!("--{name}").into(),
        Arg::Value(value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Command, UsageError> {
        let words = ["pymalloc"].iter().chain(line);
        parse(words.map(OsString::from))
    }

    fn run(
        lib: Option<&str>,
        stats: bool,
        program: Option<&[&str]>,
    ) -> Result<Command, UsageError> {
        let program = program.map(|words| Program {
            name: words[0].into(),
            args: words[1..].iter().map(OsString::from).collect(),
        });
        Ok(Command::Run(Run {
            lib: lib.map(PathBuf::from),
            stats,
            program,
        }))
    }

    #[test]
    fn options_end_at_the_program() {
        assert_eq!(parsed(&["run", "ls"]), run(None, false, Some(&["ls"])));
        let all = parsed(&["run", "--lib", "x.so", "--stats", "ls", "--lib", "--", "-x"]);
        assert_eq!(
            all,
            run(Some("x.so"), true, Some(&["ls", "--lib", "--", "-x"]))
        );
        let dashed = parsed(&["run", "--lib=x.so", "--", "--stats", "--", "--help"]);
        assert_eq!(
            dashed,
            run(Some("x.so"), false, Some(&["--stats", "--", "--help"]))
        );
        assert_eq!(parsed(&["run", "--stats"]), run(None, true, None));
        assert_eq!(parsed(&["run", "--stats", "--"]), run(None, true, None));
    }

    #[test]
    fn help_and_version_have_short_forms() {
        for (line, command) in [
            (vec!["--help"], Command::Help),
            (vec!["-h"], Command::Help),
            (vec!["run", "--stats", "--help"], Command::RunHelp),
            (vec!["-V"], Command::Version),
            (vec!["--version"], Command::Version),
            (vec!["demo-workload"], Command::DemoWorkload),
        ] {
            assert_eq!(parsed(&line), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn every_mistake_is_named() {
        for (line, error) in [
            (vec![], UsageError::NoCommand),
            (vec!["rn"], UsageError::UnknownCommand("rn".into())),
            (
                vec!["--help", "run"],
                UsageError::UnknownCommand("run".into()),
            ),
            (vec!["--stats"], UsageError::UnknownOption("--stats".into())),
            (vec!["run", "-s"], UsageError::UnknownRunOption("-s".into())),
            (vec!["run", "--lib"], UsageError::NoLibPath),
            (
                vec!["run", "--stats=1", "ls"],
                UsageError::UnexpectedValue("--stats".into()),
            ),
            (vec!["run"], UsageError::NoProgram),
            (vec!["run", "--lib", "x.so"], UsageError::NoProgram),
        ] {
            assert_eq!(parsed(&line), Err(error), "{line:?}");
        }
    }
}
