//! Starts one measured process and reads the line it prints.
//!
//! ```text
//! run ─► spawn, in a group of its own ─► follow ─► ended, pipes closed ──────────► wait ─► what it said
//!                                              └─► late ─► SIGKILL to the group ─► wait
//! ```
//!
//! * **I1** The thread that started a process is the only one that waits for it, and does so last: up to then the
//!   process is at least a zombie, and neither its number nor its group's is given to another.

use crate::{free_memory, interrupt};
use pymalloc_bench::outcome::{Moment, Outcome};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Variables that tune an allocator; a measured process sees none of them.
const TUNING: [&str; 8] = [
    "MALLOC_",
    "MIMALLOC_",
    "PYMALLOC",
    "PYTHONMALLOC",
    "TCMALLOC_",
    "_RJEM_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
];

/// Takes the variables that tune an allocator out of the command's environment.
pub fn without_tuning(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if TUNING
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
}

/// What is said of a process that was ended.
pub fn hang(limit: Duration) -> String {
    format!("{HANGS} {} s", limit.as_secs())
}

/// Whether a failure is that.
pub fn is_hang(failure: &str) -> bool {
    failure.starts_with(HANGS)
}

const HANGS: &str = "still running after";

/// How often a process is looked at while it runs.
const LOOK: Duration = Duration::from_millis(10);

/// Runs the command to its end and reads the outcome it prints. A process that is `watched` has its
/// resident set followed from outside.
///
/// # Errors
/// Says how the process failed: not started, exit status with its last words, timed out, no outcome.
pub fn outcome(command: &mut Command, limit: Duration, watched: bool) -> Result<Outcome, String> {
    free_memory::make_ready();
    let (output, timeline) = run(command, limit, watched)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{}: {}",
            output.status,
            words.trim().lines().last().unwrap_or("no message")
        ));
    }
    let outcome: Outcome =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("printed no outcome: {e}"))?;
    Ok(Outcome {
        timeline,
        ..outcome
    })
}

/// Runs the command to its end: how it ended, what it said.
///
/// # Errors
/// When it does not start, or is still running after the limit.
pub fn output(command: &mut Command, limit: Duration) -> Result<Output, String> {
    run(command, limit, false).map(|(output, _)| output)
}

/// As [`output`], with the resident set of a process that is watched.
fn run(
    command: &mut Command,
    limit: Duration,
    watched: bool,
) -> Result<(Output, Vec<Moment>), String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // What it starts is ended with it.
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    let group = child.id() as libc::pid_t;
    interrupt::set_measured(group);
    let followed = follow(&mut child, limit, watched);
    if !matches!(followed, Ok(Some(_))) {
        // SAFETY: no pointer is involved, and the group is that child's (I1).
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    interrupt::set_measured(0);
    let status = child.wait().map_err(|e| e.to_string())?;
    let followed = followed.map_err(|e| format!("cannot be followed: {e}"))?;
    let ([stdout, stderr], timeline) = followed.ok_or_else(|| hang(limit))?;
    let output = Output {
        status,
        stdout,
        stderr,
    };
    Ok((output, timeline))
}

/// What a process says on its two pipes, and how its resident set goes while it runs.
type Followed = ([Vec<u8>; 2], Vec<Moment>);

/// Follows a process until it has ended and nobody holds its pipes any more. `None` when that is not so after the
/// limit. It sleeps, and takes no CPU time from what is measured but for a watched process.
fn follow(child: &mut Child, limit: Duration, watched: bool) -> io::Result<Option<Followed>> {
    let started = Instant::now();
    let pid = child.id() as libc::pid_t;
    let (mut said, mut timeline) = ([Vec::new(), Vec::new()], Vec::new());
    // The last one becomes readable when the process ends.
    let mut open = [
        child
            .stdout
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe))),
        child
            .stderr
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe))),
        Some(File::from(process_file(pid)?)),
    ];
    while open.iter().any(Option::is_some) {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        let ready = poll(&open, if watched { LOOK.min(left) } else { left })?;
        for (i, place) in open.iter_mut().enumerate() {
            let Some(file) = place.as_mut().filter(|_| ready[i]) else {
                continue;
            };
            let is_at_end = match said.get_mut(i) {
                Some(bytes) => read_some(file, bytes)? == 0,
                None => true,
            };
            if is_at_end {
                *place = None;
            }
        }
        if let Some(kib) = resident_kib(pid).filter(|_| watched) {
            let ms = started.elapsed().as_millis() as u32;
            timeline.push(Moment { ms, kib });
        }
    }
    Ok(Some((said, timeline)))
}

