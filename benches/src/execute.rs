//! Starts one measured process and reads the line it prints.

use pymalloc_bench::outcome::Outcome;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

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

/// Runs the command to its end and reads the outcome it prints.
///
/// # Errors
/// Says how the process failed: not started, exit status with its last words, timed out, no outcome.
pub fn outcome(command: &mut Command, limit: Duration) -> Result<Outcome, String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    let pid = child.id() as libc::pid_t;
    // The watchdog sleeps; it takes no CPU time from what is measured.
    let (done, watched) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = watched.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // SAFETY: our own child, which is not waited for before this thread is told to stop.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        late
    });
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    drop(done);
    if watchdog.join().expect("the watchdog does not panic") {
        return Err(format!("still running after {} s", limit.as_secs()));
    }
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{}: {}",
            output.status,
            words.trim().lines().last().unwrap_or("no message")
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("printed no outcome: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Outcome, String> {
        outcome(Command::new("sh").args(["-c", script]), limit)
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
            outcome(&mut Command::new("/does/not/exist"), long)
                .unwrap_err()
                .contains("/does/not/exist")
        );
    }
}
