//! The small process between the runner and a measured program: it starts the program with the library
//! preloaded, waits for it, and prints an outcome.
//!
//! It exists because the kernel starts a program's `ru_maxrss` from the size of the process that called
//! `exec`. The runner has grown by then; this process has not.

use pymalloc_bench::outcome::Outcome;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

/// `pymalloc-bench measure-preloaded LIBRARY COMPANION PROGRAM ARGS…`; an empty LIBRARY preloads nothing,
/// an empty COMPANION starts nothing. A companion is a command of this program, one word and a number:
/// it runs beside the measured program, without the library, and must end well.
pub const COMMAND: &str = "measure-preloaded";

/// Runs the rest of the command line and prints what it took.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(library), Some(companion), Some(program)) = (args.next(), args.next(), args.next())
    else {
        eprintln!("usage: {COMMAND} LIBRARY COMPANION PROGRAM ARGS…");
        return ExitCode::from(2);
    };
    let mut command = Command::new(&program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if !library.is_empty() {
        command.env("LD_PRELOAD", library);
    }
    let beside = match start(&companion) {
        Ok(beside) => beside,
        Err(error) => {
            eprintln!("{}: {error}", companion.to_string_lossy());
            return ExitCode::FAILURE;
        }
    };
    let ended_well = |beside: Option<Child>| {
        beside.is_none_or(|mut child| child.wait().is_ok_and(|status| status.success()))
    };
    match run(&mut command) {
        Ok((outcome, status)) if status.success() => {
            if !ended_well(beside) {
                return ExitCode::FAILURE;
            }
            println!(
                "{}",
                serde_json::to_string(&outcome).expect("plain numbers become JSON")
            );
            ExitCode::SUCCESS
        }
        Ok((_, status)) => match status.code() {
            // The program has said on stderr what is wrong, and the runner shows its last line.
            Some(code) => ExitCode::from(code.clamp(1, 255) as u8),
            None => {
                eprintln!("{}: {status}", program.to_string_lossy());
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("{}: {error}", program.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

/// Starts the companion if there is one.
fn start(companion: &OsStr) -> std::io::Result<Option<Child>> {
    let Some(words) = companion.to_str().filter(|words| !words.is_empty()) else {
        return Ok(None);
    };
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(words.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.spawn().map(Some)
}

/// Times of the program and of all its descendants that were waited for; the largest resident set of any of them.
fn run(command: &mut Command) -> std::io::Result<(Outcome, ExitStatus)> {
    let started = Instant::now();
    let pid = command.spawn()?.id() as libc::pid_t;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are writable; the child is ours and was not waited for.
    while unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) } < 0 {
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let wall = started.elapsed();
    // SAFETY: zeroed is a value of this plain type, and wait4 has filled it in.
    let usage = unsafe { usage.assume_init() };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1_000;
    let outcome = Outcome {
        ops: 1,
        wall_ns: wall.as_nanos() as u64,
        cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime),
        sys_ns: ns(usage.ru_stime),
        peak_rss_kib: usage.ru_maxrss as u64,
        minor_faults: usage.ru_minflt as u64,
        preemptions: usage.ru_nivcsw as u64,
        ..Outcome::default()
    };
    Ok((outcome, ExitStatus::from_raw(status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_timed_and_its_status_kept() {
        let (outcome, status) = run(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(outcome.wall_ns > 0 && outcome.peak_rss_kib > 0 && outcome.minor_faults > 0);
        assert!(run(&mut Command::new("/does/not/exist")).is_err());
    }
}
