//! Starts one measured process and reads the line it prints.

use pymalloc_bench::outcome::{Moment, Outcome};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
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
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    let pid = child.id() as libc::pid_t;
    let (done, end) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let (late, timeline) = watch(pid, &end, limit, watched);
        if late {
            end_with_descendants(pid);
        }
        (late, timeline)
    });
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    drop(done);
    let (late, timeline) = watchdog.join().expect("the watchdog does not panic");
    if late {
        return Err(hang(limit));
    }
    Ok((output, timeline))
}

/// Waits for the end of a process: whether it is late, and how its resident set went. It sleeps, and
/// takes no CPU time from what is measured but for a watched process.
fn watch(
    pid: libc::pid_t,
    end: &mpsc::Receiver<()>,
    limit: Duration,
    watched: bool,
) -> (bool, Vec<Moment>) {
    let started = Instant::now();
    let mut timeline = Vec::new();
    loop {
        let left = limit.saturating_sub(started.elapsed());
        let wait = if watched { LOOK.min(left) } else { left };
        if end.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Disconnected) {
            return (false, timeline);
        }
        if started.elapsed() >= limit {
            return (true, timeline);
        }
        if let Some(kib) = resident_kib(pid) {
            let ms = started.elapsed().as_millis() as u32;
            timeline.push(Moment { ms, kib });
        }
    }
}

/// Ends a child of this process that was not waited for, and what it has started: whoever of them lives on keeps the
/// pipe open that is read here.
fn end_with_descendants(pid: libc::pid_t) {
    let mut all = vec![pid];
    let mut looked_at = 0;
    while let Some(&one) = all.get(looked_at) {
        looked_at += 1;
        let tasks = std::fs::read_dir(format!("/proc/{one}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .flat_map(str::parse::<libc::pid_t>),
            );
        }
    }
    // The eldest first: none of them starts another then.
    for one in all {
        // SAFETY: a signal to a process of ours, whose number is not given to another before its parent waits.
        unsafe { libc::kill(one, libc::SIGKILL) };
    }
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

    #[test]
    fn what_a_late_process_started_does_not_hold_its_pipe() {
        let started = Instant::now();
        let limit = Duration::from_millis(100);
        let error = sh("sleep 60; echo", limit).unwrap_err();
        assert!(is_hang(&error), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
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
