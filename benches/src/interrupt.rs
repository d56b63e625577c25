//! Who ends this program ends what it measures, too.
//!
//! A terminal, `timeout` and the like send their signals to this program's process group. What is measured has one of
//! its own (`execute.rs`), so the handler here passes the end on.

use std::sync::atomic::{AtomicI32, Ordering};

/// The group that is measured now; 0 if there is none. Relaxed everywhere: the thread that writes it is the one that
/// handles signals, since this program has no other one while it measures.
static MEASURED: AtomicI32 = AtomicI32::new(0);

/// What ends a program that has no handler.
const ENDINGS: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Says which group is measured from now on. It is none by the time its first process is waited for: then the number
/// may be another's.
pub fn set_measured(group: libc::pid_t) {
    MEASURED.store(group, Ordering::Relaxed);
}

/// From now on, signals that end this process end the measured group first. Those that are ignored stay so.
pub fn pass_on() {
    for signal in ENDINGS {
        let handler = end as extern "C" fn(libc::c_int);
        // SAFETY: the handler calls only what a handler may.
        let before = unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        if before == libc::SIG_IGN {
            // SAFETY: as it was.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

extern "C" fn end(signal: libc::c_int) {
    let group = MEASURED.load(Ordering::Relaxed);
    if group > 0 {
        // SAFETY: no pointer is involved; the group's first process was not waited for.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    // SAFETY: the default action needs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: no conditions. It ends this process when the handler returns.
    unsafe { libc::raise(signal) };
}

/// Whether a process comes to its end within 20 s.
#[cfg(test)]
pub fn is_gone(pid: libc::pid_t) -> bool {
    let is_running = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        // Behind the name, which is in brackets, stands the state.
        let state = stat
            .ok()
            .and_then(|s| s.rsplit_once(") ")?.1.chars().next());
        state.is_some_and(|state| !"ZX".contains(state))
    };
    (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        !is_running()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    /// Where the process that is measured in the second process notes its number.
    const NOTE: &str = "BENCH_TEST_NOTE";

    #[test]
    fn who_ends_the_runner_ends_what_it_measures() {
        if let Some(note) = std::env::var_os(NOTE) {
            pass_on();
            let mut command = Command::new("sh");
            command
                .args(["-c", "echo $$ > $0; exec sleep 600"])
                .arg(note);
            panic!(
                "{:?}",
                execute::output(&mut command, Duration::from_secs(60))
            );
        }
        let note = std::env::temp_dir().join(format!("pymalloc-ended-{}", std::process::id()));
        let mut runner = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "interrupt::tests::who_ends_the_runner_ends_what_it_measures",
            ])
            .env(NOTE, &note)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let measured = loop {
            let text = std::fs::read_to_string(&note).unwrap_or_default();
            if let Some(number) = text.strip_suffix('\n') {
                break number.parse().unwrap();
            }
            assert!(runner.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(5));
        };
        // SAFETY: no pointer is involved; the runner was not waited for.
        unsafe { libc::kill(runner.id() as libc::pid_t, libc::SIGTERM) };
        assert_eq!(runner.wait().unwrap().signal(), Some(libc::SIGTERM));
        std::fs::remove_file(&note).unwrap();
        assert!(is_gone(measured));
    }
}