/// Adds what can be read at once; how much that was.
fn read_some(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    let n = file.read(&mut buffer)?;
    bytes.extend_from_slice(&buffer[..n]);
    Ok(n)
}

/// A file that becomes readable when a child that was not waited for ends.
fn process_file(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is involved.
    let file = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: opened just now, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(file as libc::c_int) })
}

/// Which of these files can be read without waiting: none if that is so after the time, or after a signal.
fn poll<const N: usize>(files: &[Option<File>; N], time: Duration) -> io::Result<[bool; N]> {
    let mut asked = files.each_ref().map(|file| libc::pollfd {
        // A negative one is not looked at.
        fd: file.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up, so that a limit is over by then.
    let ms = time.as_millis().saturating_add(1).min(i32::MAX as u128) as libc::c_int;
    // SAFETY: so many entries, which may be written.
    let n = unsafe { libc::poll(asked.as_mut_ptr(), N as libc::nfds_t, ms) };
    if n < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok([false; N]),
            _ => Err(error),
        };
    }
    Ok(asked.map(|asked| asked.revents != 0))
}

/// The resident set of a process, KiB. `statm` takes no lock of the process.
fn resident_kib(pid: libc::pid_t) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: no pointer is involved.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    (pages > 0).then_some(pages * page_bytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Outcome, String> {
        outcome(Command::new("sh").args(["-c", script]), limit, false)
    }

    #[test]
    fn failures_are_told_apart() {
        let long = Duration::from_secs(20);
        assert_eq!(
            sh("echo first >&2; echo last >&2; exit 3", long).unwrap_err(),
            "exit status: 3: last"
        );
        assert!(
            sh("echo hello", long)
                .unwrap_err()
                .starts_with("printed no outcome")
        );
        assert_eq!(
            sh("exec sleep 20", Duration::from_millis(50)).unwrap_err(),
            "still running after 0 s"
        );
        assert!(
            outcome(&mut Command::new("/does/not/exist"), long, false)
                .unwrap_err()
                .contains("/does/not/exist")
        );
    }

    /// Runs a script that notes a process's number in `$0` and then is late: that number.
    fn noted_by_a_late_one(name: &str, script: &str) -> libc::pid_t {
        let note = std::env::temp_dir().join(format!("pymalloc-{name}-{}", std::process::id()));
        // A busy machine may need more than the first limit to start it.
        let noted = [1, 10, 100].into_iter().find_map(|seconds| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(&note);
            let error = output(&mut command, Duration::from_secs(seconds)).unwrap_err();
            assert!(is_hang(&error), "{error}");
            std::fs::read_to_string(&note).ok()?.trim().parse().ok()
        });
        std::fs::remove_file(&note).unwrap();
        noted.unwrap()
    }

    #[test]
    fn what_a_late_process_started_is_ended_with_it() {
        let started = noted_by_a_late_one("late", "sleep 600 & echo $! > $0; wait");
        assert!(interrupt::is_gone(started));
    }

    #[test]
    fn who_left_the_group_and_holds_the_pipes_keeps_nobody_back() {
        let script = "setsid sleep 600 & sleep 0.3; echo $! > $0; wait";
        let left = noted_by_a_late_one("left", script);
        // SAFETY: no pointer is involved; the process sleeps for long.
        let was_there = unsafe { libc::kill(left, libc::SIGKILL) } == 0;
        assert!(was_there, "ended before the run was");
    }

    #[test]
    fn a_process_that_closes_its_pipes_is_waited_for_as_long_as_others() {
        let script = "exec >&- 2>&-; exec sleep 600";
        let error = sh(script, Duration::from_millis(300)).unwrap_err();
        assert!(is_hang(&error), "{error}");
    }

    #[test]
    fn a_watched_process_is_seen_while_it_runs() {
        let line = serde_json::to_string(&Outcome::default()).unwrap();
        let script = format!("sleep 0.2; echo '{line}'");
        let long = Duration::from_secs(20);
        let seen = outcome(Command::new("sh").args(["-c", &script]), long, true).unwrap();
        assert!(seen.timeline.len() > 3, "{:?}", seen.timeline);
        assert!(
            seen.timeline
                .windows(2)
                .all(|pair| pair[0].ms <= pair[1].ms)
        );
        assert!(sh(&script, long).unwrap().timeline.is_empty());
    }
}
