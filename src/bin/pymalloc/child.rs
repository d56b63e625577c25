//! Runs a program as a child that nobody can tell from running it directly: its signals are the launcher's,
//! and its end becomes the launcher's.

use crate::system::{self, Ended, Mask, State, Usage};
use std::io;
use std::process::{ChildStdout, Command};
use std::time::{Duration, Instant};

/// A child's life.
pub struct Outcome {
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub ended: Ended,
    /// From before its start to after its end.
    pub wall: Duration,
    /// What it cost.
    pub usage: Usage,
    /// What it printed, if the command asked for a pipe.
    pub stdout: Option<ChildStdout>,
}

/// Starting and waiting fail apart: only the first means that nothing ran.
pub enum WatchError {
    /// The program was not executed.
    Start(io::Error),
    /// It was, and its end is not known.
    Wait(io::Error),
}

/// Starts the command, forwards signals to it, stops and continues with it, and returns when it has ended.
///
/// A key of the terminal signals every process of the foreground group, the child included, so such a
/// signal is forwarded only to a child that left the group. A signal that a process sends to the whole
/// group by kill(2) cannot be told from one sent to the launcher alone, and reaches the child twice.
///
/// `mask` is that of [`system::block_signals`], called once before the first child: what arrives between
/// two children then reaches the second.
pub fn watch(command: &mut Command, mask: &Mask) -> Result<Outcome, WatchError> {
    watch_from(command, mask, |_| {})
}

/// As [`watch`]; `started` is called once with the child's process id.
pub fn watch_from(
    command: &mut Command,
    mask: &Mask,
    started: impl FnOnce(u32),
) -> Result<Outcome, WatchError> {
    system::inherit_signals(command, Some(*mask));
    let start = Instant::now();
    let mut child = command.spawn().map_err(WatchError::Start)?;
    let pid = child.id();
    started(pid);
    loop {
        let signal = system::next_signal(mask);
        if signal.number != libc::SIGCHLD {
            let reached =
                signal.from_kernel && is_terminals(signal.number) && system::shares_group(pid);
            if !reached {
                system::send(pid, signal.number);
            }
            continue;
        }
        match system::state_of(pid).map_err(WatchError::Wait)? {
            State::Same => {}
            State::Stopped => system::stop(),
            State::Ended(ended, usage) => {
                let wall = start.elapsed();
                return Ok(Outcome {
                    pid,
                    ended,
                    wall,
                    usage,
                    stdout: child.stdout.take(),
                });
            }
        }
    }
}

/// True for what a terminal sends to its foreground group: keys, a new size, the hang-up.
fn is_terminals(signal: libc::c_int) -> bool {
    use libc::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGWINCH};
    [SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP, SIGCONT].contains(&signal)
}
