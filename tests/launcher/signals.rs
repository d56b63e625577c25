//! Signals reach the program, and only those that were sent.

use crate::fixture::{file, run, text};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A probe that listens under the launcher.
struct Listener {
    launcher: Child,
    lines: BufReader<ChildStdout>,
}

impl Listener {
    fn start(mut command: Command) -> Listener {
        let mut launcher = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(launcher.stdout.take().unwrap());
        let mut listener = Listener { launcher, lines };
        assert_eq!(listener.line(), "ready");
        listener
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends a signal to the launcher.
    fn send(&self, signal: i32) {
        // SAFETY: kill takes two numbers; the child has not been waited for.
        let sent = unsafe { libc::kill(self.launcher.id().cast_signed(), signal) };
        assert_eq!(sent, 0);
    }

    /// Ends the probe; what it had heard besides.
    fn finish(&mut self) -> Vec<String> {
        self.send(libc::SIGTERM);
        let rest: Vec<String> = (&mut self.lines).lines().map(Result::unwrap).collect();
        assert_eq!(self.launcher.wait().unwrap().code(), Some(7));
        rest
    }

    /// Waits until the launcher is in this state of proc(5).
    fn wait_for_state(&self, state: char) {
        let stat = format!("/proc/{}/stat", self.launcher.id());
        let start = Instant::now();
        while !std::fs::read_to_string(&stat)
            .unwrap()
            .contains(&format!(") {state} "))
        {
            assert!(start.elapsed() < Duration::from_secs(20), "never {state}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Listener {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        if let Ok(None) = self.launcher.try_wait() {
            self.send(libc::SIGCONT);
            self.send(libc::SIGTERM);
        }
    }
}

#[test]
fn signals_sent_to_the_launcher_reach_the_program() {
    for stats in [false, true] {
        let mut listener = Listener::start(run(stats, &file("probe"), &["listen"]));
        let sent = [
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGUSR1,
            libc::SIGUSR2,
        ];
        for signal in sent.into_iter().chain([libc::SIGALRM, libc::SIGWINCH, 40]) {
            listener.send(signal);
            assert_eq!(listener.line(), format!("got {signal}"), "stats {stats}");
        }
        assert_eq!(listener.finish(), [format!("got {}", libc::SIGTERM)]);
    }
}

#[test]
fn a_signal_that_kills_the_program_ends_the_launcher_alike() {
    use std::os::unix::process::ExitStatusExt;
    let mut sleep = run(true, "sleep".as_ref(), &["1000"]);
    let mut sleep = sleep.stderr(Stdio::null()).spawn().unwrap();
    // SAFETY: kill takes two numbers; the child has not been waited for. It needs no time to start: the
    // signal waits until the program is there, or ends the launcher before it blocks signals.
    unsafe { libc::kill(sleep.id().cast_signed(), libc::SIGINT) };
    assert_eq!(sleep.wait().unwrap().signal(), Some(libc::SIGINT));
}

#[test]
fn the_launcher_stops_and_continues_with_the_program() {
    for stats in [false, true] {
        let mut command = run(stats, &file("probe"), &["listen"]);
        // A process group with a parent outside it: the kernel stops no orphaned one at SIGTSTP.
        command.process_group(0);
        let mut listener = Listener::start(command);
        listener.send(libc::SIGTSTP);
        listener.wait_for_state('T');
        listener.send(libc::SIGCONT);
        assert_eq!(
            listener.line(),
            format!("got {}", libc::SIGCONT),
            "stats {stats}"
        );
        listener.wait_for_state('S');
        assert_eq!(listener.finish(), [format!("got {}", libc::SIGTERM)]);
    }
}

#[test]
fn a_key_of_the_terminal_signals_the_program_once() {
    for stats in [false, true] {
        let mut command = run(stats, &file("probe"), &["listen"]);
        let mut terminal = on_terminal(&mut command);
        let mut listener = Listener::start(command);
        terminal.write_all(b"\x03").unwrap();
        assert_eq!(listener.line(), format!("got {}", libc::SIGINT));
        terminal.write_all(b"\x1c").unwrap();
        assert_eq!(listener.line(), format!("got {}", libc::SIGQUIT));
        assert_eq!(
            listener.finish(),
            [format!("got {}", libc::SIGTERM)],
            "stats {stats}"
        );
    }
}

/// Gives the command a terminal of its own for stdin; its keys.
fn on_terminal(command: &mut Command) -> std::fs::File {
    // SAFETY: these calls take numbers, and return a descriptor that is ours alone.
    let master = unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        assert!(master >= 0);
        libc::grantpt(master);
        libc::unlockpt(master);
        OwnedFd::from_raw_fd(master)
    };
    let mut name = [0; 64];
    // SAFETY: `name` is a place of the stated size.
    let named = unsafe { libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr(), name.len()) };
    assert_eq!(named, 0);
    // SAFETY: ptsname_r wrote a C string.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) }
        .to_str()
        .unwrap()
        .to_owned();
    let open = std::fs::File::options()
        .read(true)
        .write(true)
        .open(name)
        .unwrap();
    command.stdin(open);
    // SAFETY: setsid and ioctl are async-signal-safe; stdin is the terminal by then.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        })
    };
    master.into()
}

#[test]
fn the_program_inherits_what_the_launcher_was_given() {
    let inherit = |mut command: Command| {
        // SAFETY: signal, sigaddset and sigprocmask are async-signal-safe; the set is initialised.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGCHLD] {
                    libc::signal(signal, libc::SIG_IGN);
                }
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR2);
                libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
                Ok(())
            })
        };
        let output = command.output().unwrap();
        assert!(output.status.success());
        text(&output.stdout).to_owned()
    };
    let mut direct = Command::new(file("probe"));
    direct.arg("inherited");
    let direct = inherit(direct);
    assert_eq!(direct, "ignored 1\nblocked 12\nignored 13\nignored 17\n");
    for stats in [false, true] {
        let launched = inherit(run(stats, &file("probe"), &["inherited"]));
        assert_eq!(launched, direct, "stats {stats}");
        // Started with nothing ignored or blocked, whatever these tests were started with.
        let mut command = run(stats, &file("probe"), &["inherited"]);
        // SAFETY: signal, sigemptyset and sigprocmask are async-signal-safe; the set is initialised.
        unsafe {
            command.pre_exec(|| {
                for signal in [
                    libc::SIGPIPE,
                    libc::SIGHUP,
                    libc::SIGINT,
                    libc::SIGQUIT,
                    libc::SIGCHLD,
                ] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
                Ok(())
            })
        };
        assert_eq!(text(&command.output().unwrap().stdout), "", "stats {stats}");
    }
}
