//! `pymalloc run`: plain, the launcher becomes the program; with `--stats` it stays to report.

use crate::args::{Program, Run};
use crate::child::{self, WatchError};
use crate::failure::Failure;
use crate::stats_file::StatsFile;
use crate::system::{self, Ended};
use crate::target::Target;
use crate::{demo, library, report, target};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Runs what was asked. The program's exit status; plain, it returns only to report a failure.
pub fn run(options: &Run) -> Result<i32, Failure> {
    let Some(program) = &options.program else {
        return demo::run(&library::find(options.lib.as_deref())?);
    };
    let target = target::resolve(&program.name)?;
    let library = library::find(options.lib.as_deref())?;
    let mut command = command(program, &target, &library);
    if options.stats {
        return run_watched(program, &target, &mut command);
    }
    system::inherit_signals(&mut command, None);
    Err(Failure::Start(target.file, command.exec()))
}

/// Runs it as a child, then prints its summary, or why there is none, and ends as it ended.
fn run_watched(program: &Program, target: &Target, command: &mut Command) -> Result<i32, Failure> {
    let mask = system::block_signals();
    let stats = StatsFile::create()?;
    command.env("PYMALLOC_STATS_FILE", stats.path());
    let outcome = child::watch(command, &mask).map_err(|error| match error {
        WatchError::Start(error) => Failure::Start(target.file.clone(), error),
        WatchError::Wait(error) => Failure::Wait(error),
    })?;
    let summary = stats.read(outcome.pid);
    drop(stats);
    let text = report::program(&program.name, &outcome, &summary, target.own_malloc);
    // The program has run; that its report finds no reader does not change its status.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    match outcome.ended {
        Ended::Status(status) => Ok(status),
        Ended::Signal(signal) => system::die_of(signal),
    }
}

/// The program as the user would start it, with the library in front.
pub fn command(program: &Program, target: &Target, library: &Path) -> Command {
    let mut command = Command::new(&target.file);
    command.arg0(&program.name).args(&program.args);
    command.env(
        "LD_PRELOAD",
        preload(library, std::env::var_os("LD_PRELOAD")),
    );
    command
}

/// The library before what is preloaded already.
fn preload(library: &Path, before: Option<OsString>) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if let Some(before) = before.filter(|before| !before.is_empty()) {
        value.push(":");
        value.push(before);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_library_comes_before_those_preloaded_already() {
        let library = Path::new("/l/libpymalloc.so");
        assert_eq!(preload(library, None), "/l/libpymalloc.so");
        assert_eq!(preload(library, Some("".into())), "/l/libpymalloc.so");
        assert_eq!(
            preload(library, Some("a.so b.so".into())),
            "/l/libpymalloc.so:a.so b.so"
        );
    }
}
