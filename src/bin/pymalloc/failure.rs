//! Every way in which the launcher itself fails: one line for stderr, and the exit status.

use crate::args::UsageError;
use crate::demo::DemoError;
use crate::library::LibraryError;
use crate::recording::read::ReadError;
use crate::target::TargetError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why nothing was run, or why the demonstration has no result.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong.
    Usage(UsageError),
    /// The program cannot be run, or not with a preloaded library.
    Target(TargetError),
    /// There is no usable library.
    Library(LibraryError),
    /// The system refused to execute what [`crate::target`] accepted.
    Start(PathBuf, io::Error),
    /// The system refused a directory for the summary.
    StatsFile(PathBuf, io::Error),
    /// The system refused to say how the program ended.
    Wait(io::Error),
    /// The demonstration has no result.
    Demo(DemoError),
    /// Stdout refused the text.
    Output(io::Error),
    /// A file is no recording, or cannot be made one.
    Recording(PathBuf, ReadError),
    /// A file that is no recording stands where one should go.
    NotReplaced(PathBuf),
    /// A file for a report cannot be written.
    Write(PathBuf, io::Error),
    /// A recording holds only a sample of the blocks.
    Sampled(PathBuf, &'static str),
    /// Nothing can be served there.
    Listen(io::Error),
    /// A picture whose file's ending names no kind of picture.
    NoSuchPicture(PathBuf),
    /// A picture that only a launcher with the feature `png` draws.
    NoPng(PathBuf),
    /// The recording has nothing of what the picture shows.
    NothingToDraw(io::Error),
}

impl Failure {
    /// Exit status, a shell's where it has one for the case.
    pub fn status(&self) -> i32 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Target(error) => error.status(),
            Failure::Start(_, error) if error.kind() == io::ErrorKind::NotFound => 127,
            Failure::Start(..) => 126,
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(error) => error.fmt(out),
            Failure::Target(error) => error.fmt(out),
            Failure::Library(error) => error.fmt(out),
            Failure::Start(program, error) => {
                write!(out, "{}: cannot execute: {error}", program.display())
            }
            Failure::StatsFile(path, error) => {
                write!(
                    out,
                    "{}: cannot create the directory for the summary: {error}",
                    path.display()
                )
            }
            Failure::Wait(error) => write!(out, "cannot wait for the program: {error}"),
            Failure::Demo(error) => error.fmt(out),
            Failure::Output(error) => write!(out, "cannot write to stdout: {error}"),
            Failure::Recording(path, error) => write!(out, "{}: {error}", path.display()),
            Failure::NotReplaced(path) => write!(
                out,
                "{}: is there and is no recording, so it is not replaced",
                path.display()
            ),
            Failure::Write(path, error) => write!(out, "{}: cannot write: {error}", path.display()),
            Failure::Sampled(path, what) => write!(
                out,
                "{}: holds a sample only; '{what}' needs a recording of every block, made without --sample",
                path.display()
            ),
            Failure::Listen(error) => write!(out, "cannot listen: {error}"),
            Failure::NoSuchPicture(path) => write!(
                out,
                "{}: pictures are .svg, .png or .html, by the file's ending",
                path.display()
            ),
            Failure::NoPng(path) => write!(
                out,
                "{}: this launcher draws no PNG: build it with '--features png', or name a .svg or .html file",
                path.display()
            ),
            Failure::NothingToDraw(error) => write!(out, "nothing to draw: {error}"),
        }
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Failure {
        Failure::Usage(error)
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Failure {
        Failure::Target(error)
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Failure {
        Failure::Library(error)
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Failure {
        Failure::Demo(error)
    }
}
