//! `pymalloc record` and `pymalloc profile`: runs a program that writes down its allocation calls.

use crate::args::Record;
use crate::child::{self, WatchError};
use crate::failure::Failure;
use crate::profile::summary::ended;
use crate::recording::format::{Header, HeaderError};
use crate::recording::last::{Last, last};
use crate::recording::read::{self, End, ReadError};
use crate::system::{self, Ended};
use crate::target::{self, Target};
use crate::units::{bytes, count};
use crate::{library, run};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Runs what was asked; the program's exit status.
pub fn record(options: &Record) -> Result<i32, Failure> {
    let Some(program) = &options.program else {
        return Ok(0);
    };
    let target = target::resolve(&program.name)?;
    let library = library::find(options.lib.as_deref())?;
    let path = output(options)?;
    clear(&path)?;
    let mut command = run::command(program, &target, &library);
    command.env("PYMALLOC_RECORD", &path);
    command.env("PYMALLOC_TRACE", options.frames.to_string());
    if let Some(limit) = options.limit {
        command.env("PYMALLOC_RECORD_LIMIT", limit.to_string());
    }
    if let Some(bytes) = options.sample {
        command.env("PYMALLOC_RECORD_SAMPLE", bytes.to_string());
    }
    if options.follow {
        command.env("PYMALLOC_RECORD_FOLLOW", "1");
    }
    let mask = system::block_signals();
    let outcome = child::watch(&mut command, &mask).map_err(|error| match error {
        WatchError::Start(error) => Failure::Start(target.file.clone(), error),
        WatchError::Wait(error) => Failure::Wait(error),
    })?;
    let text = closing_words(&path, &target, options.follow);
    // The program has run; that the words find no reader does not change its status.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    match outcome.ended {
        Ended::Status(status) => Ok(status),
        Ended::Signal(signal) => system::die_of(signal),
    }
}

/// Where the recording goes, as a path that holds wherever the program goes.
fn output(options: &Record) -> Result<PathBuf, Failure> {
    let path = options.output.clone().unwrap_or_else(|| {
        let program = options
            .program
            .as_ref()
            .map(|program| Path::new(&program.name));
        let name = program.and_then(Path::file_name).unwrap_or_default();
        let mut name = OsString::from(name);
        name.push(".pmrec");
        name.into()
    });
    std::path::absolute(&path).map_err(|error| Failure::Recording(path, error.into()))
}

/// Removes an older recording, and nothing else; then makes sure that a new one can be made.
fn clear(path: &Path) -> Result<(), Failure> {
    let refused = |error: io::Error| Failure::Recording(path.to_owned(), error.into());
    match std::fs::File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(64).read_to_end(&mut bytes).map_err(refused)?;
            if let Err(HeaderError::Foreign) = Header::parse(&bytes)
                && !bytes.is_empty()
            {
                return Err(Failure::NotReplaced(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(refused)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(error)),
    }
    let _ = std::fs::remove_file(read::tail_of(path));
    std::fs::File::create_new(path).map_err(refused)?;
    std::fs::remove_file(path).map_err(refused)
}

/// What became of the recording.
fn closing_words(path: &Path, target: &Target, follow: bool) -> String {
    let mut text = match outcome(path) {
        Ok(found) => format!(
            "pymalloc: {}: {} events, {}; {}\n",
            path.display(),
            count(found.events),
            bytes(found.bytes),
            ended(found.end)
        ),
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            let why = if target.own_malloc {
                "the program has a malloc of its own"
            } else {
                "the program ended before its first instruction, or cleared its environment"
            };
            format!("pymalloc: no recording was made: {why}\n")
        }
        Err(error) => format!("pymalloc: {}: {error}\n", path.display()),
    };
    if follow {
        for other in others(path) {
            if let Ok(found) = outcome(&other) {
                text.push_str(&format!(
                    "pymalloc: {}: {} events; {}\n",
                    other.display(),
                    count(found.events),
                    ended(found.end)
                ));
            }
        }
    }
    text
}

/// What is told of a recording.
struct Outcome {
    events: u64,
    bytes: u64,
    end: End,
}

/// The recording with all its events in one file. One that has an end is not read: that may take longer than the program
/// took.
fn outcome(path: &Path) -> Result<Outcome, ReadError> {
    if let Some(Last { why, events, bytes }) = last(path)? {
        let end = End::Whole(why);
        return Ok(Outcome { events, bytes, end });
    }
    // On a full disk the tail stays where it is, and is read from there.
    let sealed = read::seal(path);
    let contents = read::read(path, |_| {}).or_else(|error| sealed.and(Err(error)))?;
    Ok(Outcome {
        events: contents.events,
        bytes: contents.bytes,
        end: contents.end,
    })
}

/// The recordings of other processes, which are named by their numbers.
fn others(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let start = format!("{}.", name.display());
    let is_number = |name: &str| {
        let number = name.strip_prefix(&start);
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_number))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}
